import Domain
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Realtime

/// Two nodes' hubs joined by a real Redis; PostgreSQL's part is played by a log in memory.
@Suite(.serialized) struct BusTests {
    /// A node as far as the bus goes.
    struct TestNode: Sendable {
        let hub: EventHub
        let bus: Bus
        let log: MemoryLog

        func open(_ stream: StreamKey, from cursor: String?) async throws -> TestClient {
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let client = try await TestClient.seated(on: loop, in: stream)
            await StreamOpener(hub: hub, log: log, logger: .silent).open(
                stream, requested: cursor, seat: client.seat, on: loop)
            return client
        }

        /// A commit on this node.
        func commit() -> StreamEvent {
            let event = log.append()
            Broadcast(hub: hub, bus: bus).ingest([event])
            return event
        }

        func isHealthy(_ wanted: Bool = true) async throws -> Bool {
            try await eventually { bus.status.isHealthy == wanted }
        }
    }

    private let account = StreamKey.account(Identifier(1))
    private let log = MemoryLog()

    private func node(_ redis: TestRedis, log identity: String = "db") throws -> TestNode {
        let hub = EventHub(loops: MultiThreadedEventLoopGroup.singleton, settings: StreamSettings())
        let bus = Bus(
            try RedisServer(redis.url), log: identity, hub: hub, loops: MultiThreadedEventLoopGroup.singleton,
            logger: .silent)
        return TestNode(hub: hub, bus: bus, log: log)
    }

    /// Runs the nodes' buses, and their auditors where a test needs them, until the body is done.
    private func run(_ nodes: [TestNode], audited: Bool = false, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes {
                group.addTask { try await node.bus.run() }
                if audited {
                    group.addTask {
                        try await Auditor(
                            hub: node.hub, log: node.log, busDelivers: { node.bus.status.isHealthy }, logger: .silent
                        ).run()
                    }
                }
            }
            do {
                for node in nodes { #expect(try await node.isHealthy()) }
                try await body()
            } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
        }
    }

    @Test func `what one node commits the other's clients get, in order and once`() async throws {
        try await TestRedis.with { redis in
            let (one, two) = (try node(redis), try node(redis))
            try await run([one, two]) {
                let client = try await two.open(account, from: nil)
                try await client.waitUntil { !$0.isEmpty }
                for _ in 0..<500 { _ = one.commit() }
                try await client.waitUntil { $0.last?.id == "1-500" }
                let numbers = try await client.numbers()
                #expect(numbers == Array(1...500))
                Broadcast(hub: one.hub, bus: one.bus).show(.typing())
                try await client.waitUntil { $0.contains { $0.data.contains("typing_start") } }
                #expect(log.pages == 0)
            }
        }
    }

    @Test func `swapped by two nodes and repeated fifty times they are seen once and in order`() async throws {
        try await TestRedis.with { redis in
            let nodes = [try node(redis), try node(redis), try node(redis)]
            try await run(nodes) {
                let client = try await nodes[2].open(account, from: nil)
                try await client.waitUntil { !$0.isEmpty }
                let events = (0..<200).map { _ in log.append() }
                for (index, event) in events.enumerated().reversed() { nodes[index % 2].bus.publish([event]) }
                for _ in 0..<50 { nodes[0].bus.publish([events[100]]) }
                try await client.waitUntil { $0.last?.id == "1-200" }
                let numbers = try await client.numbers()
                #expect(numbers == Array(1...200))
            }
        }
    }

    @Test func `a node that starts replays the last minutes without asking for them`() async throws {
        try await TestRedis.with { redis in
            let one = try node(redis)
            try await run([one]) {
                for _ in 0..<300 { _ = one.commit() }
                let fresh = try node(redis)
                try await run([fresh]) {
                    let client = try await fresh.open(account, from: "1-10")
                    try await client.waitUntil { $0.last?.name == "hb" }
                    let numbers = try await client.numbers()
                    #expect(numbers == Array(11...300))
                    #expect(log.pages == 0)
                }
            }
        }
    }

