import Domain
import NIOCore
import Testing

@testable import Realtime

@Suite(.serialized) struct StreamCountsTests {
    private static let claim = StreamClaim(LimitKey(.visitorStreams, of: "visitor"), limit: 5)

    private func claims(_ visitor: String, _ limit: Int = 5, address: Int = 8) -> [StreamClaim] {
        [
            StreamClaim(LimitKey(.visitorStreams, of: visitor), limit: limit),
            StreamClaim(LimitKey(.addressStreams, of: "address"), limit: address),
        ]
    }

    /// Short enough for a test: a place counts for `milliseconds` and is renewed four times in it.
    private func timing(_ milliseconds: Int) -> StreamCounts.Timing {
        var timing = StreamCounts.Timing()
        timing.validity = .milliseconds(milliseconds)
        timing.renewal = .milliseconds(milliseconds / 4)
        return timing
    }

    private func enter(_ count: Int, _ nodes: [LimitNode], _ claims: [StreamClaim]) async -> [StreamPlace] {
        var places: [StreamPlace] = []
        for turn in 0..<count {
            if let place = await nodes[turn % nodes.count].streams.enter(claims) { places.append(place) }
        }
        return places
    }

    // MARK: What Redis and a node by itself do alike

    @Test(arguments: Decider.allCases)
    func `so many are open and no more; who leaves makes room at once`(_ decider: Decider) async throws {
        try await decider.run { node in
            let places = await enter(10, [node], [Self.claim])
            #expect(places.count == 5)
            node.streams.leave(places[0])
            // A second time it is not given up again.
            node.streams.leave(places[0])
            var entered = 0
            let hasRoom = try await eventually {
                entered += await enter(1, [node], [Self.claim]).count
                return entered > 0
            }
            #expect(hasRoom)
            #expect(await enter(3, [node], [Self.claim]).isEmpty)
            #expect(node.streams.count == 5)
        }
    }

    @Test(arguments: Decider.allCases)
    func `a place is taken under all claims or under none`(_ decider: Decider) async throws {
        try await decider.run { node in
            #expect(await enter(50, [node], claims("flooder")).count == 5)
            let neighbours = await enter(10, [node], claims("neighbour"))
            #expect(neighbours.count == 3)
            #expect(await enter(1, [node], claims("third")).isEmpty)
            for place in neighbours { node.streams.leave(place) }
            let hasRoom = try await eventually { await enter(1, [node], claims("third", 1)).count == 1 }
            #expect(hasRoom)
        }
    }

    @Test(arguments: Decider.allCases)
    func `of a thousand at once five are let in`(_ decider: Decider) async throws {
        try await decider.run { node in
            let entered = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<1000 { group.addTask { await node.streams.enter([Self.claim]) != nil } }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(entered == 5)
        }
    }

    @Test(arguments: Decider.allCases)
    func `an event loop leaves without waiting`(_ decider: Decider) async throws {
        try await decider.run { node in
            let places = await enter(5, [node], [Self.claim])
            try await TestRedis.loop.submit { for place in places { node.streams.leave(place) } }.get()
            #expect(node.streams.count == 0)
            var entered = 0
            let isFree = try await eventually {
                entered += await enter(5, [node], [Self.claim]).count
                return entered >= 5
            }
            #expect(isFree)
        }
    }

    // MARK: Several nodes

    @Test func `two nodes count together, and what one leaves the other may take`() async throws {
        try await TestRedis.with { redis in
            let nodes = [try LimitNode(redis), try LimitNode(redis)]
            try await LimitNode.run(nodes) {
                let places = await enter(10, nodes, [Self.claim])
                #expect(places.count == 5)
                #expect(nodes.map(\.streams.count).sorted() == [2, 3])
                nodes[0].streams.leave(places[0])
                let hasRoom = try await eventually { await enter(1, [nodes[1]], [Self.claim]).count == 1 }
                #expect(hasRoom)
                #expect(await enter(4, nodes, [Self.claim]).isEmpty)
            }
        }
    }

