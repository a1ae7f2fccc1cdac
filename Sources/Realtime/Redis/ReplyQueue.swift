import NIOCore

/// Who waits for which replies. Redis answers in the order in which it was asked (Redis documentation, "Redis
/// pipelining"), so a reply always belongs to the oldest batch.
struct ReplyQueue<Waiter> {
    private struct Batch {
        let waiter: Waiter
        let count: Int
        let deadline: NIODeadline
        var replies: [RedisValue] = []
    }

    enum Taken {
        case more
        /// It was the last of its batch's.
        case all([RedisValue], for: Waiter)
        /// Nobody had asked.
        case unasked
    }

    /// The oldest stands apart, so that its replies grow in place.
    private var oldest: Batch?
    private var others = CircularBuffer<Batch>()
    /// Replies that are still to come.
    private(set) var awaited = 0

    /// - Parameter count: commands of the batch, at least one.
    mutating func append(_ waiter: Waiter, count: Int, deadline: NIODeadline) {
        let batch = Batch(waiter: waiter, count: count, deadline: deadline)
        awaited += count
        if oldest == nil {
            oldest = batch
        } else {
            others.append(batch)
        }
    }

    mutating func take(_ reply: RedisValue) -> Taken {
        guard oldest?.replies.append(reply) != nil else { return .unasked }
        awaited -= 1
        guard let batch = oldest, batch.replies.count == batch.count else { return .more }
        oldest = others.popFirst()
        return .all(batch.replies, for: batch.waiter)
    }

    /// A later batch may have less time than an earlier one.
    var earliestDeadline: NIODeadline? {
        guard let oldest else { return nil }
        return others.reduce(into: oldest.deadline) { $0 = min($0, $1.deadline) }
    }

    mutating func removeAll() -> [Waiter] {
        defer { self = ReplyQueue() }
        return (oldest.map { [$0.waiter] } ?? []) + others.map(\.waiter)
    }
}
