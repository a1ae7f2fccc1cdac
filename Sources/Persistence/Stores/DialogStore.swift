package import Domain

/// Dialogs as visitors and operators read and open them. Every list comes with the place in the stream where what
/// happens after it begins, read in the same statement.
package struct DialogStore: Sendable {
    /// A visitor's dialog, and where its stream ends.
    package struct Opened: Sendable {
        package let dialog: Dialog
        package let cursor: Cursor
        /// Whether it was made by this call.
        package let isNew: Bool
    }

    /// Part of an account's list.
    package struct Listing: Sendable {
        package let dialogs: [Dialog]
        package let hasMore: Bool
        /// In the account's stream.
        package let cursor: Cursor
    }

    /// Which dialogs of an account are asked for.
    package struct Filter: Sendable {
        package var status: Dialog.Status?
        package var assistantID: Assistant.ID?
        package var channel: Dialog.Channel?
        /// Only those whose last message came before this one: where the next page begins.
        package var beforeMessage: Message.ID?

        package init() {}
    }

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    // MARK: Visitors

    /// The visitor's open dialog with an assistant, where there is one.
    package func findOpen(_ guest: Guest) async throws -> Opened? {
        try await pool.perform { connection in
            try connection.run(.findOpen, guest.assistantID, guest.hash).first.map { try Opened(row: $0, isNew: false) }
        }
    }

    /// Notes who the customer's site says that a visitor is.
    package func identify(_ visitor: Visitor, in dialog: Dialog.ID) async throws {
        _ = try await pool.perform { try $0.run(.identify, dialog, visitor.name, visitor.externalID) }
    }

    /// The visitor's open dialog with an assistant, or a new one.
    package func open(_ guest: Guest, in account: Account.ID) async throws -> Opened {
        try await pool.perform { connection in
            // A dialog that is closed between the two statements leaves nothing to find; then there is room for a new one.
            for _ in 0..<3 {
                if let row = try connection.run(.findOpen, guest.assistantID, guest.hash).first {
                    return try Opened(row: row, isNew: false)
                }
                if let row = try connection.run(.insert, account, guest.assistantID, guest.hash).first {
                    return try Opened(row: row, isNew: true)
                }
            }
            throw PostgresError(.unexpectedValue, statement: "dialogs.insert", message: "neither found nor made")
        }
    }

    /// Newest first.
    package func list(of guest: Guest, limit: Int) async throws -> [Opened] {
        try await pool.perform { connection in
            try connection.run(.listOfGuest, guest.assistantID, guest.hash, limit).map {
                try Opened(row: $0, isNew: false)
            }
        }
    }

    /// A visitor's dialog; `nil` where there is none or it is somebody else's.
    package func find(_ id: Dialog.ID, of guest: Guest) async throws -> Opened? {
        try await pool.perform { connection in
            try connection.run(.findOfGuest, id, guest.assistantID, guest.hash).first.map {
                try Opened(row: $0, isNew: false)
            }
        }
    }

    // MARK: Operators

    /// An account's dialog, where its own stream ends, and where the account's does.
    package func find(
        _ id: Dialog.ID, in account: Account.ID
    ) async throws -> (dialog: Dialog, dialogCursor: Cursor, accountCursor: Cursor)? {
        try await pool.perform { connection in
            guard let row = try connection.run(.findInAccount, id, account).first else { return nil }
            let opened = try Opened(row: row, isNew: false)
            return (
                opened.dialog, opened.cursor,
                Cursor(generation: opened.cursor.generation, number: try row.get(Dialog.columnCount + 1))
            )
        }
    }

    /// Those with a message, by their last one, newest first.
    package func list(in account: Account.ID, _ filter: Filter, limit: Int) async throws -> Listing? {
        try await pool.transaction(.snapshot) { connection in
            guard let head = try connection.run(.accountHead, account).first else { return nil }
            let rows = try connection.run(
                .listInAccount, account, filter.status?.rawValue, filter.assistantID?.rawValue,
                filter.channel?.rawValue, filter.beforeMessage?.rawValue, limit + 1)
            return Listing(
                dialogs: try rows.prefix(limit).map(Dialog.init(row:)), hasMore: rows.count > limit,
                cursor: Cursor(generation: try head.get(0), number: try head.get(1)))
        }
    }
}

extension DialogStore.Opened {
    fileprivate init(row: Row, isNew: Bool) throws {
        dialog = try Dialog(row: row)
        cursor = Cursor(generation: try row.get(Dialog.columnCount), number: dialog.lastSeq)
        self.isNew = isNew
    }
}

