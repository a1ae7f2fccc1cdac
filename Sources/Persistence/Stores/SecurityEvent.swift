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

extension Statement {
    fileprivate static let record = Statement(
        "security_events.insert",
        "INSERT INTO security_events (account_id, actor, action, subject, address) VALUES ($1, $2, $3, $4, $5)")
}
