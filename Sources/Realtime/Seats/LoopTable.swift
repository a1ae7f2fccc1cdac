import CoreMetrics
import Domain
import NIOCore

/// The live seats of one event loop and the only place that writes events to them. Belongs to its loop.
final class LoopTable {
    /// The seats of one stream on this loop, and the number that all of them have been handed.
    private struct Group {
        var last: Int64
        var seats: [StreamSeat]
    }

    let index: Int
    private let feeds: AccountFeeds
    private let settings: StreamSettings
    private var groups: [StreamKey: Group] = [:]
    private(set) var seats: [StreamSeat] = []
    /// Those that still read what they missed.
    private var opening: [ObjectIdentifier: StreamSeat] = [:]
    private var dirty: [StreamSeat] = []
    private var lagging = LagWatch()
    private var beat = 0
    private(set) var isDraining = false

    init(index: Int, feeds: AccountFeeds, settings: StreamSettings) {
        self.index = index
        self.feeds = feeds
        self.settings = settings
    }

    // MARK: Joining and leaving

    /// Seats a client that has seen everything up to `seen`; with `frames` it is at the stream's `end`.
    func join(_ seat: StreamSeat, frames: [ByteBuffer], seen: Cursor, end: Int64) {
        opening[ObjectIdentifier(seat)] = nil
        guard seat.state == .opening else {
            feeds.left(seat.stream, loop: index)
            return
        }
        frames.forEach(seat.write)
        seat.generation = seen.generation
        // What was read from the log may be ahead of this node.
        seat.last = max(seen.number, end)
        seat.write(.heartbeat(of: seat, movesCursor: true))
        seat.becomeLive()
        seat.tableIndex = seats.count
        seat.turn = UInt8(seats.count % settings.heartbeatSeconds)
        seats.append(seat)
        var group = groups[seat.stream] ?? Group(last: end, seats: [])
        if group.last != end {
            // Only after deliveries were dropped (``LoopInbox``): those who missed them must resume.
            for stale in group.seats { self.end(stale, .overload) }
            group = Group(last: end, seats: [])
        }
        seat.groupIndex = group.seats.count
        group.seats.append(seat)
        groups[seat.stream] = group
        StreamMetrics.connections(seat.stream).increment()
        markDirty(seat)
        if isDraining { self.end(seat, .drain) }
    }

    /// Ends a seat with last words.
    func end(_ seat: StreamSeat, _ reason: SSEFrame.ByeReason) {
        remove(seat)
        guard seat.state != .closed else { return }
        seat.end(.saying(SSEFrame.bye(reason, retryMilliseconds: settings.retry(after: reason))))
        StreamMetrics.closed(reason.rawValue)
    }

    /// The client has left.
    func leave(_ seat: StreamSeat) {
        remove(seat)
        guard seat.state != .closed else { return }
        seat.end(.gone)
        StreamMetrics.closed("gone")
    }

    private func abort(_ seat: StreamSeat) {
        remove(seat)
        guard seat.state != .closed else { return }
        seat.end(.aborting)
        StreamMetrics.closed(SSEFrame.ByeReason.slow.rawValue)
    }

    private func remove(_ seat: StreamSeat) {
        lagging.forget(seat)
        opening[ObjectIdentifier(seat)] = nil
        guard seat.tableIndex >= 0 else { return }
        seats.swapRemove(at: seat.tableIndex) { $0.tableIndex = $1 }
        seat.tableIndex = -1
        if var group = groups.removeValue(forKey: seat.stream) {
            group.seats.swapRemove(at: seat.groupIndex) { $0.groupIndex = $1 }
            if !group.seats.isEmpty { groups[seat.stream] = group }
        }
        seat.groupIndex = -1
        StreamMetrics.connections(seat.stream).decrement()
        feeds.left(seat.stream, loop: index)
    }

    // MARK: Delivering

