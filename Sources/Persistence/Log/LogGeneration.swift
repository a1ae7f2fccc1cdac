/// Keeps the log's generation true to the server that is asked. Numbers of events can be used twice only after a
/// restore or on a promoted standby, and both are another (system identifier, timeline) than the one beside the number.
package enum LogGeneration {
    /// To be run on every new connection that may write, before anything is written.
    package static func confirm(on connection: isolated PostgresConnection) throws {
        // Before the first migration there is no log whose numbers could be used twice.
        guard let exists = try connection.run(.exists).first, try exists.get(0, as: Bool.self) else { return }
        _ = try connection.run(.raiseIfMoved)
    }
}

extension Statement {
    fileprivate static let exists = Statement(
        "log.generation_exists", "SELECT to_regclass('log_generation') IS NOT NULL AND NOT pg_is_in_recovery()")

    /// The timeline is read from the name of the WAL file being written, because the control file shows the new one
    /// only after a checkpoint. A generation without a server beside it has not been used yet.
    fileprivate static let raiseIfMoved = Statement(
        "log.raise_generation",
        """
        WITH here AS (
            SELECT system_identifier, ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint AS timeline
            FROM pg_control_system()
        )
        UPDATE log_generation g
        SET generation = CASE WHEN g.system_identifier IS NULL THEN g.generation ELSE g.generation + 1 END,
            system_identifier = here.system_identifier,
            timeline = here.timeline
        FROM here
        WHERE (g.system_identifier, g.timeline) IS DISTINCT FROM (here.system_identifier, here.timeline)
        """)
}
