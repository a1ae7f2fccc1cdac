import Foundation
import NIOCore
import Testing

@testable import Realtime

/// On a real Redis.
@Suite struct RedisConnectionTests {
    /// Waits for a minute on a list that nothing is put into.
    private static let blocking = RedisCommand("BLPOP", "nothing", "60")

    private static let ping = [RedisCommand("PING")]

    @Test func `many may send at once, and each gets its own replies in order`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in 0..<100 {
                    group.addTask {
                        for round in 0..<10 {
                            let words = (0...(sender + round) % 5).map { "\(sender) \(round) \($0)" }
                            let replies = try await connection.send(
                                words.map { RedisCommand("ECHO", $0) } + [RedisCommand("INCR", "sent")],
                                within: .seconds(5))
                            #expect(replies.dropLast() == words.map { .text($0) }[...])
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await connection.send([RedisCommand("GET", "sent")], within: .seconds(5)) == [.text("1000")])
        }
    }

    @Test func `a command that is turned down has its reply, and so have the others`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let replies = try await connection.send(
                [RedisCommand("SET", "a", "1"), RedisCommand("LPUSH", "a", "2"), RedisCommand("GET", "a")],
                within: .seconds(5))
            #expect(replies.map(\.errorCode) == [nil, "WRONGTYPE", nil])
            #expect(replies[2] == .text("1"))
            #expect(try await connection.send([], within: .zero) == [])
        }
    }

    @Test func `a stream is read as it was written`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let payload = #"{"text":"До́брый день 🙂\r\n"}"#
            let replies = try await connection.send(
                [
                    RedisCommand("XADD", "replyx:{3}:bus", "MAXLEN", "~", "10000", "1-1", "k", "event", "p", payload),
                    RedisCommand("XREAD", "COUNT", "256", "STREAMS", "replyx:{3}:bus", "0"),
                    RedisCommand("XREAD", "COUNT", "256", "STREAMS", "replyx:{3}:bus", "1-1"),
                ], within: .seconds(5))
            let entry = RedisValue.array([
                .text("1-1"), .array(["k", "event", "p", payload].map { .text($0) }),
            ])
            #expect(replies == [.text("1-1"), .array([.array([.text("replyx:{3}:bus"), .array([entry])])]), .null])
        }
    }

    @Test func `a long value goes there and back`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let value = String(repeating: "0123456789abcdef", count: 300_000)
            let replies = try await connection.send(
                [RedisCommand("SET", "long", value), RedisCommand("GET", "long")], within: .seconds(10))
            #expect(replies == [.text("OK"), .text(value)])
        }
    }

    @Test func `a late reply closes the connection, and all who wait are told`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let began = ContinuousClock.now
            async let late = outcome(connection, [Self.blocking], within: .seconds(2))
            #expect(try await redis.isAskedToBlock())
            let behind = await outcome(connection, Self.ping, within: .seconds(30))
            #expect(behind == .failure(.timedOut))
            #expect(await late == .failure(.timedOut))
            #expect(began.duration(to: .now) < .seconds(20))
            await connection.ended()
            #expect(!connection.isOpen)
            #expect(await outcome(connection, Self.ping, within: .seconds(1)) == .failure(.timedOut))
        }
    }

    @Test func `whoever waits behind a longer deadline keeps their own`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect(within: .seconds(30))
            async let patient = outcome(connection, [Self.blocking], within: .seconds(30))
            #expect(try await redis.isAskedToBlock())
            let began = ContinuousClock.now
            let behind = await outcome(connection, Self.ping, within: .milliseconds(200))
            #expect(behind == .failure(.timedOut))
            #expect(await patient == .failure(.timedOut))
            #expect(began.duration(to: .now) < .seconds(20))
        }
    }

    @Test func `a server that takes everything and does nothing is noticed at the deadline`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let other = try await redis.connect()
            _ = try await other.send([RedisCommand("CLIENT", "PAUSE", "20000", "ALL")], within: .seconds(5))
            #expect(
                await outcome(connection, Self.ping, within: .milliseconds(200)) == .failure(.timedOut))
            await #expect(throws: RedisFailure.timedOut) {
                _ = try await redis.connect(within: .milliseconds(200))
            }
        }
    }

    @Test func `a connection that the server closes fails those who wait`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let killer = try await redis.connect()
            let id = try await connection.send([RedisCommand("CLIENT", "ID")], within: .seconds(5))[0].integer ?? 0
            async let waiting = outcome(connection, [Self.blocking], within: .seconds(30))
            #expect(try await redis.isAskedToBlock())
            _ = try await killer.send([RedisCommand("CLIENT", "KILL", "ID", "\(id)")], within: .seconds(5))
            #expect(await waiting == .failure(.closed))
            await connection.ended()
            #expect(!connection.isOpen)
            #expect(killer.isOpen)
        }
    }

    @Test func `a cancelled sender closes the connection`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let sender = Task { await outcome(connection, [Self.blocking], within: .seconds(30)) }
            #expect(try await redis.isAskedToBlock())
            sender.cancel()
            #expect(await sender.value == .failure(.closed))
            await connection.ended()
            #expect(!connection.isOpen)
        }
    }

    @Test func `one that was cancelled before it sent anything does no harm`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let sender = Task {
                while !Task.isCancelled { await Task.yield() }
                return await outcome(connection, Self.ping, within: .seconds(5))
            }
            sender.cancel()
            #expect(await sender.value == .failure(.closed))
            #expect(await outcome(connection, Self.ping, within: .seconds(5)) == .success([.text("PONG")]))
        }
    }

    @Test func `too much at once is refused and harms nobody`() async throws {
        try await TestRedis.with { redis in
            let connection = try await redis.connect()
            let many = Array(repeating: RedisCommand("PING"), count: RedisHandler.commandLimit)
            async let waiting = outcome(connection, [RedisCommand("BLPOP", "list", "60")], within: .seconds(30))
            #expect(try await redis.isAskedToBlock())
            guard case .failure(.refused) = await outcome(connection, many, within: .seconds(30)) else {
                throw RedisFailure.malformed
            }
            let long = RedisCommand("ECHO", String(repeating: "a", count: RedisHandler.byteLimit))
            guard case .failure(.refused) = await outcome(connection, [long], within: .seconds(30)) else {
                throw RedisFailure.malformed
            }
            let other = try await redis.connect()
            _ = try await other.send([RedisCommand("LPUSH", "list", "a")], within: .seconds(5))
            #expect(await waiting == .success([.array([.text("list"), .text("a")])]))
        }
    }

    @Test func `a dropped connection closes`() async throws {
        try await TestRedis.with { redis in
            let watcher = try await redis.connect()
            _ = try await watcher.send([RedisCommand("CLIENT", "SETNAME", "watcher")], within: .seconds(5))
            func others() async throws -> Int {
                let list = try await watcher.send([RedisCommand("CLIENT", "LIST")], within: .seconds(5))[0].text ?? ""
                return list.components(separatedBy: "name=test").count - 1
            }
            var connection: RedisConnection? = try await redis.connect()
            #expect(connection?.isOpen == true)
            let isThere = try await eventually { try await others() == 1 }
            #expect(isThere)
            connection = nil
            let isGone = try await eventually { try await others() == 0 }
            #expect(isGone)
        }
    }
}

/// What came of a send, as a value.
func outcome(
    _ connection: RedisConnection, _ commands: [RedisCommand], within limit: Duration
) async -> Result<[RedisValue], RedisFailure> {
    do throws(RedisFailure) {
        return .success(try await connection.send(commands, within: limit))
    } catch {
        return .failure(error)
    }
}
