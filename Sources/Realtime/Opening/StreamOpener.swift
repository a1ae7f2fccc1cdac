package import Domain
package import Logging
package import NIOCore

/// Brings a client to the end of its stream and seats it there, without a hole and without a double: pages from the
/// log until what is missing is in memory, then the seam under the account's lock.
package struct StreamOpener: Sendable {
    private static let pageSize = 200

    private let hub: EventHub
    private let log: any EventLog
    private let gate: ReplayGate
    private let logger: Logger

    package init(hub: EventHub, log: any EventLog, logger: Logger) {
        self.hub = hub
        self.log = log
        self.logger = logger
        gate = ReplayGate(width: hub.settings.concurrentReplays)
    }

    /// - Parameters:
    ///   - requested: the client's cursor as it was sent.
    ///   - seat: of a connection whose response head is written.
    package func open(
        _ stream: StreamKey, requested: String?, seat: NIOLoopBound<StreamSeat>, on loop: any EventLoop
    ) async {
        let client = Client(seat: seat, loop: loop, hub: hub)
        guard await client.write([SSEFrame.retry(milliseconds: hub.settings.openingRetry())]) else { return }
        guard !hub.isDraining else { return client.end(.drain) }
        let account = hub.registry.enter(stream.accountID)
        defer { hub.registry.exit(account) }
        do {
            try await follow(stream, of: account, requested: requested, client: client)
        } catch {
            // The client keeps its cursor and comes back: nothing is lost by ending here.
            logger.warning("Stream not opened", metadata: ["error": "\(type(of: error))"])
            client.end(.overload)
        }
    }

    private func follow(
        _ stream: StreamKey, of account: FollowedAccount, requested: String?, client: Client
    ) async throws {
        guard var head = try await log.head(of: stream), var end = head.cursor(in: stream) else {
            return client.end(.erased)
        }
        hub.start(account, at: head)
        var seen = end.number
        var source = StreamMetrics.ResumeSource.head
        switch StreamStart.decide(requested: requested, head: end) {
        case .live: break
        case .resume(let after): seen = after
        case .reset(let reason):
            source = .reset
            guard await client.write([SSEFrame.reset(reason, head: end)]) else { return }
        }
        while true {
            switch client.join(stream, of: account, after: seen, head: head) {
            case .joined(let fromRing):
                StreamMetrics.resumed(from: source == .head && fromRing > 0 ? .ring : source)
                return
            case .readHead:
                guard let newer = try await log.head(of: stream), let newerEnd = newer.cursor(in: stream) else {
                    return client.end(.erased)
                }
                // Its numbers are of another log now; the cursor that it comes back with will be answered by a reset.
                guard newer.generation == head.generation else { return client.end(.drain) }
                (head, end) = (newer, newerEnd)
                hub.start(account, at: head)
            case .readPage:
                guard !hub.isDraining else { return client.end(.drain) }
                let from = seen
                let page = try await gate.pass { try await log.events(in: stream, after: from, limit: Self.pageSize) }
                switch PageVerdict(page, in: stream, after: seen) {
                case .next(let events, let last):
                    if source == .head { source = .postgres }
                    let frames = events.enumerated().map { offset, event in
                        SSEFrame.event(event, in: stream, number: from + 1 + Int64(offset))
                    }
                    guard await client.write(frames) else { return }
                    seen = last
                case .erased, .nothing:
                    guard let newer = try await log.head(of: stream), let newerEnd = newer.cursor(in: stream) else {
                        return client.end(.erased)
                    }
                    (head, end) = (newer, newerEnd)
                    hub.start(account, at: head)
                    seen = end.number
                    source = .reset
                    guard await client.write([SSEFrame.reset(.erased, head: end)]) else { return }
                }
            }
        }
    }
}

/// A seat as a task that is not on its event loop uses it.
private struct Client: Sendable {
    let seat: NIOLoopBound<StreamSeat>
    let loop: any EventLoop
    let hub: EventHub

    /// Writes, and waits until the client has taken all but the newest 64 KiB.
    /// - Returns: whether it is still there.
    func write(_ frames: [ByteBuffer]) async -> Bool {
        await withCheckedContinuation { continuation in
            loop.execute {
                let seat = self.seat.value
                frames.forEach(seat.write)
                seat.flush()
                hub.table(of: loop).watch(seat)
                seat.awaitWritable(continuation)
            }
        }
    }

    func join(
        _ stream: StreamKey, of account: FollowedAccount, after number: Int64, head: LogHead
    ) -> EventHub.Joining {
        hub.join(seat, on: loop, to: stream, of: account, after: number, head: head)
    }

    func end(_ reason: SSEFrame.ByeReason) {
        loop.execute { hub.table(of: loop).end(seat.value, reason) }
    }
}
