import Synchronization
import Testing

@testable import Persistence

@Suite struct TransactionTests {
    private static let insert = Statement("test.insert", "INSERT INTO t VALUES ($1)")
    private static let count = Statement("test.count", "SELECT count(*) FROM t")

    private struct Refusal: Error {}

    private func withTable(_ body: (TestDatabase, PostgresConnection) async throws -> Void) async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            try await connection.script(
                "CREATE TABLE t (n bigint CONSTRAINT t_n UNIQUE DEFERRABLE INITIALLY DEFERRED)", name: "test.table")
            try await body(database, connection)
            await connection.close()
        }
    }

    private func rows(_ connection: PostgresConnection) async throws -> Int {
        try await connection.run(Self.count)[0].get(0)
    }

    @Test func `what returns is committed, what throws is rolled back`() async throws {
        try await withTable { _, connection in
            try await connection.perform { connection in
                try connection.transaction { connection in _ = try connection.run(Self.insert, 1) }
            }
            #expect(try await rows(connection) == 1)
            await #expect(throws: Refusal.self) {
                try await connection.perform { connection in
                    try connection.transaction { connection in
                        _ = try connection.run(Self.insert, 2)
                        throw Refusal()
                    }
                }
            }
            #expect(await !connection.isInTransaction)
            #expect(try await rows(connection) == 1)
        }
    }

    @Test func `a transaction that runs nothing asks the server nothing`() async throws {
        try await withTable { _, connection in
            await connection.close()
            let result = try await connection.perform { connection in try connection.transaction { _ in 7 } }
            #expect(result == 7)
        }
    }

    @Test func `an error that the body swallowed still keeps it from committing`() async throws {
        try await withTable { _, connection in
            let error = await #expect(throws: PostgresError.self) {
                try await connection.perform { connection in
                    try connection.transaction { connection in
                        _ = try connection.run(Self.insert, 1)
                        _ = try? connection.run(Statement("test.wrong", "SELECT 1 / 0"))
                    }
                }
            }
            #expect(error?.sqlState == "25P02")
            let rows = try await rows(connection)
            #expect(rows == 0)
        }
    }

    @Test func `a COMMIT that the server refuses has a known outcome`() async throws {
        try await withTable { _, connection in
            let error = await #expect(throws: PostgresError.self) {
                try await connection.perform { connection in
                    try connection.transaction { connection in
                        _ = try connection.pipeline([Command(Self.insert, 1), Command(Self.insert, 1)])
                    }
                }
            }
            #expect(error?.isUniqueViolation("t_n") == true)
            #expect(error?.isOutcomeUnknown == false)
            let rows = try await rows(connection)
            #expect(rows == 0)
        }
    }

    @Test func `a connection lost in COMMIT leaves the outcome unknown`() async throws {
        try await withTable { _, connection in
            try await connection.script(
                """
                CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER t_die AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION die()
                """, name: "test.trigger")
            let error = await #expect(throws: PostgresError.self) {
                try await connection.perform { connection in
                    try connection.transaction { connection in _ = try connection.run(Self.insert, 1) }
                }
            }
            #expect(error?.kind == .connectionLost)
            #expect(error?.isOutcomeUnknown == true)
        }
    }

    @Test func `a snapshot sees one moment and writes nothing`() async throws {
        try await withTable { database, connection in
            let other = try await database.connect()
            let pool = database.pool(size: 1)
            let task = Task {
                try await pool.transaction(.snapshot) { connection -> [Int] in
                    let before = try connection.run(Self.count)[0].get(0, as: Int.self)
                    _ = try connection.run(Statement("test.meet", "SELECT pg_advisory_lock_shared(1), pg_sleep(0.3)"))
                    return try [before, connection.run(Self.count)[0].get(0, as: Int.self)]
                }
            }
            try await other.waitUntilSomeoneLocks()
            _ = try await other.run(Self.insert, 1)
            #expect(try await task.value == [0, 0])
            let error = await #expect(throws: PostgresError.self) {
                try await pool.transaction(.snapshot) { connection in _ = try connection.run(Self.insert, 2) }
            }
            #expect(error?.sqlState == "25006")
            await pool.shutdown()
            await other.close()
        }
    }

    @Test func `a serialization failure runs the whole transaction again, three times at most`() async throws {
        try await withTable { database, connection in
            let pool = database.pool(size: 1)
            let fail = Statement(
                "test.fail", "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END $$")
            let attempts = Mutex(0)
            try await pool.transaction { connection in
                _ = try connection.run(Self.insert, 1)
                let attempt = attempts.withLock { attempts in
                    attempts += 1
                    return attempts
                }
                if attempt < 3 { _ = try connection.run(fail) }
            }
            #expect(attempts.withLock { $0 } == 3)
            #expect(try await rows(connection) == 1)
            attempts.withLock { $0 = 0 }
            let error = await #expect(throws: PostgresError.self) {
                try await pool.transaction { connection in
                    attempts.withLock { $0 += 1 }
                    _ = try connection.run(fail)
                }
            }
            #expect(error?.isSerializationFailure == true)
            #expect(error?.isUnavailable == true)
            #expect(attempts.withLock { $0 } == 3)
            await pool.shutdown()
        }
    }

    @Test func `two transactions that deadlock both get through`() async throws {
        try await withTable { database, connection in
            _ = try await connection.pipeline([Command(Self.insert, 1), Command(Self.insert, 2)])
            let pool = database.pool(size: 2)
            let lock = Statement("test.lock", "SELECT n FROM t WHERE n = $1 FOR UPDATE")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for order in [[1, 2], [2, 1]] {
                    group.addTask {
                        try await pool.transaction { connection in
                            _ = try connection.run(lock, order[0])
                            _ = try connection.run(Statement("test.sleep", "SELECT pg_sleep(0.2)"))
                            _ = try connection.run(lock, order[1])
                        }
                    }
                }
                try await group.waitForAll()
            }
            await pool.shutdown()
        }
    }
}