    func deliver(_ frame: ByteBuffer, of stream: StreamKey, number: Int64) {
        guard let group = groups[stream], number > group.last else { return }
        guard number == group.last + 1 else {
            // The hub's order makes this impossible. Were it to happen, resuming is safe and going on is not.
            StreamMetrics.outOfOrder.increment()
            for seat in group.seats { end(seat, .overload) }
            return
        }
        groups[stream]?.last = number
        for seat in group.seats where seat.last < number {
            seat.write(frame)
            seat.last = number
            markDirty(seat)
        }
        StreamMetrics.delivered.increment(by: group.seats.count)
    }

    /// Writes what has no number. A client that is behind anyway is spared it.
    func show(_ frame: ByteBuffer, of stream: StreamKey) {
        for seat in groups[stream]?.seats ?? [] where seat.pendingBytes < LagWatch.steadyLimit {
            seat.write(frame)
            markDirty(seat)
        }
    }

    /// Ends every stream of an account: its numbers no longer mean what they did.
    func endAll(of account: Account.ID, _ reason: SSEFrame.ByeReason) {
        for seat in seats.filter({ $0.stream.accountID == account }) { end(seat, reason) }
    }

    func endAll(_ reason: SSEFrame.ByeReason) {
        for seat in seats { end(seat, reason) }
    }

    private func markDirty(_ seat: StreamSeat) {
        guard !seat.isDirty else { return }
        seat.isDirty = true
        dirty.append(seat)
    }

    /// Once after all that one turn of the loop brought.
    func flush() {
        let now = NIODeadline.now()
        for seat in dirty {
            seat.isDirty = false
            seat.flush()
            if lagging.judge(seat, at: now) == .tooMuch { abort(seat) }
        }
        dirty.removeAll(keepingCapacity: true)
    }

    /// A replay has written to a seat that is not among the live ones yet: a standstill ends it, and its credential's end.
    func watch(_ seat: StreamSeat) {
        guard seat.state == .opening else { return }
        opening[ObjectIdentifier(seat)] = seat
        _ = lagging.judge(seat, at: .now())
    }

    // MARK: Credentials

    /// What the seats here stand on.
    var credentials: Set<StreamCredential> {
        seats.reduce(into: Set(opening.values.compactMap(\.credential))) { found, seat in
            if let credential = seat.credential { found.insert(credential) }
        }
    }

    /// Ends the seats whose credential is no longer good.
    func end(standingOn ended: Set<StreamCredential>) {
        for seat in seats + opening.values {
            if let credential = seat.credential, ended.contains(credential) { end(seat, .expired) }
        }
    }

    // MARK: Time

    /// Once a second: heartbeats for the seats whose turn it is, credentials that have ended, clients that take nothing.
    func tick() {
        let now = NIODeadline.now()
        beat = (beat + 1) % settings.heartbeatSeconds
        for seat in seats.reversed() {
            if seat.expiresAt <= now {
                end(seat, .expired)
            } else if Int(seat.turn) == beat {
                seat.write(.heartbeat(of: seat, movesCursor: false))
                markDirty(seat)
            }
        }
        flush()
        for seat in lagging.overdue(at: now) { abort(seat) }
    }

    /// Ends an equal part of the seats for each of `stepsLeft`; the caller calls again until it answers `true`.
    func drainStep(stepsLeft: Int) -> Bool {
        isDraining = true
        let share = (seats.count + stepsLeft - 1) / max(stepsLeft, 1)
        for seat in seats.shuffled().prefix(share) { end(seat, .drain) }
        return seats.isEmpty
    }
}

extension ByteBuffer {
    fileprivate static func heartbeat(of seat: StreamSeat, movesCursor: Bool) -> ByteBuffer {
        SSEFrame.heartbeat(
            head: Cursor(generation: seat.generation, number: seat.last), at: .now, movesCursor: movesCursor)
    }
}

extension [StreamSeat] {
    /// Removes in constant time by moving the last into the gap.
    fileprivate mutating func swapRemove(at index: Int, moved: (StreamSeat, Int) -> Void) {
        let last = removeLast()
        guard index < count else { return }
        self[index] = last
        moved(last, index)
    }
}
