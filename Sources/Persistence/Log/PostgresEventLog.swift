package import Domain

/// The log of events, read from PostgreSQL's primary.
package struct PostgresEventLog: EventLog {
    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    package func head(of stream: StreamKey) async throws -> LogHead? {
        try await pool.perform { connection in
            switch stream {
            case .account(let id):
                let rows = try connection.run(.accountHead, id)
                return try rows.first.map {
                    LogHead(generation: try $0.get(0), accountSeq: try $0.get(1), dialogSeq: nil)
                }
            case .dialog(let id, let account):
                let rows = try connection.run(.dialogHead, id, account)
                return try rows.first.map {
                    LogHead(generation: try $0.get(0), accountSeq: try $0.get(1), dialogSeq: try $0.get(2))
                }
            }
        }
    }

    package func events(in stream: StreamKey, after number: Int64, limit: Int) async throws -> [StreamEvent] {
        try await pool.perform { connection in
            let rows =
                switch stream {
                case .account(let id): try connection.run(.accountEvents, id, number, limit)
                case .dialog(let id, _): try connection.run(.dialogEvents, id, number, limit)
                }
            return try rows.map(StreamEvent.init(row:))
        }
    }

    package func heads(of accounts: [Account.ID]) async throws -> (generation: Int64, seqs: [Account.ID: Int64]) {
        try await pool.perform { connection in
            let rows = try connection.run(.accountHeads, accounts.map(\.rawValue))
            var seqs: [Account.ID: Int64] = [:]
            seqs.reserveCapacity(rows.count)
            for row in rows { seqs[try row.get(1)] = try row.get(2) }
            return (try rows.first?.get(0) ?? 0, seqs)
        }
    }
}

extension StreamEvent {
    fileprivate init(row: Row) throws {
        let dialogID: Dialog.ID? = try row.get(3)
        self.init(
            generation: try row.get(0), accountID: try row.get(1), seq: try row.get(2),
            dialog: try dialogID.map { Place(dialogID: $0, seq: try row.get(4)) },
            type: try row.get(5), payload: try row.get(6), at: try row.get(7))
    }
}

extension Statement {
    fileprivate static let accountHead = Statement(
        "log.account_head",
        "SELECT g.generation, a.last_seq FROM accounts a, log_generation g WHERE a.id = $1")

    /// One statement, so that both numbers are of one moment.
    fileprivate static let dialogHead = Statement(
        "log.dialog_head",
        """
        SELECT g.generation, a.last_seq, d.last_seq
        FROM dialogs d JOIN accounts a ON a.id = d.account_id, log_generation g
        WHERE d.id = $1 AND d.account_id = $2
        """)

    fileprivate static let accountHeads = Statement(
        "log.account_heads",
        """
        SELECT g.generation, a.id, a.last_seq FROM accounts a, log_generation g
        WHERE a.id = ANY ($1::bigint[])
        """)

    /// At most so many bytes of payload a page, but always an event: a page is written to a client as a whole.
    private static let pageBytes = 256 * 1024

    private static func events(_ name: String, owner: String, number: String) -> Statement {
        Statement(
            name,
            """
            SELECT g.generation, p.account_id, p.seq, p.dialog_id, p.dialog_seq, p.type, p.payload,
                   (extract(epoch FROM p.created_at) * 1000000)::bigint
            FROM (
                SELECT e.*, sum(octet_length(e.payload::text)) OVER (ORDER BY e.\(number)) - octet_length(e.payload::text) AS before
                FROM (
                    SELECT * FROM events WHERE \(owner) = $1 AND \(number) > $2 ORDER BY \(number) LIMIT $3
                ) e
            ) p, log_generation g
            WHERE p.before < \(pageBytes)
            ORDER BY p.\(number)
            """)
    }

    fileprivate static let accountEvents = events("log.account_events", owner: "account_id", number: "seq")
    fileprivate static let dialogEvents = events("log.dialog_events", owner: "dialog_id", number: "dialog_seq")
}
