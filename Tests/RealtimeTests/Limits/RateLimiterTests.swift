import Domain
import Testing

@testable import Realtime

/// What Redis' script and the node's own buckets do alike.
@Suite struct RateLimiterTests {
    @Test(arguments: Decider.allCases)
    func `what is over the rate is refused, and told when to come again`(_ decider: Decider) async throws {
        try await decider.run { node in
            let charge = Charge(key: LimitKey(.visitorMessages, of: "v"), rate: Rate(count: 3, per: .seconds(600)))
            for left in [2, 1, 0] {
                guard case .allowed(let wait, let standing?) = await node.limiter.take([charge]) else {
                    Issue.record("refused with \(left + 1) left")
                    return
                }
                #expect(wait == .zero)
                #expect(standing.name == .visitorMessages)
                #expect(standing.limit == 3)
                #expect(standing.remaining == left)
                #expect((.seconds(180)...(.seconds(600))).contains(standing.resetAfter))
            }
            guard case .refused(let retryAfter, let standing) = await node.limiter.take([charge]) else {
                Issue.record("allowed a fourth")
                return
            }
            #expect((.seconds(180)...(.seconds(200))).contains(retryAfter))
            #expect(standing.remaining == 0)
            #expect((.seconds(580)...(.seconds(600))).contains(standing.resetAfter))
        }
    }

    @Test(arguments: Decider.allCases)
    func `time gives back what it takes`(_ decider: Decider) async throws {
        try await decider.run { node in
            let charge = Charge(key: LimitKey(.visitorMessages, of: "v"), rate: Rate(count: 2, per: .milliseconds(600)))
            let began = ContinuousClock.now
            var taken = 0
            while began.duration(to: .now) < .seconds(2) {
                if await node.takes(charge) { taken += 1 }
                try await Task.sleep(for: .milliseconds(5))
            }
            let most = 2 + Int(began.duration(to: .now) / .milliseconds(300))
            #expect((4...most).contains(taken))
        }
    }

    @Test(arguments: Decider.allCases)
    func `who floods uses up nothing of what neighbours share`(_ decider: Decider) async throws {
        try await decider.run { node in
            let address = Charge.sample(.addressMessages, of: "address", count: 10)
            var flooded = 0
            for _ in 0..<50 where await node.takes(.sample(of: "flooder"), address) { flooded += 1 }
            #expect(flooded == 3)
            var served = 0
            for _ in 0..<7 where await node.takes(.sample(of: "neighbour", count: 100), address) { served += 1 }
            #expect(served == 7)
            // And the shared one's refusal costs the visitor nothing.
            #expect(await !node.takes(.sample(of: "third"), address))
            #expect(await node.takes(.sample(of: "third", cost: 3)))
        }
    }

    @Test(arguments: Decider.allCases)
    func `the turns of those who may wait are spaced, and who would wait too long is refused`(
        _ decider: Decider
    ) async throws {
        try await decider.run { node in
            let charge = Charge(
                key: LimitKey(.passwords, of: "account at address"), rate: Rate(count: 5, per: .seconds(1000)),
                maximumWait: .seconds(1000))
            for turn in 1...10 {
                let wait = try #require(await node.waits(charge))
                let late = max(.zero, .seconds(200) * (turn - 5))
                #expect((late - .seconds(20)...late).contains(wait), "turn \(turn)")
            }
            #expect(await node.waits(charge) == nil)
        }
    }

    @Test(arguments: Decider.allCases)
    func `a key that is charged twice at once pays twice`(_ decider: Decider) async throws {
        try await decider.run { node in
            #expect(await !node.takes(.sample(count: 1), .sample(count: 1)))
            #expect(await node.takes(.sample(count: 1)))
        }
    }

    @Test(arguments: Decider.allCases)
    func `what is given back can be taken again, and no more than that`(_ decider: Decider) async throws {
        try await decider.run { node in
            let charges = [Charge.sample(), .sample(.addressMessages, of: "address")]
            for _ in 0..<3 { _ = await node.limiter.take(charges) }
            await node.limiter.giveBack(charges)
            #expect(await node.takes(charges[0], charges[1]))
            #expect(await !node.takes(charges[0]))
            #expect(await !node.takes(charges[1]))
            for _ in 0..<10 { await node.limiter.giveBack(charges) }
            var taken = 0
            for _ in 0..<10 where await node.takes(charges[0]) { taken += 1 }
            #expect(taken == 3)
        }
    }

    @Test(arguments: Decider.allCases)
    func `a cleared key has paid nothing, and the others have`(_ decider: Decider) async throws {
        try await decider.run { node in
            let other = Charge.sample(.addressMessages, of: "address")
            for _ in 0..<3 { _ = await node.limiter.take([.sample(), other]) }
            await node.limiter.clear(Charge.sample().key)
            #expect(await node.takes(.sample()))
            #expect(await !node.takes(other))
        }
    }

    @Test(arguments: Decider.allCases)
    func `of a thousand at once thirty are taken`(_ decider: Decider) async throws {
        try await decider.run { node in
            let taken = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<1000 { group.addTask { await node.takes(.sample(count: 30)) } }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(taken == 30)
        }
    }
}
