package import Domain

/// Who did what to whose access, and from where. Never a secret, never a message's text.
package struct SecurityEvent: Sendable {
    package enum Actor: Sendable {
        case `operator`(Operator.ID)
        /// Somebody who has not said who they are.
        case anonymous
        case system

        var text: String {
            switch self {
            case .operator(let id): "operator:\(id)"
            case .anonymous: "anonymous"
            case .system: "system"
            }
        }
    }

    package let account: Account.ID?
    package let actor: Actor
    package let action: String
    package let subject: String
    package let address: String

    package init(account: Account.ID?, actor: Actor, action: String, subject: String, address: String) {
        self.account = account
        self.actor = actor
        self.action = action
        self.subject = subject
        self.address = address
    }

    func record(on connection: isolated PostgresConnection) throws {
        _ = try connection.run(.record, account, actor.text, action, subject, address)
    }

    /// On its own, where there is no transaction that it belongs to.
    package func record(in pool: PostgresPool) async throws {
        try await pool.perform { try record(on: $0) }
    }
}

/// A security event as it was kept.
package struct KeptSecurityEvent: Sendable {
    package let id: Int64
    package let actor: String
    package let action: String
    package let subject: String
    package let address: String
    package let at: Timestamp
}

extension SecurityEvent {
    /// An account's, newest first, before an id.
    package static func list(
        of account: Account.ID, before id: Int64?, limit: Int, in pool: PostgresPool
    ) async throws -> [KeptSecurityEvent] {
        try await pool.perform { connection in
            try connection.run(.list, account, id ?? .max, limit).map { row in
                KeptSecurityEvent(
                    id: try row.get(0), actor: try row.get(1), action: try row.get(2), subject: try row.get(3),
                    address: try row.get(4), at: try row.get(5))
            }
        }
    }
}

extension Statement {
    fileprivate static let list = Statement(
        "security_events.list",
        """
        SELECT id, actor, action, subject, address, (extract(epoch FROM at) * 1000000)::bigint
        FROM security_events WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3
        """)

    fileprivate static let record = Statement(
        "security_events.insert",
        "INSERT INTO security_events (account_id, actor, action, subject, address) VALUES ($1, $2, $3, $4, $5)")
}
