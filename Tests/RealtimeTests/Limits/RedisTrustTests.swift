import Testing

@testable import Realtime

@Suite struct RedisTrustTests {
    private let start = ContinuousClock.now

    /// How many of three may ask at once.
    private func askers(_ trust: inout RedisTrust, at milliseconds: Int) -> Int {
        var count = 0
        for _ in 0..<3 where trust.mayAsk(at: start + .milliseconds(milliseconds)) { count += 1 }
        return count
    }

    @Test func `after a failure it is left alone, then asked by one, and trusted by its answer`() {
        var trust = RedisTrust()
        #expect(askers(&trust, at: 0) == 3)
        trust.failed(at: start)
        #expect(askers(&trust, at: 999) == 0)
        #expect(askers(&trust, at: 1000) == 1)
        trust.failed(at: start + .milliseconds(1100))
        #expect(askers(&trust, at: 2099) == 0)
        #expect(askers(&trust, at: 2100) == 1)
        trust.answered()
        #expect(askers(&trust, at: 2100) == 3)
    }

    @Test func `one that never says what came of it holds up nobody for long`() {
        var trust = RedisTrust()
        trust.failed(at: start)
        #expect(askers(&trust, at: 1000) == 1)
        #expect(askers(&trust, at: 1999) == 0)
        #expect(askers(&trust, at: 2000) == 1)
    }
}
