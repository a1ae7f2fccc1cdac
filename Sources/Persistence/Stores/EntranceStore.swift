package import Domain
import FoundationEssentials

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

    /// Assistants that are no more are absent.
    package func entrances(of ids: [Assistant.ID]) async throws -> [Assistant.ID: Entrance] {
        try await pool.perform { connection in
            try connection.run(.entrances, ids.map(\.rawValue)).reduce(into: [:]) { found, row in
                found[try row.get(0)] = Entrance(
                    isOpen: try row.get(1), tokenVersion: try row.get(2), takesPreviousVersion: try row.get(3),
                    guestAccess: try row.get(4),
                    blocked: Set(try row.get(5, as: [String].self).map(GuestMark.init(text:))))
            }
        }
    }

    // MARK: Blocking

    /// Keeps the visitor of a dialog out of everything at its assistant.
    package func block(_ dialog: Dialog.ID, by actor: Operator, from address: String) async throws -> Blocking {
        try await pool.transaction { connection in
            guard let row = try connection.run(.countBlocked, dialog, actor.accountID).first else { return .unknown }
            guard try row.get(0, as: Int.self) < Self.blockedLimit else { return .tooMany }
            _ = try connection.run(.block, dialog, actor.id)
            try record("visitor_blocked", dialog, actor, address, on: connection)
            return .done
        }
    }

    /// - Returns: whether the account has such a dialog.
    package func unblock(_ dialog: Dialog.ID, by actor: Operator, from address: String) async throws -> Bool {
        try await pool.transaction { connection in
            guard try !connection.run(.countBlocked, dialog, actor.accountID).isEmpty else { return false }
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

/// What open streams stand on, asked of the database.
package struct StreamCredentials: CredentialCheck {
    private let sessions: SessionStore
    private let entrances: EntranceStore

    package init(sessions: SessionStore, entrances: EntranceStore) {
        self.sessions = sessions
        self.entrances = entrances
    }

    package func ended(of credentials: Set<StreamCredential>) async throws -> Set<StreamCredential> {
        var logins: [UUID] = []
        var passes: [VisitorPass] = []
        for credential in credentials {
            switch credential {
            case .session(let id): logins.append(id)
            case .visitor(let pass): passes.append(pass)
            }
        }
        var ended: Set<StreamCredential> = []
        if !logins.isEmpty { ended = Set(try await sessions.ended(of: logins).map { .session($0) }) }
        guard !passes.isEmpty else { return ended }
        let known = try await entrances.entrances(of: Array(Set(passes.map(\.assistantID))))
        for pass in passes where !Self.isGood(pass, at: known[pass.assistantID]) { ended.insert(.visitor(pass)) }
        return ended
    }

    private static func isGood(_ pass: VisitorPass, at entrance: Entrance?) -> Bool {
        guard let entrance else { return false }
        do {
            try entrance.admit(pass)
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
               coalesce(a.token_grace_until > now(), false), a.guest_access,
               ARRAY(SELECT encode(substring(b.guest_hash FOR 16), 'hex') FROM blocked_guests b
                     WHERE b.assistant_id = a.id)
        FROM assistants a WHERE a.id = ANY ($1::bigint[])
        """)

    fileprivate static let countBlocked = Statement(
        "blocked_guests.count",
        """
        SELECT (SELECT count(*) FROM blocked_guests b WHERE b.assistant_id = d.assistant_id)
        FROM dialogs d WHERE d.id = $1 AND d.account_id = $2
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
