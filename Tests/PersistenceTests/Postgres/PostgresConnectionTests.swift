import Foundation
import Testing

@testable import Persistence

@Suite struct PostgresConnectionTests {
    static let one = Statement("test.one", "SELECT 1")

    @Test func `an error carries its code and its statement's name, but no value`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            try await connection.script("CREATE TABLE t (word text CONSTRAINT t_word UNIQUE)", name: "test.table")
            let insert = Statement("test.insert", "INSERT INTO t VALUES ($1)")
            #expect(try await connection.run(insert, "geheim").affected == 1)
            let violation = await #expect(throws: PostgresError.self) { try await connection.run(insert, "geheim") }
            #expect(violation?.kind == .server(sqlState: "23505"))
            #expect(violation?.isUniqueViolation("t_word") == true)
            #expect(violation?.isUniqueViolation("other") == false)
            #expect(violation?.statement == "test.insert")
            #expect(violation.map { "\($0)".contains("geheim") } == false)
            let cast = await #expect(throws: PostgresError.self) {
                try await connection.run(Statement("test.cast", "SELECT $1::text::bigint"), "geheim")
            }
            #expect(cast?.sqlState == "22P02")
            #expect(cast.map { "\($0)".contains("geheim") } == false)
            await connection.close()
        }
    }

    @Test func `a URL that cannot be parsed is not quoted`() async {
        let configuration = PostgresConfiguration(url: "postgres//user:geheim@host")
        let error = await #expect(throws: PostgresError.self) {
            try await PostgresConnection.connect(configuration, logger: .quiet)
        }
        #expect(error?.kind == .connectFailed)
        #expect(error.map { "\($0)".contains("geheim") } == false)
    }

    @Test func `the session's settings hold`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            try await TestDatabase.maintain("ALTER DATABASE \"\(database.name)\" SET synchronous_commit = off")
            try await TestDatabase.maintain("ALTER DATABASE \"\(database.name)\" SET statement_timeout = 0")
            let connection = try await database.connect()
            let expected = [
                "synchronous_commit": "on", "statement_timeout": "3600ms", "lock_timeout": "2s", "TimeZone": "UTC",
                "idle_in_transaction_session_timeout": "10s", "client_encoding": "UTF8",
                "client_connection_check_interval": "1s", "application_name": "replyx test",
            ]
            for (name, value) in expected {
                let rows = try await connection.run(Statement("test.setting", "SELECT current_setting($1)"), name)
                #expect(try rows[0].get(0, as: String.self) == value, "\(name)")
            }
            await connection.close()
        }
    }

    @Test func `a pipeline stops at its first error, undone as a whole, and the connection goes on`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            try await connection.script("CREATE TABLE t (n bigint)", name: "test.table")
            let insert = Statement("test.insert", "INSERT INTO t VALUES ($1) RETURNING n")
            let count = Statement("test.count", "SELECT count(*) FROM t")
            let divide = Statement("test.divide", "SELECT 1 / $1::int")
            let error = await #expect(throws: PostgresError.self) {
                try await connection.pipeline([
                    Command(insert, 1), Command(divide, 0), Command(insert, 2), Command(Self.one),
                ])
            }
            #expect(error?.kind == .server(sqlState: "22012"))
            #expect(error?.statement == "test.divide")
            #expect(try await connection.run(count)[0].get(0, as: Int.self) == 0)
            let rows = try await connection.pipeline([Command(insert, 1), Command(insert, 2), Command(count)])
            #expect(try rows.map { try $0[0].get(0, as: Int.self) } == [1, 2, 2])
            await connection.close()
        }
    }

    @Test func `a pipeline may be larger than all buffers on the way`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            let echo = Statement("test.echo", "SELECT $1::text")
            let text = String(repeating: "x", count: 20_000)
            let rows = try await connection.pipeline(Array(repeating: Command(echo, text), count: 500))
            #expect(rows.count == 500)
            #expect(try rows.allSatisfy { try $0[0].get(0, as: String.self) == text })
            await connection.close()
        }
    }

    @Test func `a statement whose result a migration changed runs at the next try`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            try await connection.script("CREATE TABLE t (n integer); INSERT INTO t VALUES (1)", name: "test.table")
            let read = Statement("test.read", "SELECT n FROM t")
            _ = try await connection.run(read)
            try await connection.script("ALTER TABLE t ALTER n TYPE text", name: "test.alter")
            await #expect(throws: PostgresError.self) { try await connection.run(read) }
            #expect(try await connection.run(read)[0].get(0, as: String.self) == "1")
            try await connection.script("DEALLOCATE ALL", name: "test.deallocate")
            await #expect(throws: PostgresError.self) { try await connection.run(read) }
            #expect(try await connection.run(read).count == 1)
            await connection.close()
        }
    }

    @Test func `a failing script is reported by its name and leaves nothing behind`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            let error = await #expect(throws: PostgresError.self) {
                try await connection.script("CREATE TABLE t (n bigint); SELECT 1/0; SELECT 2", name: "0007_broken.sql")
            }
            #expect(error?.statement == "0007_broken.sql")
            #expect(error?.sqlState == "22012")
            let rows = try await connection.run(Statement("test.find", "SELECT to_regclass('t') IS NULL"))
            #expect(try rows[0].get(0) == true)
            await connection.close()
        }
    }

    @Test func `a closed connection says so`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            await connection.close()
            let error = await #expect(throws: PostgresError.self) { try await connection.run(Self.one) }
            #expect(error?.kind == .closed)
            #expect(await !connection.isUsable)
        }
    }
}
