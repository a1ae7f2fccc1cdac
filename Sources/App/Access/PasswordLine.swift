import Synchronization

/// Who gets the one thread that checks passwords. Each address, and each browser that is known, has a line of its own;
/// the lines take turns, and every second turn is a known browser's. So who comes often, or from many addresses, delays
/// others and keeps nobody out.
final class PasswordLine: Sendable {
    struct Limits: Sendable {
        /// Waiting in one line, and in all of them.
        var line = 32
        var all = 512
        /// Whoever has waited longer is sent away: a proxy would not wait for the answer.
        var patience = Duration.seconds(6)
    }

    private struct Waiter {
        let since: ContinuousClock.Instant
        let continuation: CheckedContinuation<Bool, Never>
    }

    /// Lines that take turns.
    private struct Round {
        var lines: [String: [Waiter]] = [:]
        var order: [String] = []

        mutating func join(_ who: String, _ waiter: Waiter) {
            if lines[who] == nil { order.append(who) }
            lines[who, default: []].append(waiter)
        }

        mutating func next() -> Waiter? {
            guard !order.isEmpty else { return nil }
            let who = order.removeFirst()
            guard var line = lines[who], !line.isEmpty else { return nil }
            let waiter = line.removeFirst()
            lines[who] = line.isEmpty ? nil : line
            if !line.isEmpty { order.append(who) }
            return waiter
        }

        /// One of a line, whichever: who came last might be the one who came once.
        mutating func sendAwayOne(of who: String) -> Waiter? {
            guard var line = lines[who], !line.isEmpty else { return nil }
            let waiter = line.remove(at: .random(in: line.indices))
            lines[who] = line.isEmpty ? nil : line
            if line.isEmpty { order.removeAll { $0 == who } }
            return waiter
        }

        var longest: String? { lines.max { $0.value.count < $1.value.count }?.key }
    }

    private struct State {
        var isTaken = false
        var strangers = Round()
        var known = Round()
        var waiting = 0
        var isKnownsTurn = true
    }

    private let limits: Limits
    private let state = Mutex(State())

    init(limits: Limits = Limits()) {
        self.limits = limits
    }

    /// Waiting, in all lines.
    var count: Int { state.withLock { $0.waiting } }

    /// - Returns: whether its turn has come; whose has must ``leave()``. `false`: sent away.
    func enter(_ who: String, isKnown: Bool) async -> Bool {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.isTaken else {
                    state.isTaken = true
                    return true
                }
                return false
            }
            guard !isFree else { return continuation.resume(returning: true) }
            let sentAway = join(who, isKnown, Waiter(since: .now, continuation: continuation))
            for waiter in sentAway { waiter.continuation.resume(returning: false) }
            // It may have become free between the two.
            takeTurn()
        }
    }

    func leave() {
        state.withLock { $0.isTaken = false }
        takeTurn()
    }

    private func join(_ who: String, _ isKnown: Bool, _ waiter: Waiter) -> [Waiter] {
        state.withLock { state in
            var away: [Waiter] = []
            let round = isKnown ? \State.known : \State.strangers
            state[keyPath: round].join(who, waiter)
            state.waiting += 1
            if (state[keyPath: round].lines[who]?.count ?? 0) > limits.line {
                away += [state[keyPath: round].sendAwayOne(of: who)].compactMap { $0 }
            } else if state.waiting > limits.all, let longest = state.strangers.longest ?? state.known.longest {
                away += [state.strangers.sendAwayOne(of: longest) ?? state.known.sendAwayOne(of: longest)]
                    .compactMap { $0 }
            }
            state.waiting -= away.count
            return away
        }
    }

    private func takeTurn() {
        let (next, late) = state.withLock { state -> (Waiter?, [Waiter]) in
            guard !state.isTaken else { return (nil, []) }
            var late: [Waiter] = []
            while state.waiting > 0 {
                let first = state.isKnownsTurn ? \State.known : \State.strangers
                let second = state.isKnownsTurn ? \State.strangers : \State.known
                guard let waiter = state[keyPath: first].next() ?? state[keyPath: second].next() else { break }
                state.isKnownsTurn.toggle()
                state.waiting -= 1
                if waiter.since.duration(to: .now) > limits.patience {
                    late.append(waiter)
                    continue
                }
                state.isTaken = true
                return (waiter, late)
            }
            return (nil, late)
        }
        for waiter in late { waiter.continuation.resume(returning: false) }
        next?.continuation.resume(returning: true)
    }
}