    @Test func `a node that lives keeps its places beyond their validity, one that died frees them`() async throws {
        try await TestRedis.with { redis in
            let timing = timing(800)
            let (living, dying) = (try LimitNode(redis, timing: timing), try LimitNode(redis, timing: timing))
            let life = Task { try await dying.run() }
            try await dying.isConnected()
            try await LimitNode.run([living]) {
                #expect(await enter(2, [living], [Self.claim]).count == 2)
                #expect(await enter(10, [dying], [Self.claim]).count == 3)
                // Three times their validity.
                for _ in 0..<24 {
                    try await Task.sleep(for: .milliseconds(100))
                    #expect(await enter(1, [living], [Self.claim]).isEmpty)
                }
                life.cancel()
                _ = await life.result
                #expect(await enter(1, [living], [Self.claim]).isEmpty)
                try await Task.sleep(for: .milliseconds(1000))
                #expect(await enter(10, [living], [Self.claim]).count == 3)
            }
        }
    }

    @Test func `a node that stops tells what was left`() async throws {
        try await TestRedis.with { redis in
            // Nothing is told before the end: the first look is a minute away.
            let (staying, stopping) = (try LimitNode(redis), try LimitNode(redis))
            let counting = Task { try await stopping.streams.run() }
            let connected = Task { try await stopping.client?.run() }
            try await stopping.isConnected()
            try await LimitNode.run([staying]) {
                let places = await enter(5, [stopping], [Self.claim])
                #expect(await enter(1, [staying], [Self.claim]).isEmpty)
                counting.cancel()
                for place in places { stopping.streams.leave(place) }
                _ = await counting.result
                #expect(await enter(10, [staying], [Self.claim]).count == 5)
            }
            connected.cancel()
            _ = await connected.result
        }
    }

    @Test func `a killed Redis closes nothing; each node counts its own, and all are known when it is back`()
        async throws
    {
        try await TestRedis.with { redis in
            // The next renewal by itself would come too late.
            let timing = timing(60_000)
            let nodes = [try LimitNode(redis, timing: timing), try LimitNode(redis, timing: timing)]
            try await LimitNode.run(nodes) {
                #expect(await enter(4, [nodes[0]], [Self.claim]).count == 4)
                redis.stop()
                let began = ContinuousClock.now
                #expect(await enter(10, [nodes[0]], [Self.claim]).count == 1)
                let others = await enter(10, [nodes[1]], [Self.claim])
                #expect(others.count == 5)
                #expect(began.duration(to: .now) < .seconds(2))
                for place in others { nodes[1].streams.leave(place) }
                #expect(try await redis.start())
                try await nodes[1].isConnected()
                // It came back empty, and learns from the first node of its five.
                var places: [StreamPlace] = []
                let isKnown = try await eventually {
                    for place in places { nodes[1].streams.leave(place) }
                    places = await enter(1, [nodes[1]], [Self.claim])
                    return places.isEmpty
                }
                #expect(isKnown)
            }
        }
    }

    @Test func `a flushed Redis learns of all places again, however many`() async throws {
        try await TestRedis.with { redis in
            let node = try LimitNode(redis, timing: timing(4000))
            try await LimitNode.run([node]) {
                let all = (0..<700).map { claims("visitor \($0)", address: 10_000) }
                var places: [StreamPlace] = []
                for claims in all {
                    if let place = await node.streams.enter(claims) { places.append(place) }
                }
                #expect(places.count == 700)
                let control = try await redis.connect()
                _ = try await control.send([RedisCommand("FLUSHALL")], within: .seconds(5))
                let isKnown = try await eventually { try await open(control) == 1400 }
                #expect(isKnown)
                for place in places { node.streams.leave(place) }
                let isEmpty = try await eventually { try await open(control) == 0 }
                #expect(isEmpty)
            }
        }
    }

    /// How many places Redis knows, under all keys.
    private func open(_ control: RedisConnection) async throws -> Int64 {
        let keys = try await control.send([RedisCommand("KEYS", "*")], within: .seconds(5))[0].array ?? []
        let counts = try await control.send(
            keys.compactMap(\.text).map { RedisCommand("ZCARD", $0) }, within: .seconds(5))
        return counts.compactMap(\.integer).reduce(0, +)
    }
}
