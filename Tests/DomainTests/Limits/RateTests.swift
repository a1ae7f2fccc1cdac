import Testing

@testable import Domain

@Suite struct RateTests {
    @Test(
        arguments: [
            (30, 60, 2_000_000, 60_000_000), (600, 60, 100_000, 60_000_000), (5, 10, 2_000_000, 10_000_000),
            (7, 60, 8_571_428, 59_999_996), (1, 1, 1_000_000, 1_000_000), (1_000_000, 1, 1, 1_000_000),
        ] as [(Int, Int, Microseconds, Microseconds)])
    func `a rate is a time between turns and what may come in a row`(
        _ count: Int, _ seconds: Int, _ interval: Microseconds, _ burst: Microseconds
    ) {
        let rate = Rate(count: count, per: .seconds(seconds))
        #expect(rate.interval == interval)
        #expect(rate.burst == burst)
    }

    @Test func `a charge may run ahead by a full bucket and by what it may be made to wait`() {
        let charge = Charge(
            key: LimitKey(.passwords, of: "a"), rate: Rate(count: 5, per: .seconds(10)), maximumWait: .seconds(10),
            cost: 2)
        #expect(charge.increment == 4_000_000)
        #expect(charge.ceiling == 20_000_000)
    }

    @Test func `a duration is whole microseconds`() {
        #expect(Microseconds(Duration.milliseconds(1500)) == 1_500_000)
        #expect(Microseconds(Duration.nanoseconds(1999)) == 1)
    }
}
