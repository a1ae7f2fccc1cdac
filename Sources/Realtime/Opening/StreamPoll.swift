package import Domain

/// The stream as pages of JSON for clients that cannot hold one open: the same cursor, the same events.
package struct StreamPoll: Sendable {
    package struct Page: Sendable {
        package let events: [StreamEvent]
        package let cursor: Cursor
        package let hasMore: Bool
        /// Why the events between the client's cursor and `cursor` cannot be had.
        package let reset: SSEFrame.ResetReason?
    }

    /// Ask again in a moment: this node is about to stop, or the log has just become another one.
    package struct Draining: Error {}

    private let hub: EventHub
    private let log: any EventLog

    package init(hub: EventHub, log: any EventLog) {
        self.hub = hub
        self.log = log
    }

    /// - Parameters:
    ///   - limit: events a page, 1…200.
    ///   - wait: how long to wait for the first event when there is none.
    /// - Returns: `nil` where the stream is no more.
    /// - Throws: ``Draining``.
    package func page(
        of stream: StreamKey, after requested: String?, limit: Int, wait: Duration
    ) async throws -> Page? {
        guard let head = try await log.head(of: stream), let end = head.cursor(in: stream) else { return nil }
        var start = StreamStart.decide(requested: requested, head: end)
        // A cursor at the head is a place to wait at; no cursor is a question for the head.
        if start == .live, let requested, !requested.isEmpty { start = .resume(after: end.number) }
        switch start {
        case .live: return Page(events: [], cursor: end, hasMore: false, reset: nil)
        case .reset(let reason): return Page(events: [], cursor: end, hasMore: false, reset: reason)
        case .resume(let after):
            if after == end.number && wait > .zero {
                try await waitForEvent(in: stream, after: after, head: head, atMost: wait)
            }
            return try await read(stream, after: after, limit: limit, head: end)
        }
    }

    private func read(_ stream: StreamKey, after number: Int64, limit: Int, head: Cursor) async throws -> Page {
        let events = try await log.events(in: stream, after: number, limit: limit)
        switch PageVerdict(events, in: stream, after: number, generation: head.generation) {
        case .next(let events, let last):
            return Page(
                events: events, cursor: Cursor(generation: head.generation, number: last),
                hasMore: last < head.number, reset: nil)
        case .otherLog:
            // Between the head and the page the log became another one. Asked again, the cursor gets its reset.
            throw Draining()
        case .nothing where number == head.number:
            return Page(events: [], cursor: head, hasMore: false, reset: nil)
        case .nothing, .erased:
            return Page(events: [], cursor: head, hasMore: false, reset: .erased)
        }
    }

    private func waitForEvent(
        in stream: StreamKey, after number: Int64, head: LogHead, atMost wait: Duration
    ) async throws {
        guard !hub.isDraining else { throw Draining() }
        let feed = hub.feeds.enter(stream.accountID)
        defer { hub.feeds.exit(feed) }
        hub.start(feed, at: head)
        guard let poll = hub.poll(stream, of: feed, after: number, head: head) else { return }
        defer { hub.endPoll(poll.id, of: stream, of: feed) }
        // Whoever drains wakes the polls that it finds; this one may have come after.
        guard !hub.isDraining else { return }
        await withTaskGroup { group in
            group.addTask { for await _ in poll.events { return } }
            group.addTask { try? await Task.sleep(for: wait) }
            await group.next()
            group.cancelAll()
        }
    }
}
