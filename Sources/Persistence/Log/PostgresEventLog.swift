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

    fileprivate static let accountEvents = Statement(
        "log.account_events",
        """
        SELECT g.generation, e.account_id, e.seq, e.dialog_id, e.dialog_seq, e.type, e.payload,
               (extract(epoch FROM e.created_at) * 1000000)::bigint
        FROM events e, log_generation g
        WHERE e.account_id = $1 AND e.seq > $2
        ORDER BY e.seq LIMIT $3
        """)

    fileprivate static let dialogEvents = Statement(
        "log.dialog_events",
        """
        SELECT g.generation, e.account_id, e.seq, e.dialog_id, e.dialog_seq, e.type, e.payload,
               (extract(epoch FROM e.created_at) * 1000000)::bigint
        FROM events e, log_generation g
        WHERE e.dialog_id = $1 AND e.dialog_seq > $2
        ORDER BY e.dialog_seq LIMIT $3
        """)
}
