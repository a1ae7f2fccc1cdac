import Testing

@testable import Realtime

@Suite struct BackoffTests {
    private static let ceilings: [Int64] = [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000]

    @Test func `waits double up to two seconds, and half of each is certain`() {
        for (lot, share) in [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)] {
            var backoff = Backoff()
            for ceiling in Self.ceilings { #expect(backoff.next(lot: lot) == .milliseconds(ceiling) * share) }
        }
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
