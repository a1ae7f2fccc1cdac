import Foundation
import Testing

@testable import Persistence

/// Nothing waits longer than it was allowed to, whatever the server does.
@Suite struct DeadlineTests {
    private static let sleep = Statement("test.sleep", "SELECT pg_sleep($1)")

    /// Stops the backend of a connection while `body` runs. Needs root or the server's user.
    private func stopped(
        _ connection: PostgresConnection, _ body: () async throws -> Void
    ) async throws {
        let process = try await connection.run(.backend)[0].get(0, as: Int32.self)
        try #require(kill(process, SIGSTOP) == 0, "tests have to run as root or as the server's user")
        defer { kill(process, SIGCONT) }
        try await body()
    }

    @Test func `a stopped backend costs no more than the deadline`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            try await stopped(connection) {
                let begin = ContinuousClock.now
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.run(Command(PostgresConnectionTests.one), deadline: begin + .milliseconds(300))
                }
                #expect(error?.kind == .timedOut)
                #expect(error?.isUnavailable == true)
                #expect((.milliseconds(300) ... .seconds(2)).contains(.now - begin))
                #expect(await !connection.isUsable)
            }
        }
    }

    @Test func `a COMMIT without an answer leaves the outcome unknown`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            var configuration = database.configuration
            configuration.statementTimeout = .milliseconds(400)
            let connection = try await PostgresConnection.connect(configuration, logger: .quiet)
            let process = try await connection.run(.backend)[0].get(0, as: Int32.self)
            let error = await #expect(throws: PostgresError.self) {
                try await connection.perform { connection in
                    try connection.transaction { connection in
                        _ = try connection.run(PostgresConnectionTests.one)
                        kill(process, SIGSTOP)
                    }
                }
            }
            kill(process, SIGCONT)
            #expect(error?.kind == .timedOut)
            #expect(error?.isOutcomeUnknown == true)
        }
    }

    @Test func `the server's time-out comes first, and the connection survives it`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            var configuration = database.configuration
            configuration.statementTimeout = .seconds(1)
            let connection = try await PostgresConnection.connect(configuration, logger: .quiet)
            let error = await #expect(throws: PostgresError.self) { try await connection.run(Self.sleep, 10) }
            #expect(error?.kind == .timedOut)
            #expect(error?.isOutcomeUnknown == false)
            #expect(try await connection.run(PostgresConnectionTests.one).count == 1)
            await connection.close()
        }
    }

    @Test func `a host that does not answer costs no more than the connect time-out`() async throws {
        let hole = try BlackHole()
        var configuration = PostgresConfiguration(url: "postgresql://u@127.0.0.1:\(hole.port)/d")
        configuration.connectTimeout = .milliseconds(300)
        let begin = ContinuousClock.now
        let error = await #expect(throws: PostgresError.self) {
            try await PostgresConnection.connect(configuration, logger: .quiet)
        }
        #expect(error?.kind == .connectFailed)
        #expect((.milliseconds(300) ... .seconds(2)).contains(.now - begin))
    }

    @Test func `the next host of the URL is tried when one does not answer`() async throws {
        let hole = try BlackHole()
        let server = try #require(URLComponents(string: try TestDatabase.serverURL))
        // A socket's directory stands in the query.
        func given(_ name: String) -> String? { server.queryItems?.first { $0.name == name }?.value }
        let host = given("host") ?? server.host ?? "127.0.0.1"
        let port = given("port") ?? "\(server.port ?? 5432)"
        var configuration = PostgresConfiguration(
            url: """
                host=127.0.0.1,\(host) port=\(hole.port),\(port) dbname=postgres \
                user=\(server.user ?? "postgres") password='\(server.password ?? "")'
                """)
        configuration.connectTimeout = .seconds(1)
        let connection = try await PostgresConnection.connect(configuration, logger: .quiet)
        #expect(await connection.isUsable)
        await connection.close()
    }

    @Test func `a cancelled task's statement ends, and the connection goes on`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            let watcher = try await database.connect()
            let task = Task {
                try await connection.perform { connection in try connection.run(Self.sleep, 10).affected }
            }
            try await watcher.waitUntilSomeoneSleeps()
            let begin = ContinuousClock.now
            task.cancel()
            let error = await #expect(throws: PostgresError.self) { try await task.value }
            #expect(error?.kind == .cancelled)
            #expect(.now - begin < .seconds(3))
            #expect(try await connection.run(PostgresConnectionTests.one).count == 1)
            await connection.close()
            await watcher.close()
        }
    }

    @Test func `a cancelled transaction is rolled back`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            let watcher = try await database.connect()
            try await watcher.script("CREATE TABLE t (n bigint)", name: "test.table")
            let task = Task {
                try await connection.perform { connection in
                    try connection.transaction { connection in
                        _ = try connection.run(Statement("test.insert", "INSERT INTO t VALUES (1)"))
                        _ = try connection.run(Self.sleep, 10)
                    }
                }
            }
            try await watcher.waitUntilSomeoneSleeps()
            task.cancel()
            let error = await #expect(throws: PostgresError.self) { try await task.value }
            #expect(error?.kind == .cancelled)
            #expect(await connection.isUsable)
            #expect(await !connection.isInTransaction)
            let rows = try await connection.run(Statement("test.count", "SELECT count(*) FROM t"))
            #expect(try rows[0].get(0) == 0)
            await connection.close()
            await watcher.close()
        }
    }

    @Test func `a cancelled task does not wait for a backend that is stopped`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            try await stopped(connection) {
                let task = Task {
                    try await connection.perform { connection in
                        try connection.run(PostgresConnectionTests.one).affected
                    }
                }
                task.cancel()
                let begin = ContinuousClock.now
                let error = await #expect(throws: PostgresError.self) { try await task.value }
                #expect(error?.kind == .cancelled)
                #expect(.now - begin < .seconds(3))
            }
        }
    }
}

extension Statement {
    static let backend = Statement("test.backend", "SELECT pg_backend_pid()")
}

extension PostgresConnection {
    /// Until `pg_sleep` runs in this database.
    func waitUntilSomeoneSleeps() async throws {
        try await waitUntil(
            """
            SELECT count(*) = 1 FROM pg_stat_activity
            WHERE query ~ '^SELECT pg_sleep' AND state = 'active' AND datname = current_database()
            """)
    }

    /// Until somebody holds an advisory lock in this database.
    func waitUntilSomeoneLocks() async throws {
        try await waitUntil(
            """
            SELECT count(*) = 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE locktype = 'advisory' AND datname = current_database()
            """)
    }

    /// Asks until the answer is true, for 5 s at most.
    func waitUntil(_ question: String) async throws {
        let deadline = ContinuousClock.now + .seconds(5)
        let statement = Statement("test.question \(question.hashValue)", question)
        while try !run(statement)[0].get(0, as: Bool.self) {
            try #require(.now < deadline, "never true: \(question)")
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}

/// A port that takes connections and never answers.
final class BlackHole: Sendable {
    private let descriptor: Int32
    let port: UInt16

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let isBound = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, address, &length) == 0
            }
        }
        try #require(isBound)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit {
        Foundation.close(descriptor)
    }
}
