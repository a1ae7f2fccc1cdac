import Foundation
import Testing

@testable import Persistence

@Suite struct MigratorTests {
    /// A database of its own and an empty directory for migrations.
    private func with(_ body: (MigrationFolder) async throws -> Void) async throws {
        try await TestDatabase.with(migrated: false) { database in
            let folder = try MigrationFolder(database)
            defer { folder.remove() }
            try await body(folder)
        }
    }

    private func complaint(_ body: () async throws -> Void) async -> String {
        let error = await #expect(throws: MigrationError.self) { try await body() }
        return error?.description ?? ""
    }

    @Test func `files are applied in order and once`() async throws {
        try await with { folder in
            try folder.write("0001_table.sql", "CREATE TABLE t (n bigint); INSERT INTO t VALUES (1);")
            try folder.write("0002_more.sql", "-- with a comment\nINSERT INTO t SELECT n + 1 FROM t;")
            try folder.write("README.md", "not a migration")
            #expect(try await folder.migrator.pending() == ["0001_table.sql", "0002_more.sql"])
            #expect(try await folder.migrator.migrate() == ["0001_table.sql", "0002_more.sql"])
            #expect(try await folder.migrator.migrate() == [])
            #expect(try await folder.migrator.pending() == [])
            #expect(try await folder.count("t") == 2)
        }
    }

    @Test func `the project's own migrations apply to an empty database`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let migrator = Migrator(
                directory: TestDatabase.migrations, configuration: database.configuration, logger: .quiet)
            let applied = try await migrator.migrate()
            #expect(applied.first == "0001_spine.sql")
            let pending = try await migrator.pending()
            #expect(pending == [])
        }
    }

    @Test func `two migrators at once apply every file once`() async throws {
        try await with { folder in
            try folder.write("0001_table.sql", "CREATE TABLE t (n bigint); SELECT pg_sleep(0.3);")
            try folder.write("0002_row.sql", "INSERT INTO t VALUES (1);")
            async let first = folder.migrator.migrate()
            async let second = folder.migrator.migrate()
            let applied = try await [first, second]
            #expect(Set(applied) == [["0001_table.sql", "0002_row.sql"], []])
            #expect(try await folder.count("t") == 1)
        }
    }

    @Test func `the wait for another migrator is bounded`() async throws {
        try await with { folder in
            try folder.write("0001_table.sql", "CREATE TABLE t (n bigint); SELECT pg_sleep(1);")
            let slow = folder.migrator
            async let first = slow.migrate()
            let watcher = try await folder.database.connect()
            try await watcher.waitUntilSomeoneLocks()
            let text = await complaint { _ = try await folder.migrator(lockTimeout: .milliseconds(200)).migrate() }
            #expect(text.contains("Another migrator"))
            #expect(try await first == ["0001_table.sql"])
            await watcher.close()
        }
    }

    @Test func `a failing file is named, undone, and what came before it stays`() async throws {
        try await with { folder in
            try folder.write("0001_table.sql", "CREATE TABLE t (n bigint);")
            try folder.write("0002_broken.sql", "INSERT INTO t VALUES (1); SELECT no_such_column FROM t;")
            let text = await complaint { _ = try await folder.migrator.migrate() }
            #expect(text.contains("0002_broken.sql"))
            #expect(text.contains("no_such_column"))
            #expect(try await folder.count("t") == 0)
            #expect(try await folder.migrator.pending() == ["0002_broken.sql"])
        }
    }

    @Test func `a file that changed since it was applied is refused`() async throws {
        try await with { folder in
            try folder.write("0001_table.sql", "CREATE TABLE t (n bigint);")
            _ = try await folder.migrator.migrate()
            try folder.write("0001_table.sql", "CREATE TABLE t (n integer);")
            for check in [folder.migrator.migrate, folder.migrator.pending] {
                let text = await complaint { _ = try await check() }
                #expect(text.contains("0001_table.sql") && text.contains("changed"))
            }
        }
    }

    @Test func `an applied file that vanished is refused, unless a newer release brought it and this one only serves`()
        async throws
    {
        try await with { folder in
            try folder.write("0001_table.sql", "CREATE TABLE t (n bigint);")
            try folder.write("0002_row.sql", "INSERT INTO t VALUES (1);")
            _ = try await folder.migrator.migrate()
            try folder.delete("0002_row.sql")
            #expect(await complaint { _ = try await folder.migrator.migrate() }.contains("0002_row.sql"))
            #expect(try await folder.migrator.pending() == [])
            try folder.write("0002_other.sql", "INSERT INTO t VALUES (1);")
            let text = await complaint { _ = try await folder.migrator.pending() }
            #expect(text.contains("0002_row.sql") && text.contains("0002_other.sql"))
        }
    }

    @Test(arguments: [
        (["0001_a.sql", "0003_c.sql"], "0003_c.sql"),
        (["0001_a.sql", "0001_b.sql"], "0001_b.sql"),
        (["0002_b.sql"], "0002_b.sql"),
        (["0001_a.sql", "two.sql"], "two.sql"),
        (["1_a.sql"], "1_a.sql"),
    ])
    func `gaps, duplicates and strange names are refused`(_ names: [String], _ named: String) async throws {
        try await with { folder in
            for name in names { try folder.write(name, "SELECT 1;") }
            let text = await complaint { _ = try await folder.migrator.migrate() }
            #expect(text.contains(named))
        }
    }

    @Test func `a file that ends its own transaction is refused`() async throws {
        try await with { folder in
            try folder.write("0001_commits.sql", "CREATE TABLE t (n bigint); COMMIT;")
            #expect(await complaint { _ = try await folder.migrator.migrate() }.contains("0001_commits.sql"))
            #expect(try await folder.migrator.pending() == ["0001_commits.sql"])
        }
    }

    @Test func `a migration may take longer than a statement`() async throws {
        try await with { folder in
            try folder.write("0001_slow.sql", "SELECT pg_sleep(0.6);")
            var configuration = folder.database.configuration
            configuration.statementTimeout = .milliseconds(200)
            let migrator = Migrator(directory: folder.path, configuration: configuration, logger: .quiet)
            #expect(try await migrator.migrate() == ["0001_slow.sql"])
        }
    }
}

private struct MigrationFolder: Sendable {
    let database: TestDatabase
    let path: String

    init(_ database: TestDatabase) throws {
        self.database = database
        path = FileManager.default.temporaryDirectory.appendingPathComponent(database.name).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    var migrator: Migrator { migrator(lockTimeout: .seconds(10)) }

    func migrator(lockTimeout: Duration) -> Migrator {
        Migrator(directory: path, configuration: database.configuration, lockTimeout: lockTimeout, logger: .quiet)
    }

    func write(_ name: String, _ sql: String) throws {
        try Data(sql.utf8).write(to: URL(fileURLWithPath: path + "/" + name))
    }

    func delete(_ name: String) throws {
        try FileManager.default.removeItem(atPath: path + "/" + name)
    }

    func count(_ table: String) async throws -> Int {
        let connection = try await database.connect()
        let rows = try await connection.run(Statement("test.count", "SELECT count(*) FROM \(table)"))
        await connection.close()
        return try rows[0].get(0)
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}
