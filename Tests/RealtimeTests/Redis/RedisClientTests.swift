import Foundation
import Logging
import NIOCore
import Synchronization
import Testing

@testable import Realtime

@Suite struct RedisClientTests {
    private static let ping = [RedisCommand("PING")]

    /// Runs a client beside `body`, and ends it after.
    private func running(
        _ url: String, logger: Logger = Logger(label: "redis") { _ in SwiftLogNoOpLogHandler() },
        _ body: (RedisClient) async throws -> Void
    ) async throws {
        let client = RedisClient(try RedisServer(url), on: TestRedis.loop, name: "test", logger: logger)
        let run = Task { try await client.run() }
        do {
            try await body(client)
        } catch {
            run.cancel()
            throw error
        }
        run.cancel()
        try await run.value
        #expect(!client.isConnected)
    }

    private func outcome(_ client: RedisClient) async -> Result<[RedisValue], RedisFailure> {
        do throws(RedisFailure) {
            return .success(try await client.send(Self.ping, within: .seconds(5)))
        } catch {
            return .failure(error)
        }
    }

    @Test func `a server that comes back is found again`() async throws {
        let log = LogBook()
        try await TestRedis.with(["--requirepass", "hunter2"]) { redis in
            let url = "redis://:hunter2@127.0.0.1:\(redis.port)"
            try await running(url, logger: log.logger) { client in
                #expect(await outcome(client) == .failure(.away))
                for _ in 0..<2 {
                    let isBack = try await eventually { client.isConnected }
                    #expect(isBack)
                    #expect(await outcome(client) == .success([.text("PONG")]))
                    redis.stop()
                    let isAway = try await eventually { !client.isConnected }
                    #expect(isAway)
                    let began = ContinuousClock.now
                    #expect(await outcome(client) == .failure(.away))
                    #expect(began.duration(to: .now) < .seconds(2))
                    // Long enough for several tries.
                    try await Task.sleep(for: .milliseconds(400))
                    #expect(try await redis.start())
                }
                let isBack = try await eventually { client.isConnected }
                #expect(isBack)
            }
        }
        #expect(
            log.lines == [
                "notice Connected to Redis", "warning Redis is away", "notice Connected to Redis",
                "warning Redis is away", "notice Connected to Redis",
            ])
        #expect(!log.everything.contains("hunter2"))
    }

    @Test func `a connection that is killed is replaced`() async throws {
        try await TestRedis.with { redis in
            try await running(redis.url) { client in
                let isThere = try await eventually { client.isConnected }
                #expect(isThere)
                let other = try await redis.connect()
                let id = try await client.send([RedisCommand("CLIENT", "ID")], within: .seconds(5))[0].integer ?? 0
                _ = try await other.send([RedisCommand("CLIENT", "KILL", "ID", "\(id)")], within: .seconds(5))
                let isReplaced = try await eventually {
                    let now = try? await client.send([RedisCommand("CLIENT", "ID")], within: .seconds(5))[0].integer
                    return now != nil && now != id
                }
                #expect(isReplaced)
            }
        }
    }

    @Test func `a server that lets nobody in is told of once`() async throws {
        let log = LogBook()
        try await TestRedis.with(["--requirepass", "right"]) { redis in
            try await running("redis://:hunter2@127.0.0.1:\(redis.port)", logger: log.logger) { client in
                let isTold = try await eventually { !log.lines.isEmpty }
                #expect(isTold)
                // Long enough for several tries.
                try await Task.sleep(for: .milliseconds(400))
                #expect(await outcome(client) == .failure(.away))
            }
        }
        #expect(log.lines == ["warning Redis is away"])
        #expect(log.everything.contains("WRONGPASS"))
        #expect(!log.everything.contains("hunter2"))
    }

    @Test func `a client that is stopped ends at once, connected or not`() async throws {
        try await TestRedis.with { redis in
            for url in [redis.url, "redis://127.0.0.1:1"] {
                let client = RedisClient(
                    try RedisServer(url), on: TestRedis.loop, name: "test", logger: LogBook().logger)
                let run = Task { try await client.run() }
                if url == redis.url {
                    let isThere = try await eventually { client.isConnected }
                    #expect(isThere)
                }
                let began = ContinuousClock.now
                run.cancel()
                try await run.value
                #expect(began.duration(to: .now) < .seconds(5))
                #expect(!client.isConnected)
            }
        }
    }
}

/// Keeps what is logged.
private final class LogBook: Sendable {
    private let entries = Mutex<[(line: String, metadata: String)]>([])

    var lines: [String] { entries.withLock { $0.map(\.line) } }
    var everything: String { entries.withLock { "\($0)" } }

    var logger: Logger {
        Logger(label: "redis") { _ in Handler(book: self) }
    }

    private struct Handler: LogHandler {
        let book: LogBook
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = metadata.merging(event.metadata ?? [:]) { $1 }
            book.entries.withLock { $0.append(("\(event.level) \(event.message)", "\(metadata)")) }
        }
    }
}
