import Domain
import Testing

@testable import Realtime

@Suite struct EventRingTests {
    @Test func `a ring keeps the newest, bounded in number`() {
        var ring = EventRing(maximumCount: 10, maximumBytes: 1 << 20)
        for seq in 1...100 as ClosedRange<Int64> { ring.append(.sample(seq)) }
        #expect(ring.kept.map(\.seq) == Array(91...100))
    }

    @Test func `a ring is bounded in bytes, and so is what it really holds`() {
        let large = "{\"text\":\"\(String(repeating: "x", count: 60_000))\"}"
        var ring = EventRing(maximumCount: 512, maximumBytes: 512 * 1024)
        for seq in 1...400 as ClosedRange<Int64> {
            ring.append(.sample(seq, payload: large))
            #expect(ring.bytes <= 512 * 1024)
            #expect(ring.held <= 2 * ring.count + 1)
        }
        #expect(ring.kept.last?.seq == 400)
    }

    @Test func `one event larger than all is still kept`() {
        var ring = EventRing(maximumCount: 512, maximumBytes: 10)
        ring.append(.sample(1, payload: "{\"text\":\"much too long\"}"))
        #expect(ring.kept.map(\.seq) == [1])
    }
}
