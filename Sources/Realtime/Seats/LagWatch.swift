import NIOCore

/// Which clients take too little of what they are sent, by the rules of docs/limits.md: resuming costs a client
/// nothing, so a stream that falls behind is closed early rather than buffered.
struct LagWatch {
    enum Verdict: Equatable {
        case fine
        case tooMuch
    }

    fileprivate struct Lag {
        let seat: StreamSeat
        /// Since when more than ``steadyLimit`` is pending.
        var heavySince: NIODeadline?
        var drained: Int
        var progressAt: NIODeadline
    }

    /// Bytes pending at any time.
    static let hardLimit = 1024 * 1024
    /// Bytes still pending a second after a flush.
    static let steadyLimit = 64 * 1024
    static let steadyTime = TimeAmount.seconds(1)
    /// A client that takes nothing at all for this long is not there.
    static let standstill = TimeAmount.seconds(5)

    private var lags: [ObjectIdentifier: Lag] = [:]

    /// After each flush. A live seat may not have more than the hard limit pending; a replay is paced by what the
    /// client takes and has none.
    mutating func judge(_ seat: StreamSeat, at now: NIODeadline) -> Verdict {
        let pending = seat.pendingBytes
        guard pending > 0 else {
            lags[ObjectIdentifier(seat)] = nil
            return .fine
        }
        if seat.state == .live && pending > Self.hardLimit { return .tooMuch }
        var lag = lags[ObjectIdentifier(seat)] ?? Lag(seat: seat, drained: seat.drained, progressAt: now)
        lag.note(pending: pending, at: now)
        lags[ObjectIdentifier(seat)] = lag
        return .fine
    }

    /// Those to be closed now; the others are looked at again.
    mutating func overdue(at now: NIODeadline) -> [StreamSeat] {
        var found: [StreamSeat] = []
        for (key, var lag) in lags {
            let pending = lag.seat.pendingBytes
            guard pending > 0 else {
                lags[key] = nil
                continue
            }
            lag.note(pending: pending, at: now)
            lags[key] = lag
            let isHeavy = lag.seat.state == .live && (lag.heavySince.map { now - $0 >= Self.steadyTime } ?? false)
            if isHeavy || now - lag.progressAt >= Self.standstill { found.append(lag.seat) }
        }
        return found
    }

    mutating func forget(_ seat: StreamSeat) {
        lags[ObjectIdentifier(seat)] = nil
    }
}

extension LagWatch.Lag {
    fileprivate mutating func note(pending: Int, at now: NIODeadline) {
        heavySince = pending > LagWatch.steadyLimit ? heavySince ?? now : nil
        if seat.drained > drained {
            drained = seat.drained
            progressAt = now
        }
    }
}
