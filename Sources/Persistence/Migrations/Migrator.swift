package import Logging

/// Applies the numbered SQL files of a directory, each once, each in one transaction with its record. What was
/// applied must stay as it was: a file that changed or vanished since is refused.
package struct Migrator: Sendable {
    private let directory: String
    private let configuration: PostgresConfiguration
    private let lockTimeout: Duration
    private let logger: Logger

    /// - Parameter lockTimeout: how long to wait for another migrator to finish.
    package init(
        directory: String, configuration: PostgresConfiguration, lockTimeout: Duration = .seconds(60), logger: Logger
    ) {
        self.directory = directory
        self.configuration = configuration
        self.lockTimeout = lockTimeout
        self.logger = logger
    }

    /// Applies what is not applied yet. Only one migrator works at a time; the others wait and find nothing to do.
    /// - Returns: the names of the files applied now.
    /// - Throws: ``MigrationError``, or a ``PostgresError`` about the connection.
    package func migrate() async throws -> [String] {
        let files = try MigrationFile.all(in: directory)
        return try await withConnection { connection in
            try await lock(connection)
            _ = try await connection.run(.createTable)
            let applied = try await Self.applied(on: connection)
            if let unknown = applied.first(where: { $0.number > files.count }) {
                throw MigrationError("The migration \(unknown.name) was applied, and the directory does not hold it")
            }
            return try await apply(Self.pending(of: files, applied, on: connection), on: connection)
        }
    }

    /// What `migrate()` would apply. Migrations of a newer release do not count: a release must run on its
    /// successor's schema.
    /// - Throws: as `migrate()`.
    package func pending() async throws -> [String] {
        let files = try MigrationFile.all(in: directory)
        return try await withConnection { connection in
            guard try await connection.run(.findTable)[0].get(0, as: Bool.self) else { return files.map(\.name) }
            let applied = try await Self.applied(on: connection)
            return try await Self.pending(of: files, applied, on: connection).map(\.file.name)
        }
    }

    // MARK: Parts

    /// A row of `schema_migrations`.
    private struct Applied {
        let number: Int
        let name: String
        let checksum: String
    }

    private func withConnection<Result: Sendable>(
        _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        var configuration = configuration
        configuration.applicationName += " migrate"
        configuration.statementTimeout = .seconds(24 * 3600)
        // Whoever waits for a table's lock holds up everyone behind: better to fail, and be run again.
        configuration.lockTimeout = .seconds(5)
        configuration.idleInTransactionTimeout = .seconds(60)
        let connection = try await PostgresConnection.connect(configuration, logger: logger)
        do {
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            // Closing gives back the lock too.
            await connection.close()
            throw error
        }
    }

    private func lock(_ connection: PostgresConnection) async throws {
        let deadline = ContinuousClock.now + lockTimeout
        // Asked for again and again: a blocked wait for the lock would be ended by the lock time-out.
        while try await !connection.run(.tryLock)[0].get(0, as: Bool.self) {
            guard .now < deadline else { throw MigrationError("Another migrator did not finish in time") }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private static func applied(on connection: PostgresConnection) async throws -> [Applied] {
        try await connection.run(.applied).map { row in
            try Applied(number: row.get(0), name: row.get(1), checksum: row.get(2))
        }
    }

    /// The files that are not applied, with their checksums, which the server computes.
    private static func pending(
        of files: [MigrationFile], _ applied: [Applied], on connection: PostgresConnection
    ) async throws -> [(file: MigrationFile, checksum: String)] {
        let checksums = try await connection.run(.checksums, files.map(\.bytes)).map { try $0.get(0, as: String.self) }
        let known = Dictionary(uniqueKeysWithValues: applied.map { ($0.number, $0) })
        var pending: [(file: MigrationFile, checksum: String)] = []
        for (file, checksum) in zip(files, checksums) {
            if let record = known[file.number] {
                guard record.name == file.name else {
                    throw MigrationError(
                        "The migration \(record.name) was applied, and the directory holds \(file.name) instead")
                }
                guard record.checksum == checksum else {
                    throw MigrationError("The migration \(file.name) has changed since it was applied")
                }
            } else {
                pending.append((file, checksum))
            }
        }
        if let first = pending.first, let newer = applied.first(where: { $0.number > first.file.number }) {
            throw MigrationError("The migration \(first.file.name) is not applied, but \(newer.name) after it is")
        }
        return pending
    }

    private func apply(
        _ pending: [(file: MigrationFile, checksum: String)], on connection: PostgresConnection
    ) async throws -> [String] {
        for (file, checksum) in pending {
            let text = try file.text()
            do {
                try await connection.perform { connection in
                    try connection.transaction { connection in
                        try connection.script(text, name: file.name)
                        guard connection.isInTransaction else {
                            throw MigrationError("The migration \(file.name) ends its transaction, which it must not")
                        }
                        _ = try connection.run(.record, file.number, file.name, checksum)
                    }
                }
            } catch let error as PostgresError {
                throw MigrationError("The migration \(file.name) failed: \(error)")
            }
            logger.info("Migration applied", metadata: ["file": "\(file.name)"])
        }
        return pending.map(\.file.name)
    }
}

extension Statement {
    /// Of this program; any number that nobody else locks will do.
    fileprivate static let tryLock = Statement("migrations.lock", "SELECT pg_try_advisory_lock(7236839005120431)")

    fileprivate static let createTable = Statement(
        "migrations.create_table",
        """
        CREATE TABLE IF NOT EXISTS schema_migrations (
            number     integer PRIMARY KEY,
            name       text NOT NULL,
            checksum   text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        )
        """)

    fileprivate static let findTable = Statement(
        "migrations.find_table", "SELECT to_regclass('schema_migrations') IS NOT NULL")

    fileprivate static let applied = Statement(
        "migrations.applied", "SELECT number, name, checksum FROM schema_migrations ORDER BY number")

    fileprivate static let checksums = Statement(
        "migrations.checksums",
        """
        SELECT encode(sha256(file), 'hex')
        FROM unnest($1::bytea[]) WITH ORDINALITY AS files (file, number) ORDER BY number
        """)

    fileprivate static let record = Statement(
        "migrations.record", "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)")
}
