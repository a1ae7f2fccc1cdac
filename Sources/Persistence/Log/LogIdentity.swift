package import Logging

/// Which database a log is in: the same for every node of an installation and over a change of primary, another for
/// every other database. What goes over a bus that others may share is marked with it.
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
