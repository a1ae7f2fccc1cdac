import Testing

@testable import Realtime

@Suite struct BackoffTests {
    /// A generator that always draws the same.
    private struct Fixed: RandomNumberGenerator {
        let draw: UInt64
        func next() -> UInt64 { draw }
    }

    private static let ceilings: [Int64] = [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000]

    @Test func `waits double up to two seconds`() {
        var backoff = Backoff()
        var highest = Fixed(draw: .max)
        for ceiling in Self.ceilings {
            let wait = backoff.next(using: &highest)
            #expect(wait > .milliseconds(ceiling) * 0.999 && wait <= .milliseconds(ceiling))
        }
    }

    @Test func `at least half of a wait is certain`() {
        var backoff = Backoff()
        var lowest = Fixed(draw: 0)
        for ceiling in Self.ceilings { #expect(backoff.next(using: &lowest) == .milliseconds(ceiling) / 2) }
    }

    @Test func `nodes do not come back in step`() {
        var waits: Set<Duration> = []
        for _ in 0..<20 {
            var backoff = Backoff()
            waits.insert(backoff.next())
        }
        #expect(waits.count > 10)
    }

    @Test func `after a reset the first wait is short again`() {
        var backoff = Backoff()
        for _ in 0..<10 { _ = backoff.next() }
        backoff.reset()
        #expect(backoff.next() <= Backoff.first)
    }
}
