import NIOCore
import Testing

@testable import Realtime

@Suite struct ReplyQueueTests {
    private var queue = ReplyQueue<String>()

    private func at(_ seconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .seconds(seconds) }

    private mutating func take(_ number: Int64) -> String {
        switch queue.take(.integer(number)) {
        case .more: "more"
        case .all(let replies, let waiter): "\(waiter) \(replies.compactMap(\.integer))"
        case .unasked: "unasked"
        }
    }

    @Test mutating func `replies go to the batches in the order they were asked`() {
        queue.append("a", count: 2, deadline: at(1))
        queue.append("b", count: 1, deadline: at(1))
        queue.append("c", count: 3, deadline: at(1))
        #expect(queue.awaited == 6)
        let taken = (1...7).map { take($0) }
        #expect(taken == ["more", "a [1, 2]", "b [3]", "more", "more", "c [4, 5, 6]", "unasked"])
        #expect(queue.awaited == 0)
    }

    @Test mutating func `the earliest deadline may be a later batch's`() {
        #expect(queue.earliestDeadline == nil)
        queue.append("a", count: 1, deadline: at(5))
        queue.append("b", count: 1, deadline: at(2))
        queue.append("c", count: 1, deadline: at(9))
        #expect(queue.earliestDeadline == at(2))
        _ = (take(1), take(2))
        #expect(queue.earliestDeadline == at(9))
    }

    @Test mutating func `all that wait are given back in order, with replies or without`() {
        queue.append("a", count: 2, deadline: at(1))
        queue.append("b", count: 1, deadline: at(1))
        _ = take(1)
        #expect(queue.removeAll() == ["a", "b"])
        #expect(queue.awaited == 0)
        #expect(queue.earliestDeadline == nil)
        #expect(take(1) == "unasked")
    }
}
