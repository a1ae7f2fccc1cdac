package import Domain

/// Where a client's stream begins, decided from the cursor it sent and the log's head at that moment.
package enum StreamStart: Sendable, Equatable {
    /// From now on.
    case live
    /// With what came after a number.
    case resume(after: Int64)
    /// From now on, after being told that what came between cannot be had.
    case reset(SSEFrame.ResetReason)

    /// - Parameters:
    ///   - requested: `Last-Event-ID` or `last_event_id`; `nil` or empty for a client that has none (the empty string is
    ///     what the HTML standard's parser keeps for a stream without ids).
    ///   - head: the primary's, in the same stream.
    package static func decide(requested: String?, head: Cursor) -> StreamStart {
        guard let requested, !requested.isEmpty else { return .live }
        guard let cursor = Cursor(requested) else { return .reset(.malformed) }
        guard cursor.generation == head.generation else { return .reset(.generation) }
        guard cursor.number <= head.number else { return .reset(.ahead) }
        return cursor.number == head.number ? .live : .resume(after: cursor.number)
    }
}

/// What a page of the log shows a client that has seen everything up to a number.
enum PageVerdict: Equatable {
    case next([StreamEvent], upTo: Int64)
    /// The page was read from another log than the head.
    case otherLog
    /// The page does not begin with the next number or has a hole: rows were erased.
    case erased
    case nothing

    init(_ events: [StreamEvent], in stream: StreamKey, after number: Int64, generation: Int64) {
        var last = number
        guard events.allSatisfy({ $0.generation == generation }) else {
            self = .otherLog
            return
        }
        for event in events {
            guard event.number(in: stream) == last + 1 else {
                self = .erased
                return
            }
            last += 1
        }
        self = events.isEmpty ? .nothing : .next(events, upTo: last)
    }
}
