import Domain
import Foundation
import Testing

@testable import Realtime

/// What joins the nodes, and what happens when it does not.
@Suite(.serialized) struct RateLimiterRedisTests {
    private func taken(_ count: Int, by nodes: [LimitNode], _ charge: Charge) async -> Int {
        var taken = 0
        for turn in 0..<count where await nodes[turn % nodes.count].takes(charge) { taken += 1 }
        return taken
    }

    /// Whether what either has used up the other has not.
    private func share(_ one: LimitNode, _ two: LimitNode) async -> Bool {
        for (first, second) in [(one, two), (two, one)] {
            let charge = Charge.sample(of: UUID().uuidString, count: 1)
            _ = await first.takes(charge)
            if await second.takes(charge) { return false }
        }
        return true
    }

    @Test func `two nodes have one budget`() async throws {
        try await TestRedis.with { redis in
            let nodes = [try LimitNode(redis), try LimitNode(redis)]
            try await LimitNode.run(nodes) {
                #expect(await taken(20, by: nodes, .sample(count: 7)) == 7)
            }
        }
    }

    @Test func `a thousand at once on two nodes take thirty`() async throws {
        try await TestRedis.with { redis in
            let nodes = [try LimitNode(redis), try LimitNode(redis)]
            try await LimitNode.run(nodes) {
                let taken = await withTaskGroup(of: Bool.self) { group in
                    for turn in 0..<1000 { group.addTask { await nodes[turn % 2].takes(.sample(count: 30)) } }
                    return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
                }
                #expect(taken == 30)
            }
        }
    }

    @Test func `Redis agrees with the buckets, whatever is asked`() async throws {
        try await TestRedis.with { redis in
            let node = try LimitNode(redis)
            try await LimitNode.run([node]) {
                var buckets = Buckets()
                for _ in 0..<500 {
                    let charges = (0..<Int.random(in: 1...3)).map { _ in
                        let name = Bool.random() ? LimitName.visitorMessages : .addressMessages
                        // A rate is its name's, so that nothing depends on the time between the two.
                        let count = name == .visitorMessages ? 4 : 9
                        return Charge(
                            key: LimitKey(name, of: "\(Int.random(in: 0..<4))"),
                            rate: Rate(count: count, per: .seconds(86_400)),
                            maximumWait: name == .visitorMessages ? .zero : .seconds(40_000),
                            cost: .random(in: 1...2))
                    }
                    if Int.random(in: 0..<4) == 0 {
                        buckets.giveBack(charges, at: .zero)
                        await node.limiter.giveBack(charges)
                    } else {
                        let (ours, theirs) = (buckets.take(charges, at: .zero), await node.limiter.take(charges))
                        #expect(Outcome(ours) == Outcome(theirs))
                    }
                }
            }
        }
    }

    /// A verdict as far as the few seconds of a test do not change it.
    private struct Outcome: Equatable {
        let isAllowed: Bool
        let name: LimitName?
        let waits: Bool

        init(_ verdict: LimitVerdict) {
            switch verdict {
            case .allowed(let wait, _): (isAllowed, name, waits) = (true, nil, wait > .seconds(600))
            case .refused(_, let standing): (isAllowed, name, waits) = (false, standing.name, false)
            }
        }
    }

    @Test func `a killed Redis costs no decision, and shares again when it is back`() async throws {
        try await TestRedis.with { redis in
            let nodes = [try LimitNode(redis), try LimitNode(redis)]
            try await LimitNode.run(nodes) {
                let charge = Charge.sample(count: 5)
                #expect(await taken(20, by: nodes, charge) == 5)
                redis.stop()
                let began = ContinuousClock.now
                // Each by itself now.
                #expect(await taken(20, by: nodes, charge) == 10)
                #expect(began.duration(to: .now) < .seconds(2))
                #expect(try await redis.start())
                let isShared = try await eventually { await share(nodes[0], nodes[1]) }
                #expect(isShared)
            }
        }
    }

    @Test func `a Redis that does not answer is waited for once, not by everybody`() async throws {
        try await TestRedis.with { redis in
            let node = try LimitNode(redis, patience: .milliseconds(100))
            try await LimitNode.run([node]) {
                let control = try await redis.connect()
                _ = try await control.send([RedisCommand("CLIENT", "PAUSE", "1500", "ALL")], within: .seconds(5))
                let began = ContinuousClock.now
                #expect(await taken(100, by: [node], .sample(count: 30)) == 30)
                // By turns of 0.1 s it would be ten seconds.
                #expect(began.duration(to: .now) < .seconds(1))
                let other = try LimitNode(redis)
                try await LimitNode.run([other]) {
                    let isShared = try await eventually { await share(node, other) }
                    #expect(isShared)
                }
            }
        }
    }

