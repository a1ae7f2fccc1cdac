package import Logging

/// Which database a log is in: the same for every node of an installation and over a change of primary, another for
/// every database that was made by itself. What goes over a bus that others may share is marked with it. A physical copy
/// (a base backup that is started elsewhere) has the same: it needs a Redis of its own.
package enum LogIdentity {
    /// - Throws: ``PostgresError``.
    package static func read(_ configuration: PostgresConfiguration, logger: Logger) async throws -> String {
        let connection = try await PostgresConnection.connect(configuration, logger: logger)
        do {
            let identity: String = try await connection.run(.identity)[0].get(0)
            await connection.close()
            return identity
        } catch {
            await connection.close()
            throw error
        }
    }
}

extension Statement {
    fileprivate static let identity = Statement(
        "log.identity",
        """
        SELECT system_identifier::text || '.' || (SELECT oid FROM pg_database WHERE datname = current_database())
        FROM pg_control_system()
        """)
}
