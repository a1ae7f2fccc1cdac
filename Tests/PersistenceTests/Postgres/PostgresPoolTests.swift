import Foundation
import Synchronization
import Testing

@testable import Persistence

@Suite struct PostgresPoolTests {
    private static let sleep = Statement("test.sleep", "SELECT pg_sleep($1)")

    @Test func `a call finds no connection free and fails after its bounded wait`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 1, acquireTimeout: .milliseconds(200))
            let watcher = try await database.connect()
            let holder = Task { try await pool.perform { connection in try connection.run(Self.sleep, 10).affected } }
            try await watcher.waitUntilSomeoneSleeps()
            let begin = ContinuousClock.now
            let error = await #expect(throws: PostgresError.self) { try await pool.perform { _ in } }
            #expect(error?.kind == .poolExhausted)
            #expect(error?.isUnavailable == true)
            #expect((.milliseconds(200) ... .milliseconds(1800)).contains(.now - begin))
            holder.cancel()
            _ = await holder.result
            try await pool.perform { connection in _ = try connection.run(PostgresConnectionTests.one) }
            await watcher.close()
            await pool.shutdown()
        }
    }

    @Test func `many callers share a few connections`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 2, acquireTimeout: .seconds(5))
            let backends = try await withThrowingTaskGroup(of: Int32.self) { group in
                for _ in 0..<200 {
                    group.addTask { try await pool.perform { try $0.run(.backend)[0].get(0) } }
                }
                return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
            }
            #expect(backends.count <= 2)
            await pool.shutdown()
        }
    }

    @Test func `a cancelled caller leaves the queue`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 1, acquireTimeout: .seconds(5))
            let watcher = try await database.connect()
            let holder = Task { try await pool.perform { connection in try connection.run(Self.sleep, 0.5).affected } }
            try await watcher.waitUntilSomeoneSleeps()
            let waiting = Task { try await pool.perform { _ in } }
            waiting.cancel()
            let error = await #expect(throws: PostgresError.self) { try await waiting.value }
            #expect(error?.kind == .cancelled)
            _ = try await holder.value
            await watcher.close()
            await pool.shutdown()
        }
    }

    @Test func `cancelling a caller ends its statement and keeps the connection`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 1)
            let watcher = try await database.connect()
            let before = try await pool.perform { try $0.run(.backend)[0].get(0, as: Int32.self) }
            let task = Task { try await pool.perform { connection in try connection.run(Self.sleep, 10).affected } }
            try await watcher.waitUntilSomeoneSleeps()
            task.cancel()
            let error = await #expect(throws: PostgresError.self) { try await task.value }
            #expect(error?.kind == .cancelled)
            #expect(try await pool.perform { try $0.run(.backend)[0].get(0, as: Int32.self) } == before)
            await watcher.close()
            await pool.shutdown()
        }
    }

    @Test func `a terminated backend fails its statement, and the pool recovers`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 1)
            let error = await #expect(throws: PostgresError.self) {
                try await pool.perform { connection in
                    _ = try connection.run(Statement("test.die", "SELECT pg_terminate_backend(pg_backend_pid())"))
                }
            }
            #expect(error?.kind == .connectionLost)
            #expect(error?.isConnectionFailure == true)
            let count = try await pool.perform { try $0.run(PostgresConnectionTests.one).count }
            #expect(count == 1)
            await pool.shutdown()
        }
    }

    @Test func `a backend terminated while idle is noticed before its connection is used`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 2)
            let watcher = try await database.connect()
            let process = try await pool.perform { try $0.run(.backend)[0].get(0, as: Int32.self) }
            _ = try await watcher.run(Statement("test.kill", "SELECT pg_terminate_backend($1)"), process)
            try await watcher.waitUntil("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = \(process)")
            #expect(try await pool.perform { try $0.run(PostgresConnectionTests.one).count } == 1)
            await watcher.close()
            await pool.shutdown()
        }
    }

    @Test func `a connection left in a transaction is not given to the next caller`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 1)
            let before = try await pool.perform { connection in
                try connection.script("BEGIN", name: "test.begin")
                return try connection.run(.backend)[0].get(0, as: Int32.self)
            }
            #expect(try await pool.perform { try $0.run(.backend)[0].get(0, as: Int32.self) } != before)
            await pool.shutdown()
        }
    }

    @Test func `while the server is away callers fail fast, and nothing storms it`() async throws {
        let hole = try BlackHole()
        var configuration = PostgresConfiguration(url: "postgresql://u@127.0.0.1:\(hole.port)/d")
        configuration.connectTimeout = .milliseconds(200)
        let pool = PostgresPool(configuration, size: 4, logger: .quiet)
        await #expect(throws: PostgresError.self) { try await pool.perform { _ in } }
        let begin = ContinuousClock.now
        for _ in 0..<20 {
            let error = await #expect(throws: PostgresError.self) { try await pool.perform { _ in } }
            #expect(error?.kind == .connectFailed)
            #expect(error?.isUnavailable == true)
        }
        #expect(.now - begin < .seconds(2))
        await pool.shutdown()
    }

    @Test func `the pool comes back when the server does`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 2)
            try await TestDatabase.maintain("ALTER DATABASE \"\(database.name)\" ALLOW_CONNECTIONS false")
            for _ in 0..<5 {
                let error = await #expect(throws: PostgresError.self) { try await pool.perform { _ in } }
                #expect(error?.kind == .connectFailed)
            }
            try await TestDatabase.maintain("ALTER DATABASE \"\(database.name)\" ALLOW_CONNECTIONS true")
            let deadline = ContinuousClock.now + .seconds(5)
            while (try? await pool.perform({ try $0.run(PostgresConnectionTests.one).count })) == nil {
                try #require(.now < deadline)
                try await Task.sleep(for: .milliseconds(20))
            }
            await pool.shutdown()
        }
    }

    @Test func `every new connection is set up first, and is not used when that fails`() async throws {
        let set = Statement("test.set", "SELECT set_config('replyx.seen', 'yes', false)")
        let get = Statement("test.get", "SELECT current_setting('replyx.seen')")
        try await TestDatabase.with(migrated: false) { database in
            let pool = PostgresPool(
                database.configuration, size: 1, onConnect: { _ = try $0.run(set) }, logger: .quiet)
            let seen = try await pool.perform { connection in try connection.run(get)[0].get(0, as: String.self) }
            #expect(seen == "yes")
            await pool.shutdown()
            let refusing = PostgresPool(
                database.configuration, size: 1,
                onConnect: { _ = try $0.run(Statement("test.refuse", "SELECT 1 / 0")) }, logger: .quiet)
            await #expect(throws: PostgresError.self) { try await refusing.perform { _ in } }
            await refusing.shutdown()
        }
    }

    @Test func `a pool that was shut down refuses callers, also those who wait`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(size: 1)
            let watcher = try await database.connect()
            let holder = Task { try await pool.perform { connection in try connection.run(Self.sleep, 0.3).affected } }
            try await watcher.waitUntilSomeoneSleeps()
            let waiting = Task { try await pool.perform { _ in } }
            await pool.shutdown()
            let error = await #expect(throws: PostgresError.self) { try await waiting.value }
            #expect(error?.kind == .closed)
            #expect(try await holder.value == 1)
            let late = await #expect(throws: PostgresError.self) { try await pool.perform { _ in } }
            #expect(late?.kind == .closed)
            try await watcher.waitUntil(
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND state IS NOT NULL")
            await watcher.close()
        }
    }
}