    @Test func `a rate that was lowered, or a clock set back, holds nobody for longer than a full bucket`() async throws
    {
        try await TestRedis.with { redis in
            let node = try LimitNode(redis)
            try await LimitNode.run([node]) {
                #expect(await node.takes(.sample(count: 100, cost: 100)))
                let lowered = Charge(key: Charge.sample().key, rate: Rate(count: 1, per: .milliseconds(200)))
                let isFree = try await eventually { await node.takes(lowered) }
                #expect(isFree)
                #expect(await !node.takes(lowered))
            }
        }
    }

    @Test func `scripts that Redis has forgotten are told again`() async throws {
        try await TestRedis.with { redis in
            let nodes = [try LimitNode(redis), try LimitNode(redis)]
            try await LimitNode.run(nodes) {
                let control = try await redis.connect()
                var taken = 0
                for turn in 0..<12 {
                    _ = try await control.send([RedisCommand("SCRIPT", "FLUSH")], within: .seconds(5))
                    if await nodes[turn % 2].takes(.sample(count: 5)) { taken += 1 }
                }
                #expect(taken == 5)
            }
        }
    }

    @Test(arguments: [["--rename-command", "EVALSHA", ""], ["--maxmemory", "1"]])
    func `a Redis that refuses leaves it to the node, and is told of once`(_ options: [String]) async throws {
        let log = Warnings()
        try await TestRedis.with(options) { redis in
            let node = try LimitNode(redis, logger: log.logger)
            try await LimitNode.run([node]) {
                #expect(await taken(20, by: [node], .sample(count: 5)) == 5)
                // Asked once, with its text where the digest was not known, and then left alone.
                let control = try await redis.connect()
                let errors = try await control.send([RedisCommand("INFO", "stats")], within: .seconds(5))[0].text ?? ""
                let count = try #require(errors.firstMatch(of: /total_error_replies:(\d+)/).flatMap { Int($0.1) })
                #expect((1...4).contains(count))
                try await Task.sleep(for: .milliseconds(1100))
                #expect(await taken(20, by: [node], .sample(count: 5)) == 0)
            }
        }
        #expect(log.messages.count == 1)
    }

    @Test func `a caller that is called off does not cut the others' connection`() async throws {
        try await TestRedis.with { redis in
            let node = try LimitNode(redis)
            try await LimitNode.run([node]) {
                for _ in 0..<50 {
                    let caller = Task { await node.takes(.sample(count: 1000)) }
                    await Task.yield()
                    caller.cancel()
                    #expect(await node.takes(.sample(of: "another", count: 1000)))
                    _ = await caller.value
                }
                let control = try await redis.connect()
                #expect(node.client?.isConnected == true)
                let stats = try await control.send([RedisCommand("INFO", "stats")], within: .seconds(5))[0].text ?? ""
                // One that asked whether it had started, the node's, and this one.
                #expect(stats.contains("total_connections_received:3\r\n"))
            }
        }
    }

    @Test func `Redis sees no subject, keeps nothing forever, and finds all keys in one slot`() async throws {
        try await TestRedis.with { redis in
            let node = try LimitNode(redis)
            try await LimitNode.run([node]) {
                #expect(await node.takes(.sample(of: "203.0.113.7"), .sample(.addressMessages, of: "guest-secret")))
                #expect(
                    await node.streams.enter([StreamClaim(LimitKey(.addressStreams, of: "203.0.113.7"), limit: 5)])
                        != nil)
                let control = try await redis.connect()
                let keys = try await control.send([RedisCommand("KEYS", "*")], within: .seconds(5))[0].array ?? []
                #expect(keys.count == 3)
                for key in keys.compactMap(\.text) {
                    #expect(key.wholeMatch(of: /replyx:\{limit\}:(rate|streams):[0-9a-f]{32}/) != nil)
                    let left = try await control.send([RedisCommand("PTTL", key)], within: .seconds(5))[0].integer ?? 0
                    #expect((1...86_400_000).contains(left))
                }
            }
        }
    }
}
