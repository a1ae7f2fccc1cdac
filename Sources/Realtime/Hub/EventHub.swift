package import Domain
package import NIOCore
import Synchronization

/// Where events and followers of this node meet. Events come from the commit, from the bus and from the auditor, in
/// any order and more than once; each follower gets each of its stream's events once and in order.
package final class EventHub: EventSink {
    /// A tail that is behind by no more is one whose events are on their way.
    private static let staleness: Int64 = 64

    let registry = FollowedAccounts()
    let settings: StreamSettings
    private let inboxes: [LoopInbox]
    private let loopIndices: [ObjectIdentifier: Int]
    private let draining = Atomic(false)
    /// Accounts with numbers missing below an event that came. What is not taken in time, the auditor's next round finds.
    let gaps: AsyncStream<Account.ID>
    private let gapSignal: AsyncStream<Account.ID>.Continuation

    package init(loops: some EventLoopGroup, settings: StreamSettings) {
        self.settings = settings
        let registry = self.registry
        inboxes = loops.makeIterator().enumerated().map { index, loop in
            LoopInbox(loop: loop, index: index, registry: registry, settings: settings)
        }
        loopIndices = Dictionary(
            uniqueKeysWithValues: inboxes.enumerated().map { (ObjectIdentifier($1.loop), $0) })
        (gaps, gapSignal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
        StreamMetrics.show()
    }

    package var isDraining: Bool { draining.load(ordering: .relaxed) }

    /// Milliseconds a client is told to wait after a stream that ends for this reason.
    package func retry(after reason: SSEFrame.ByeReason) -> Int { settings.retry(after: reason) }

    /// Followed streams on this node right now.
    package var streamCount: Int { registry.seatCount }

    // MARK: Events

    package func ingest(_ events: [StreamEvent]) {
        var rest = events[...]
        while let account = rest.first?.accountID {
            let end = rest.firstIndex { $0.accountID != account } ?? rest.endIndex
            ingest(rest[..<end], of: account)
            rest = rest[end...]
        }
    }

    /// - Returns: how many of them were new here.
    @discardableResult
    func ingest(_ events: ArraySlice<StreamEvent>, of id: Account.ID) -> Int {
        guard let account = registry.find(id) else { return 0 }
        let result = account.state.withLock { state in
            let result = state.tail.ingest(events)
            // Inside the lock: what is put into a loop's inbox outside of it is put there in another order.
            hand(on: result.deliveries, to: &state)
            return result
        }
        if result.generationMoved { restart(account, saying: .drain) }
        if result.hasGap { gapSignal.yield(id) }
        return result.accepted
    }

    private func hand(on deliveries: [AccountTail.Delivery], to state: inout FollowedAccount.State) {
        for delivery in deliveries {
            guard let followers = state.followers[delivery.stream] else { continue }
            if followers.seats.contains(where: { $0 > 0 }) {
                let frame = SSEFrame.event(delivery.event, in: delivery.stream, number: delivery.number)
                for (index, count) in followers.seats.enumerated() where count > 0 {
                    inboxes[index].put(.deliver(frame, of: delivery.stream, number: delivery.number))
                }
            }
            for poll in followers.polls.values { poll.yield() }
        }
    }

    /// Ends what is followed of an account, and begins anew for whoever comes back.
    func restart(_ account: FollowedAccount, saying reason: SSEFrame.ByeReason) {
        account.state.withLock { state in
            state.tail = AccountTail(accountID: account.id)
            // Inside the lock, so that it reaches every loop before whoever joins by the new numbers.
            for inbox in inboxes { inbox.put(.endAll(of: account.id, reason)) }
            state.wakePolls()
        }
    }

    // MARK: Followers

    /// Lets the tail begin at a head that was read from the log, where it has none yet.
    func start(_ account: FollowedAccount, at head: LogHead) {
        let result = account.state.withLock { state in
            // Nobody follows, and the log went on without this node: what lies between would be read for nobody.
            if state.followers.isEmpty, let last = state.tail.last, head.accountSeq - last > Self.staleness {
                state.tail = AccountTail(accountID: account.id)
            }
            let result = state.tail.start(at: head)
            hand(on: result.deliveries, to: &state)
            return result
        }
        if result.generationMoved { restart(account, saying: .drain) }
        if result.hasGap { gapSignal.yield(account.id) }
    }

    enum Joining {
        /// The seat is, or at its loop's next turn will be, live.
        case joined(fromRing: Int)
        /// More than a live client may be sent at once: write these, which end with `upTo`, and join again.
        case write([ByteBuffer], upTo: Int64)
        case readPage
        case readHead
    }

    /// Seats a client that has seen everything up to a number, if what it lacks is in memory.
    func join(
        _ seat: NIOLoopBound<StreamSeat>, on loop: any EventLoop, to stream: StreamKey, of account: FollowedAccount,
        after number: Int64, head: LogHead
    ) -> Joining {
        let seen = Cursor(generation: head.generation, number: number)
        guard let index = loopIndices[ObjectIdentifier(loop)] else {
            preconditionFailure("a stream's connection runs on one of the hub's event loops")
        }
        return account.state.withLock { state in
            guard state.tail.generation == head.generation else { return .readHead }
            if case .dialog(let id, _) = stream, !state.tail.follow(id, from: head) { return .readHead }
            guard case .from(let events, let end) = state.tail.catchUp(stream, after: number) else {
                state.unfollowIfUnused(stream)
                return .readPage
            }
            let frames = events.compactMap { event in
                event.number(in: stream).map { SSEFrame.event(event, in: stream, number: $0) }
            }
            if frames.count > 1, frames.reduce(0, { $0 + $1.readableBytes }) > LagWatch.steadyLimit {
                state.unfollowIfUnused(stream)
                return .write(frames, upTo: end)
            }
            state.followers[stream, default: .init(seats: Array(repeating: 0, count: inboxes.count))].seats[index] += 1
            registry.joined()
            inboxes[index].put(.join(seat, frames: frames, seen: seen, end: end))
            return .joined(fromRing: frames.count)
        }
    }

    /// Counts a long poll as a follower, unless the stream is already beyond the number.
    /// - Returns: what yields once at the next event, or `nil` where there is something to read now.
    func poll(
        _ stream: StreamKey, of account: FollowedAccount, after number: Int64, head: LogHead
    ) -> (id: Int, events: AsyncStream<Void>)? {
        account.state.withLock { state in
            if case .dialog(let id, _) = stream, !state.tail.follow(id, from: head) { return nil }
            guard let end = state.tail.end(of: stream), end <= number else {
                state.unfollowIfUnused(stream)
                return nil
            }
            let (events, signal) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
            let id = state.nextPoll
            state.nextPoll += 1
            state.followers[stream, default: .init(seats: Array(repeating: 0, count: inboxes.count))].polls[id] = signal
            return (id, events)
        }
    }

    func endPoll(_ id: Int, of stream: StreamKey, of account: FollowedAccount) {
        account.state.withLock { state in
            state.followers[stream]?.polls.removeValue(forKey: id)?.finish()
            state.dropIfEmpty(stream)
        }
    }

    // MARK: Seats, from their connections

    /// The table of a connection's loop. On that loop.
    func table(of loop: any EventLoop) -> LoopTable {
        guard let index = loopIndices[ObjectIdentifier(loop)] else {
            preconditionFailure("a stream's connection runs on one of the hub's event loops")
        }
        return inboxes[index].table.value
    }

    /// The connection of a seat is gone. On its loop.
    package func left(_ seat: StreamSeat, on loop: any EventLoop) {
        table(of: loop).leave(seat)
    }

    // MARK: Stopping

    /// Ends every stream, spread over the drain time; streams that open meanwhile end at once.
    package func drain() async {
        draining.store(true, ordering: .relaxed)
        registry.wakePolls()
        let step = Duration.milliseconds(50)
        let steps = max(1, Int(settings.drainTime / step))
        for stepsLeft in (1...steps).reversed() {
            var isEmpty = true
            for inbox in inboxes {
                let table = inbox.table
                let isDone = try? await inbox.loop.submit { table.value.drainStep(stepsLeft: stepsLeft) }.get()
                isEmpty = isEmpty && (isDone ?? true)
            }
            if isEmpty { return }
            try? await Task.sleep(for: step)
        }
    }
}

extension FollowedAccount.State {
    /// A dialog's number is kept only while somebody follows it.
    mutating func unfollowIfUnused(_ stream: StreamKey) {
        guard followers[stream] == nil, case .dialog(let id, _) = stream else { return }
        tail.unfollow(id)
    }
}
