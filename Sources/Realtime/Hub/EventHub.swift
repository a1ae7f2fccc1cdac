import Domain
package import NIOCore
import Synchronization

/// Where events and followers of this node meet. Events come from the commit, from the bus and from the auditor, in
/// any order and more than once; each follower gets each of its stream's events once and in order.
package final class EventHub: Sendable {
    let feeds: AccountFeeds
    let settings: StreamSettings
    private let inboxes: [LoopInbox]
    private let loopIndices: [ObjectIdentifier: Int]
    private let draining = Atomic(false)
    private let gaps = Mutex<Set<Account.ID>>([])
    /// Yields when there are accounts with numbers missing below one that is known (``takeGaps()``).
    let gapSignal: AsyncStream<Void>
    private let gapFound: AsyncStream<Void>.Continuation

    package init(loops: some EventLoopGroup, settings: StreamSettings) {
        self.settings = settings
        let feeds = AccountFeeds(budget: settings.replayBytes)
        self.feeds = feeds
        inboxes = loops.makeIterator().enumerated().map { index, loop in
            LoopInbox(loop: loop, index: index, feeds: feeds, settings: settings)
        }
        loopIndices = Dictionary(
            uniqueKeysWithValues: inboxes.enumerated().map { (ObjectIdentifier($1.loop), $0) })
        (gapSignal, gapFound) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        StreamMetrics.show()
    }

    package var isDraining: Bool { draining.load(ordering: .relaxed) }

    /// Milliseconds a client is told to wait after a stream that ends for this reason.
    package func retry(after reason: SSEFrame.ByeReason) -> Int { settings.retry(after: reason) }

    /// Followed streams on this node right now.
    package var streamCount: Int { feeds.seatCount }

    // MARK: Events

    /// - Parameter events: of any accounts, each account's ascending.
    func ingest(_ events: [StreamEvent], from source: AccountTail.Source) {
        var rest = events[...]
        while let account = rest.first?.accountID {
            let end = rest.firstIndex { $0.accountID != account } ?? rest.endIndex
            ingest(rest[..<end], of: account, from: source)
            rest = rest[end...]
        }
        feeds.trim()
    }

    /// - Returns: how many of them were new here.
    @discardableResult
    func ingest(_ events: ArraySlice<StreamEvent>, of id: Account.ID, from source: AccountTail.Source) -> Int {
        while true {
            let feed = feeds.findOrKeep(id)
            let result = feeds.update(feed) { state in
                let result = state.tail.ingest(events, from: source)
                state.touchedAt = .now()
                // Inside the lock: what is put into a loop's inbox outside of it is put there in another order.
                hand(on: result.deliveries, to: &state)
                return result
            }
            guard let result else { continue }
            act(on: result, of: feed)
            return result.accepted
        }
    }

    private func act(on result: AccountTail.Ingested, of feed: AccountFeed) {
        if result.generationMoved { restart(feed, saying: .drain) }
        if result.hasGap {
            gaps.withLock { _ = $0.insert(feed.id) }
            gapFound.yield()
        }
    }

    private func hand(on deliveries: [AccountTail.Delivery], to state: inout AccountFeed.State) {
        for delivery in deliveries {
            guard var followers = state.followers[delivery.stream] else { continue }
            if followers.seats.contains(where: { $0 > 0 }) {
                let frame = SSEFrame.event(delivery.event, in: delivery.stream, number: delivery.number)
                for (index, count) in followers.seats.enumerated() where count > 0 {
                    inboxes[index].put(.deliver(frame, of: delivery.stream, number: delivery.number))
                }
            }
            for poll in followers.polls.values { poll.yield() }
            if case .dialog = delivery.stream {
                followers.gate.note(delivery.event)
                state.followers[delivery.stream]?.gate = followers.gate
            }
        }
    }

    /// Hands an ephemeral event to whoever follows now.
    func show(_ event: EphemeralEvent) {
        guard let feed = feeds.find(event.accountID) else { return }
        let dialog = StreamKey.dialog(event.dialogID, of: event.accountID)
        feed.state.withLock { state in
            let verdict = state.followers[dialog]?.gate.judge(event) ?? .pass
            guard verdict == .pass else { return StreamMetrics.ephemeralDropped(verdict.rawValue) }
            let frame = SSEFrame.ephemeral(event)
            for stream in event.kind.isForAccount ? [dialog, .account(event.accountID)] : [dialog] {
                guard let followers = state.followers[stream] else { continue }
                for (index, count) in followers.seats.enumerated() where count > 0 {
                    inboxes[index].put(.show(frame, of: stream))
                }
            }
        }
    }

    /// The accounts with gaps found since the last time.
    func takeGaps() -> [AccountFeed] {
        let ids = gaps.withLock { gaps in
            defer { gaps = [] }
            return gaps
        }
        return ids.compactMap { feeds.find($0) }
    }

    /// Ends what is followed of an account, and begins anew for whoever comes back.
    func restart(_ feed: AccountFeed, saying reason: SSEFrame.ByeReason) {
        _ = feeds.update(feed) { state in
            state.tail = AccountTail(accountID: feed.id)
            // Inside the lock, so that it reaches every loop before whoever joins by the new numbers.
            for inbox in inboxes { inbox.put(.endAll(of: feed.id, reason)) }
            state.wakePolls()
        }
    }

    // MARK: Followers

    /// Lets the tail begin at a head that was read from the log, where nobody followed it until now.
    func start(_ feed: AccountFeed, at head: LogHead) {
        let result = feeds.update(feed) { state in
            // The log may have gone on without this node: what lies between would be read for nobody.
            if state.followers.isEmpty, let last = state.tail.last, last < head.accountSeq { state.tail.loosen() }
            let result = state.tail.start(at: head)
            hand(on: result.deliveries, to: &state)
            return result
        }
        if let result { act(on: result, of: feed) }
    }

    enum Joining {
        /// The seat is, or at its loop's next turn will be, live; what it lacked came from there.
        case joined(StreamMetrics.ResumeSource)
        /// More than a live client may be sent at once: write these, which end with `upTo`, and join again.
        case write([ByteBuffer], upTo: Int64, from: StreamMetrics.ResumeSource)
        case readPage
        case readHead
    }

    /// Seats a client that has seen everything up to a number, if what it lacks is in memory.
    func join(
        _ seat: NIOLoopBound<StreamSeat>, on loop: any EventLoop, to stream: StreamKey, of feed: AccountFeed,
        after number: Int64, head: LogHead
    ) -> Joining {
        let seen = Cursor(generation: head.generation, number: number)
        guard let index = loopIndices[ObjectIdentifier(loop)] else {
            preconditionFailure("a stream's connection runs on one of the hub's event loops")
        }
        return feed.state.withLock { state in
            guard state.tail.last != nil, state.tail.generation == head.generation else { return .readHead }
            if case .dialog(let id, _) = stream, !state.tail.follow(id, from: head) { return .readHead }
            guard case .from(let events, let end, let isWarm) = state.tail.catchUp(stream, after: number) else {
                state.unfollowIfUnused(stream)
                return .readPage
            }
            let frames = events.compactMap { event in
                event.number(in: stream).map { SSEFrame.event(event, in: stream, number: $0) }
            }
            if frames.count > 1, frames.reduce(0, { $0 + $1.readableBytes }) > LagWatch.steadyLimit {
                state.unfollowIfUnused(stream)
                return .write(frames, upTo: end, from: isWarm ? .bus : .ring)
            }
            state.followers[stream, default: .init(seats: Array(repeating: 0, count: inboxes.count))].seats[index] += 1
            feeds.joined()
            inboxes[index].put(.join(seat, frames: frames, seen: seen, end: end))
            return .joined(frames.isEmpty ? .head : isWarm ? .bus : .ring)
        }
    }

    /// Counts a long poll as a follower, unless the stream is already beyond the number.
    /// - Returns: what yields once at the next event, or `nil` where there is something to read now.
    func poll(
        _ stream: StreamKey, of feed: AccountFeed, after number: Int64, head: LogHead
    ) -> (id: Int, events: AsyncStream<Void>)? {
        feed.state.withLock { state in
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

    func endPoll(_ id: Int, of stream: StreamKey, of feed: AccountFeed) {
        feed.state.withLock { state in
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

    // MARK: Credentials

    /// What the streams of this node stand on.
    func credentials() async -> Set<StreamCredential> {
        var found: Set<StreamCredential> = []
        for inbox in inboxes {
            let table = inbox.table
            found.formUnion((try? await inbox.loop.submit { table.value.credentials }.get()) ?? [])
        }
        return found
    }

    /// Ends every stream that stands on one of these.
    func end(standingOn ended: Set<StreamCredential>) {
        for inbox in inboxes {
            let table = inbox.table
            inbox.loop.execute { table.value.end(standingOn: ended) }
        }
    }

    // MARK: Stopping

    /// Ends every stream, spread over the drain time; streams that open meanwhile end at once.
    package func drain() async {
        draining.store(true, ordering: .relaxed)
        feeds.wakePolls()
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
