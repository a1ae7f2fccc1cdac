package import Domain

/// Whom assistants let in, and whom they do not.
package struct EntranceStore: Sendable {
    package enum Blocking: Sendable, Equatable {
        case done
        /// The account has no such dialog.
        case unknown
        /// The assistant has as many as there may be.
        case tooMany
    }

    /// Visitors that one assistant may keep out: each is looked at with every request of its visitors.
    package static let blockedLimit = 10_000

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// - Returns: `nil` where there is no such assistant.
    package func entrance(of id: Assistant.ID) async throws -> Entrance? {
        try await pool.perform { connection in
            guard let row = try connection.run(.entrances, [id.rawValue]).first else { return nil }
            let blocked = try connection.run(.blocked, id).map { GuestMark(text: try $0.get(0)) }
            return try Entrance(row: row, blocked: Set(blocked))
        }
    }

    /// Of passes those with which nobody comes in any more.
    package func ended(of passes: [VisitorPass]) async throws -> [VisitorPass] {
        try await pool.perform { connection in
            let ids = Array(Set(passes.map(\.assistantID.rawValue)))
            var blocked: [Assistant.ID: Set<GuestMark>] = [:]
            let guests = passes.filter { $0.guest != nil }
            let rows = try connection.run(
                .blockedAmong, guests.map(\.assistantID.rawValue), guests.map { $0.guest?.text ?? "" })
            for row in rows { blocked[try row.get(0), default: []].insert(GuestMark(text: try row.get(1))) }
            var entrances: [Assistant.ID: Entrance] = [:]
            for row in try connection.run(.entrances, ids) {
                let id: Assistant.ID = try row.get(0)
                entrances[id] = try Entrance(row: row, blocked: blocked[id] ?? [])
            }
            return passes.filter { entrances[$0.assistantID]?.admits($0) != true }
        }
    }

    // MARK: Blocking

    /// Keeps the visitor of a dialog out of everything at its assistant.
    package func block(_ dialog: Dialog.ID, by actor: Operator, from address: String) async throws -> Blocking {
        try await pool.transaction { connection in
            // One at a time for an assistant, so that the limit is one.
            guard let row = try connection.run(.lockAssistant, dialog, actor.accountID).first else { return .unknown }
            if try row.get(0, as: Bool.self) { return .done }
            guard try row.get(1, as: Int.self) < Self.blockedLimit else { return .tooMany }
            _ = try connection.run(.block, dialog, actor.id)
            try record("visitor_blocked", dialog, actor, address, on: connection)
            return .done
        }
    }

    /// - Returns: whether the account has such a dialog.
    package func unblock(_ dialog: Dialog.ID, by actor: Operator, from address: String) async throws -> Bool {
        try await pool.transaction { connection in
            guard try !connection.run(.lockAssistant, dialog, actor.accountID).isEmpty else { return false }
            _ = try connection.run(.unblock, dialog)
            try record("visitor_unblocked", dialog, actor, address, on: connection)
            return true
        }
    }

    private func record(
        _ action: String, _ dialog: Dialog.ID, _ actor: Operator, _ address: String,
        on connection: isolated PostgresConnection
    ) throws {
        try SecurityEvent(
            account: actor.accountID, actor: .operator(actor.id), action: action, subject: "dialog:\(dialog)",
            address: address
        ).record(on: connection)
    }
}

extension Entrance {
    fileprivate init(row: Row, blocked: Set<GuestMark>) throws {
        self.init(
            isOpen: try row.get(1), tokenVersion: try row.get(2), takesPreviousVersion: try row.get(3),
            guestAccess: try row.get(4), blocked: blocked)
    }

    fileprivate func admits(_ pass: VisitorPass) -> Bool {
        do {
            try admit(pass)
            return true
        } catch {
            return false
        }
    }
}

extension Statement {
    fileprivate static let entrances = Statement(
        "entrances.find",
        """
        SELECT a.id, a.is_active AND a.deleted_at IS NULL, a.token_version,
               coalesce(a.token_grace_until > now(), false), a.guest_access
        FROM assistants a WHERE a.id = ANY ($1::bigint[])
        """)

    fileprivate static let blocked = Statement(
        "blocked_guests.list",
        "SELECT encode(substring(guest_hash FOR 16), 'hex') FROM blocked_guests WHERE assistant_id = $1")

    /// By the index on the whole hash, of which a mark is the beginning.
    fileprivate static let blockedAmong = Statement(
        "blocked_guests.among",
        """
        SELECT p.assistant_id, p.mark FROM unnest($1::bigint[], $2::text[]) AS p (assistant_id, mark)
        WHERE EXISTS (
            SELECT FROM blocked_guests b
            WHERE b.assistant_id = p.assistant_id
              AND b.guest_hash BETWEEN decode(p.mark || repeat('00', 16), 'hex')
                                   AND decode(p.mark || repeat('ff', 16), 'hex'))
        """)

    fileprivate static let lockAssistant = Statement(
        "blocked_guests.lock_assistant",
        """
        SELECT EXISTS (SELECT FROM blocked_guests b
                       WHERE b.assistant_id = d.assistant_id AND b.guest_hash = d.guest_hash),
               (SELECT count(*) FROM blocked_guests b WHERE b.assistant_id = d.assistant_id)
        FROM dialogs d JOIN assistants a ON a.id = d.assistant_id
        WHERE d.id = $1 AND d.account_id = $2
        FOR NO KEY UPDATE OF a
        """)

    fileprivate static let block = Statement(
        "blocked_guests.insert",
        """
        INSERT INTO blocked_guests (assistant_id, guest_hash, operator_id)
        SELECT assistant_id, guest_hash, $2 FROM dialogs WHERE id = $1
        ON CONFLICT DO NOTHING
        """)

    fileprivate static let unblock = Statement(
        "blocked_guests.delete",
        """
        DELETE FROM blocked_guests b USING dialogs d
        WHERE d.id = $1 AND b.assistant_id = d.assistant_id AND b.guest_hash = d.guest_hash
        """)
}
