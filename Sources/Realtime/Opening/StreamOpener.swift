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
        let feed = hub.feeds.enter(stream.accountID)
        defer { hub.feeds.exit(feed) }
        do {
            try await follow(stream, of: feed, requested: requested, client: client)
        } catch is CancellationError {
            // The client has left.
        } catch {
            // The client keeps its cursor and comes back: nothing is lost by ending here.
            logger.warning("Stream not opened", metadata: ["error": "\(type(of: error))"])
            client.end(.overload)
        }
    }

    private func follow(
        _ stream: StreamKey, of feed: AccountFeed, requested: String?, client: Client
    ) async throws {
        guard var (head, end) = try await newHead(of: stream, feed) else { return client.end(.erased) }
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
            switch hub.join(client.seat, on: client.loop, to: stream, of: feed, after: seen, head: head) {
            case .joined(let last):
                StreamMetrics.resumed(from: source == .head ? last : source)
                return
            case .write(let frames, let last, let memory):
                if source == .head { source = memory }
                guard await client.write(frames) else { return }
                seen = last
            case .readHead:
                guard let newer = try await newHead(of: stream, feed) else { return client.end(.erased) }
                // Its numbers are of another log now; the cursor that it comes back with will be answered by a reset.
                guard newer.log.generation == head.generation else { return client.end(.drain) }
                (head, end) = newer
            case .readPage:
                let from = seen
                let page = try await gate.pass { try await log.events(in: stream, after: from, limit: Self.pageSize) }
                switch PageVerdict(page, in: stream, after: seen, generation: head.generation) {
                case .next(let events, let last):
                    if source == .head { source = .postgres }
                    let frames = events.enumerated().map { offset, event in
                        SSEFrame.event(event, in: stream, number: from + 1 + Int64(offset))
                    }
                    guard await client.write(frames) else { return }
                    seen = last
                case .otherLog:
                    return client.end(.drain)
                case .erased, .nothing:
                    guard let newer = try await newHead(of: stream, feed) else { return client.end(.erased) }
                    (head, end) = newer
                    seen = end.number
                    source = .reset
                    guard await client.write([SSEFrame.reset(.erased, head: end)]) else { return }
                }
            }
        }
    }

    private func newHead(of stream: StreamKey, _ feed: AccountFeed) async throws -> (log: LogHead, end: Cursor)? {
        guard let head = try await log.head(of: stream), let end = head.cursor(in: stream) else { return nil }
        hub.start(feed, at: head)
        return (head, end)
    }
}

/// A seat as a task that is not on its event loop uses it.
private struct Client: Sendable {
    let seat: NIOLoopBound<StreamSeat>
    let loop: any EventLoop
    let hub: EventHub

    private static let pieceBytes = 64 * 1024

    /// Writes piece by piece, and waits after each until the client has taken all but the newest 64 KiB.
    /// - Returns: whether it is still there and may go on.
    func write(_ frames: [ByteBuffer]) async -> Bool {
        var rest = frames[...]
        repeat {
            var bytes = 0
            let piece = rest.prefix { frame in
                defer { bytes += frame.readableBytes }
                return bytes < Self.pieceBytes
            }
            rest = rest.dropFirst(piece.count)
            guard await write(piece: Array(piece)) else { return false }
        } while !rest.isEmpty
        return true
    }

    private func write(piece: [ByteBuffer]) async -> Bool {
        guard !Task.isCancelled else { return false }
        return await withCheckedContinuation { continuation in
            loop.execute {
                let seat = self.seat.value
                let table = hub.table(of: loop)
                // A replay may take long: what ends a live stream ends it too.
                if hub.isDraining { table.end(seat, .drain) }
                if seat.expiresAt <= .now() { table.end(seat, .expired) }
                piece.forEach(seat.write)
                seat.flush()
                table.watch(seat)
                seat.awaitWritable(continuation)
            }
        }
    }

    func end(_ reason: SSEFrame.ByeReason) {
        loop.execute { hub.table(of: loop).end(seat.value, reason) }
    }
}
