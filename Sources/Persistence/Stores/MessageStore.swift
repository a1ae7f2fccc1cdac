package import Domain

/// The history of a dialog, page by page, with the place in its stream that the page was read at.
package struct MessageStore: Sendable {
    package enum Window: Sendable {
        case newest
        case before(Message.ID)
        case after(Message.ID)
    }

    package enum Reader: Sendable {
        /// Sees what its dialog's stream shows.
        case visitor(Guest)
        /// Sees the notes too.
        case `operator`(of: Account.ID)
    }

    package struct Page: Sendable {
        /// Ascending.
        package let messages: [Message]
        /// Whether there are more in the direction that was asked for.
        package let hasMore: Bool
        package let dialogCursor: Cursor
        package let accountCursor: Cursor
    }

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// - Returns: `nil` where there is no such dialog or it is not the reader's.
    package func page(
        of dialog: Dialog.ID, for reader: Reader, _ window: Window, limit: Int
    ) async throws -> Page? {
        try await pool.transaction(.snapshot) { connection in
            let head: Rows
            let showsNotes: Bool
            switch reader {
            case .visitor(let guest):
                head = try connection.run(.headForGuest, dialog, guest.assistantID, guest.hash)
                showsNotes = false
            case .operator(let account):
                head = try connection.run(.headForAccount, dialog, account)
                showsNotes = true
            }
            guard let head = head.first else { return nil }
            let generation: Int64 = try head.get(0)
            let rows: Rows
            var isAscending = false
            switch window {
            case .newest: rows = try connection.run(.before, dialog, Int64.max, showsNotes, limit + 1)
            case .before(let id): rows = try connection.run(.before, dialog, id, showsNotes, limit + 1)
            case .after(let id):
                rows = try connection.run(.after, dialog, id, showsNotes, limit + 1)
                isAscending = true
            }
            let messages = try rows.prefix(limit).map { try Message(row: $0) }
            return Page(
                messages: isAscending ? messages : messages.reversed(), hasMore: rows.count > limit,
                dialogCursor: Cursor(generation: generation, number: try head.get(1)),
                accountCursor: Cursor(generation: generation, number: try head.get(2)))
        }
    }
}

extension Statement {
    fileprivate static let headForGuest = Statement(
        "messages.head_for_guest",
        """
        SELECT g.generation, d.last_seq, a.last_seq
        FROM dialogs d JOIN accounts a ON a.id = d.account_id, log_generation g
        WHERE d.id = $1 AND d.assistant_id = $2 AND d.guest_hash = $3
        """)

    fileprivate static let headForAccount = Statement(
        "messages.head_for_account",
        """
        SELECT g.generation, d.last_seq, a.last_seq
        FROM dialogs d JOIN accounts a ON a.id = d.account_id, log_generation g
        WHERE d.id = $1 AND d.account_id = $2
        """)

    fileprivate static let before = Statement(
        "messages.before",
        """
        SELECT \(Message.columns) FROM messages m LEFT JOIN operators o ON o.id = m.author_id
        WHERE m.dialog_id = $1 AND m.id < $2 AND (m.seq IS NOT NULL OR $3)
        ORDER BY m.id DESC LIMIT $4
        """)

    fileprivate static let after = Statement(
        "messages.after",
        """
        SELECT \(Message.columns) FROM messages m LEFT JOIN operators o ON o.id = m.author_id
        WHERE m.dialog_id = $1 AND m.id > $2 AND (m.seq IS NOT NULL OR $3)
        ORDER BY m.id LIMIT $4
        """)
}