    @Test func `another database's events are never shown`() async throws {
        try await TestRedis.with { redis in
            let (ours, theirs) = (try node(redis), try node(redis, log: "another"))
            try await run([ours, theirs]) {
                let client = try await ours.open(account, from: nil)
                try await client.waitUntil { !$0.isEmpty }
                theirs.bus.publish([.sample(1, payload: #"{"text":"theirs"}"#)])
                Broadcast(hub: theirs.hub, bus: theirs.bus).show(.typing())
                ours.hub.ingest([log.append()])
                try await Task.sleep(for: .milliseconds(300))
                let text = try await client.events().map(\.data).joined()
                #expect(!text.contains("theirs") && !text.contains("typing"))
            }
        }
    }

    @Test func `a stopped Redis is noticed, made up for by the log, and believed again when it is back`() async throws {
        try await TestRedis.with { redis in
            let (one, two) = (try node(redis), try node(redis))
            try await run([one, two], audited: true) {
                let client = try await two.open(account, from: nil)
                try await client.waitUntil { !$0.isEmpty }
                redis.stop()
                #expect(try await two.isHealthy(false))
                for _ in 0..<20 { _ = one.commit() }
                try await client.waitUntil { $0.last?.id == "1-20" }
                #expect(try await redis.start())
                for node in [one, two] { #expect(try await node.isHealthy()) }
                _ = one.commit()
                try await client.waitUntil { $0.last?.id == "1-21" }
                let numbers = try await client.numbers()
                #expect(numbers == Array(1...21))
                #expect(try await !client.isFinished())
            }
        }
    }

    /// The reader comes back later than the publisher, or the other way round; neither may keep the other from it.
    @Test func `after each of several longer absences it is well again soon`() async throws {
        try await TestRedis.with { redis in
            let one = try node(redis)
            try await run([one]) {
                for _ in 0..<3 {
                    redis.stop()
                    #expect(try await one.isHealthy(false))
                    try await Task.sleep(for: .milliseconds(2500))
                    #expect(try await redis.start())
                    #expect(try await one.isHealthy())
                }
            }
        }
    }

    @Test func `a shard whose ids went back is noticed and read on from its end`() async throws {
        try await TestRedis.with { redis in
            let (one, two) = (try node(redis), try node(redis))
            try await run([one, two], audited: true) {
                let client = try await two.open(account, from: nil)
                try await client.waitUntil { !$0.isEmpty }
                // As after a failover to a Redis whose clock is behind: what comes now has lower ids than what was read.
                let admin = try await redis.connect()
                let key = BusShards.key(1)
                _ = try await admin.send(
                    [RedisCommand("XADD", key, "99999999999999-0", "k", "strange")], within: .seconds(1))
                try await Task.sleep(for: .milliseconds(200))
                _ = try await admin.send([RedisCommand("DEL", key)], within: .seconds(1))
                #expect(try await two.isHealthy(false))
                _ = one.commit()
                try await client.waitUntil { $0.last?.id == "1-1" }
                #expect(try await two.isHealthy())
                let pages = log.pages
                _ = one.commit()
                try await client.waitUntil { $0.last?.id == "1-2" }
                #expect(log.pages == pages, "by the bus again")
            }
        }
    }

    @Test func `a full Redis is cut short and used again`() async throws {
        try await TestRedis.with { redis in
            let (one, two) = (try node(redis), try node(redis))
            try await run([one, two], audited: true) {
                let client = try await two.open(account, from: nil)
                try await client.waitUntil { !$0.isEmpty }
                let admin = try await redis.connect()
                // What fills it is the bus itself; a little more than what is used now is the limit.
                let padding = String(repeating: "x", count: 4000)
                for _ in 0..<20 {
                    let entries = (0..<200).map { _ in
                        RedisCommand("XADD", BusShards.key(5), "*", "k", "filling", "p", padding)
                    }
                    _ = try await admin.send(entries, within: .seconds(5))
                }
                let info = try await admin.send([RedisCommand("INFO", "memory")], within: .seconds(1))
                let used = info[0].text?.split(separator: "\r\n").first { $0.hasPrefix("used_memory:") }
                let bytes = try #require(used.flatMap { Int($0.dropFirst(12)) })
                _ = try await admin.send(
                    [RedisCommand("CONFIG", "SET", "maxmemory", "\(bytes - 1_000_000)")], within: .seconds(1))
                #expect(try await two.isHealthy(false))
                _ = one.commit()
                try await client.waitUntil { $0.last?.id == "1-1" }
                // Nobody raises the limit: the bus makes its own room.
                for node in [one, two] { #expect(try await node.isHealthy()) }
                let length = try await admin.send(
                    [RedisCommand("XLEN", BusShards.key(5))], within: .seconds(1))[0].integer
                #expect((length ?? .max) < 2000)
                #expect(try await !client.isFinished())
            }
        }
    }
}

extension Logger {
    static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
