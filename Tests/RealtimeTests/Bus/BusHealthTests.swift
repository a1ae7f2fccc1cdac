import Testing

@testable import Realtime

@Suite struct BusHealthTests {
    private let start = ContinuousClock.now

    private func at(_ milliseconds: Int) -> BusHealth.Moment { start + .milliseconds(milliseconds) }

    /// All shards proven at a time.
    private func healthy(at milliseconds: Int) -> BusHealth {
        var health = BusHealth()
        health.reading(BusShards.all, true)
        for shard in BusShards.all {
            health.sent(1, to: shard, at: at(milliseconds))
            health.returned(1, from: shard, at: at(milliseconds))
        }
        return health
    }

    @Test func `nothing is believed before every shard has brought something back`() {
        var health = BusHealth()
        health.reading(BusShards.all, true)
        #expect(!health.isHealthy)
        #expect(health.round(at: at(0)).quiet == BusShards.all)
        for shard in BusShards.all {
            #expect(!health.isHealthy)
            health.sent(Int64(shard), to: shard, at: at(0))
            health.returned(Int64(shard), from: shard, at: at(10))
        }
        #expect(health.isHealthy)
    }

    @Test func `a bus that answers and delivers nothing is noticed within three seconds`() {
        var health = healthy(at: 0)
        var noticed: Int?
        var number: Int64 = 1
        for milliseconds in stride(from: 250, through: 5000, by: 250) {
            let round = health.round(at: at(milliseconds))
            for shard in round.quiet {
                number += 1
                health.sent(number, to: shard, at: at(milliseconds))
            }
            if noticed == nil && !health.isHealthy {
                noticed = milliseconds
                #expect(round.mustReopen)
            }
        }
        #expect((noticed ?? .max) <= 2500)
    }

    @Test func `one shard that is wedged is enough`() {
        var health = healthy(at: 0)
        health.sent(2, to: 7, at: at(100))
        for shard in BusShards.all where shard != 7 {
            health.sent(3, to: shard, at: at(1000))
            health.returned(3, from: shard, at: at(1001))
        }
        #expect(health.isHealthy)
        let round = health.round(at: at(1200))
        #expect(round.mustReopen)
        #expect(!health.isHealthy)
        #expect(round.quiet == [7])
    }

    @Test func `a shard with traffic of its own is not probed`() {
        var health = healthy(at: 0)
        for milliseconds in stride(from: 100, through: 3000, by: 100) {
            health.sent(Int64(milliseconds), to: 3, at: at(milliseconds))
            health.returned(Int64(milliseconds), from: 3, at: at(milliseconds + 5))
        }
        #expect(!health.round(at: at(3050)).quiet.contains(3))
    }

    @Test func `traffic that comes back too late does not count as delivered`() {
        var health = healthy(at: 0)
        health.sent(10, to: 3, at: at(100))
        // The shard is busy, but a second and a half behind.
        for number in 11...40 as ClosedRange<Int64> {
            health.sent(number, to: 3, at: at(100 + Int(number - 10) * 50))
        }
        #expect(health.round(at: at(1150)).mustReopen)
        health.returned(10, from: 3, at: at(1600))
        #expect(!health.isHealthy)
    }

    @Test func `while the reader is away nothing is sent or awaited, and it is not healthy`() {
        var health = healthy(at: 0)
        health.reading([4], false)
        #expect(!health.isHealthy)
        health.sent(2, to: 4, at: at(10))
        let away = health.round(at: at(500))
        #expect(!away.quiet.contains(4))
        #expect(!away.mustReopen)
        health.reading([4], true)
        // What was sent before is not waited for: the reader may have begun behind it.
        let back = health.round(at: at(900))
        #expect(back.quiet == [4])
        #expect(!back.mustReopen)
        health.sent(3, to: 4, at: at(900))
        health.returned(3, from: 4, at: at(910))
        #expect(health.isHealthy)
    }

    @Test func `a failure is noticed at once and probed anew`() {
        var health = healthy(at: 0)
        health.sent(2, to: 0, at: at(10))
        health.failed()
        #expect(!health.isHealthy)
        health.returned(2, from: 0, at: at(20))
        #expect(health.round(at: at(30)).quiet == BusShards.all)
    }
}