extension Dialog {
    fileprivate static let columns = """
        d.id, d.account_id, d.assistant_id, d.channel, d.status, d.last_seq, d.handoff_status, d.handoff_epoch,
        (extract(epoch FROM d.created_at) * 1000000)::bigint, (extract(epoch FROM d.updated_at) * 1000000)::bigint,
        (extract(epoch FROM d.closed_at) * 1000000)::bigint, d.visitor_name, d.visitor_external_id,
        d.last_message_id, \(Message.columns)
        """
    fileprivate static let tables = """
        dialogs d
        LEFT JOIN messages m ON m.id = d.last_message_id
        LEFT JOIN operators o ON o.id = m.author_id
        """
    fileprivate static let columnCount = 14 + Message.columnCount

    fileprivate init(row: Row) throws {
        let lastMessageID: Message.ID? = try row.get(13)
        self.init(
            id: try row.get(0), accountID: try row.get(1), assistantID: try row.get(2), channel: try row.get(3),
            visitor: Visitor(name: try row.get(11), externalID: try row.get(12)), status: try row.get(4),
            handoff: Handoff(status: try row.get(6), epoch: try row.get(7)),
            lastMessage: try lastMessageID.map { _ in try Message(row: row, from: 14) }, lastSeq: try row.get(5),
            createdAt: try row.get(8), updatedAt: try row.get(9), closedAt: try row.get(10))
    }
}

extension Statement {
    fileprivate static let findOpen = Statement(
        "dialogs.find_open",
        """
        SELECT \(Dialog.columns), g.generation FROM \(Dialog.tables), log_generation g
        WHERE d.assistant_id = $1 AND d.guest_hash = $2 AND d.status = 'open'
        """)

    fileprivate static let identify = Statement(
        "dialogs.identify",
        """
        UPDATE dialogs SET visitor_name = $2, visitor_external_id = $3
        WHERE id = $1 AND (visitor_name, visitor_external_id) IS DISTINCT FROM ($2::text, $3::text)
        """)

    /// Answers no row where another call has just made it.
    fileprivate static let insert = Statement(
        "dialogs.insert",
        """
        WITH d AS (
            INSERT INTO dialogs (account_id, assistant_id, guest_hash) VALUES ($1, $2, $3)
            ON CONFLICT (assistant_id, guest_hash) WHERE status = 'open' DO NOTHING
            RETURNING *
        )
        SELECT \(Dialog.columns), g.generation
        FROM d LEFT JOIN messages m ON m.id = d.last_message_id LEFT JOIN operators o ON o.id = m.author_id,
             log_generation g
        """)

    fileprivate static let listOfGuest = Statement(
        "dialogs.list_of_guest",
        """
        SELECT \(Dialog.columns), g.generation FROM \(Dialog.tables), log_generation g
        WHERE d.assistant_id = $1 AND d.guest_hash = $2
        ORDER BY d.id DESC LIMIT $3
        """)

    fileprivate static let findOfGuest = Statement(
        "dialogs.find_of_guest",
        """
        SELECT \(Dialog.columns), g.generation FROM \(Dialog.tables), log_generation g
        WHERE d.id = $1 AND d.assistant_id = $2 AND d.guest_hash = $3
        """)

    fileprivate static let findInAccount = Statement(
        "dialogs.find_in_account",
        """
        SELECT \(Dialog.columns), g.generation, a.last_seq
        FROM \(Dialog.tables) JOIN accounts a ON a.id = d.account_id, log_generation g
        WHERE d.id = $1 AND d.account_id = $2
        """)

    fileprivate static let accountHead = Statement(
        "dialogs.account_head",
        "SELECT g.generation, a.last_seq FROM accounts a, log_generation g WHERE a.id = $1")

    fileprivate static let listInAccount = Statement(
        "dialogs.list_in_account",
        """
        SELECT \(Dialog.columns) FROM \(Dialog.tables)
        WHERE d.account_id = $1 AND d.last_message_id IS NOT NULL
          AND ($2::text IS NULL OR d.status = $2) AND ($3::bigint IS NULL OR d.assistant_id = $3)
          AND ($4::text IS NULL OR d.channel = $4) AND ($5::bigint IS NULL OR d.last_message_id < $5)
        ORDER BY d.last_message_id DESC LIMIT $6
        """)
}
