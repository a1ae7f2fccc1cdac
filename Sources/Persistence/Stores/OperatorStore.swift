package import Domain

/// The people of an account: who they are, what they may do, and the one-time links by which they come in.
package struct OperatorStore: Sendable {
    package enum Refused: Error, Equatable {
        /// There is no such operator in the account.
        case unknown
        /// The one who asks has too low a role for that.
        case notYours
        /// An account keeps an owner.
        case lastOwner
        /// There is an operator with this address already.
        case emailTaken
        /// The link was used, is too old, or never was.
        case linkOver
    }

    package struct Colleague: Sendable {
        package let person: Operator
        package let isActive: Bool

        package init(person: Operator, isActive: Bool) {
            self.person = person
            self.isActive = isActive
        }
    }

    package struct Change: Sendable {
        package var firstName: String?
        package var role: Operator.Role?
        package var isActive: Bool?

        package init(firstName: String? = nil, role: Operator.Role? = nil, isActive: Bool? = nil) {
            self.firstName = firstName
            self.role = role
            self.isActive = isActive
        }
    }

    /// Of an invitation 7 days, of a reset one hour.
    private static let invitationSeconds: Int64 = 7 * 24 * 3600
    private static let resetSeconds: Int64 = 3600

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    package func list(in account: Account.ID) async throws -> [Colleague] {
        try await pool.perform { try $0.run(.list, account).map(Colleague.init(row:)) }
    }

    // MARK: Changing

    /// Changes a colleague, or oneself. A new role and an end of activity end all sessions of theirs.
    /// - Throws: ``Refused``.
    package func change(
        _ id: Operator.ID, _ change: Change, by actor: Operator, from address: String
    ) async throws -> Colleague {
        try await pool.transaction { connection in
            // All of the account's people, in one order: two owners who step down at once must not both succeed.
            let people = try connection.run(.lockPeople, actor.accountID).map(Colleague.init(row:))
            guard let old = people.first(where: { $0.person.id == id }) else { throw Refused.unknown }
            guard let acting = people.first(where: { $0.person.id == actor.id }), acting.isActive else {
                throw Refused.notYours
            }
            let role = change.role ?? old.person.role
            let isActive = change.isActive ?? old.isActive
            let endsSessions = role != old.person.role || (old.isActive && !isActive)
            if endsSessions || isActive != old.isActive {
                guard acting.person.role.mayManage(old.person.role), acting.person.role.mayManage(role) else {
                    throw Refused.notYours
                }
            } else if id != actor.id && !acting.person.role.mayManage(old.person.role) {
                throw Refused.notYours
            }
            let othersOwn = people.contains { $0.person.id != id && $0.person.role == .owner && $0.isActive }
            if old.person.role == .owner && old.isActive && !othersOwn && (role != .owner || !isActive) {
                throw Refused.lastOwner
            }
            let row = try connection.run(
                .change, id, change.firstName ?? old.person.firstName, role.rawValue, isActive)[0]
            if endsSessions { _ = try connection.run(.endSessions, id, String?.none) }
            if endsSessions || isActive != old.isActive {
                try SecurityEvent(
                    account: actor.accountID, actor: .operator(actor.id),
                    action: !isActive ? "deactivated" : old.isActive ? "role_changed" : "reactivated",
                    subject: "operator:\(id)", address: address
                ).record(on: connection)
            }
            return try Colleague(row: row)
        }
    }

    /// - Parameter kept: the session that goes on, where its owner changed the password in it.
    package func setPassword(
        _ hash: String, of person: Operator, keeping kept: String?, from address: String
    ) async throws {
        try await pool.transaction { connection in
            _ = try connection.run(.setPassword, person.id, hash)
            _ = try connection.run(.endSessions, person.id, kept)
            try SecurityEvent(
                account: person.accountID, actor: .operator(person.id), action: "password_changed",
                subject: "operator:\(person.id)", address: address
            ).record(on: connection)
        }
    }

    // MARK: One-time links

    /// - Parameter tokenHash: SHA-256 of what the link carries.
    /// - Throws: ``Refused/notYours``, ``Refused/emailTaken``.
    package func invite(
        _ email: String, as role: Operator.Role, by actor: Operator, tokenHash: [UInt8], from address: String
    ) async throws {
        guard actor.role.mayManage(role) else { throw Refused.notYours }
        try await pool.transaction { connection in
            guard try connection.run(.emailExists, email)[0].get(0, as: Bool.self) == false else {
                throw Refused.emailTaken
            }
            _ = try connection.run(
                .insertInvitation, tokenHash, actor.accountID, email, role.rawValue, Self.invitationSeconds)
            try SecurityEvent(
                account: actor.accountID, actor: .operator(actor.id), action: "invited",
                subject: "role:\(role.rawValue)",
                address: address
            ).record(on: connection)
        }
    }

    /// Whether a link could be used now. That it still can is decided when it is.
    package func isGood(_ purpose: LinkPurpose, tokenHash: [UInt8]) async throws -> Bool {
        try await pool.perform { try !$0.run(.findLink, tokenHash, purpose.rawValue).isEmpty }
    }

    package enum LinkPurpose: String, Sendable {
        case invitation, reset
    }

    /// - Throws: ``Refused/linkOver``, ``Refused/emailTaken``.
    package func accept(
        tokenHash: [UInt8], firstName: String, passwordHash: String, from address: String
    ) async throws -> Operator {
        do {
            return try await pool.transaction { connection in
                guard let link = try connection.run(.useLink, tokenHash, "invitation").first else {
                    throw Refused.linkOver
                }
                let account: Account.ID = try link.get(0)
                let row = try connection.run(
                    .insert, account, try link.get(1, as: String.self), firstName, passwordHash,
                    try link.get(2, as: String.self))[0]
                let person = try Colleague(row: row).person
                try SecurityEvent(
                    account: account, actor: .operator(person.id), action: "joined", subject: "operator:\(person.id)",
                    address: address
                ).record(on: connection)
                return person
            }
        } catch let error as PostgresError where error.isUniqueViolation("operators_email") {
            throw Refused.emailTaken
        }
    }

    /// A link by which somebody who lost their password sets a new one; made by whoever runs the server.
    /// - Returns: `false` where nobody active has this address.
    package func insertReset(email: String, tokenHash: [UInt8]) async throws -> Bool {
        try await pool.perform { try !$0.run(.insertReset, email, tokenHash, Self.resetSeconds).isEmpty }
    }

    /// - Throws: ``Refused/linkOver``.
    package func reset(tokenHash: [UInt8], passwordHash: String, from address: String) async throws {
        try await pool.transaction { connection in
            guard let link = try connection.run(.useLink, tokenHash, "reset").first,
                let id = try link.get(3, as: Operator.ID?.self)
            else { throw Refused.linkOver }
            _ = try connection.run(.setPassword, id, passwordHash)
            _ = try connection.run(.endSessions, id, String?.none)
            try SecurityEvent(
                account: try link.get(0), actor: .operator(id), action: "password_reset", subject: "operator:\(id)",
                address: address
            ).record(on: connection)
        }
    }
}

extension OperatorStore.Colleague {
    fileprivate init(row: Row) throws {
        self.init(
            person: Operator(
                id: try row.get(0), accountID: try row.get(1), email: try row.get(2), firstName: try row.get(3),
                role: try row.get(4), createdAt: try row.get(5)),
            isActive: try row.get(6))
    }
}

private let columns = """
    id, account_id, email, first_name, role, (extract(epoch FROM created_at) * 1000000)::bigint, is_active
    """

extension Statement {
    fileprivate static let list = Statement(
        "operators.list", "SELECT \(columns) FROM operators WHERE account_id = $1 ORDER BY id LIMIT 1000")

    fileprivate static let lockPeople = Statement(
        "operators.lock_people",
        "SELECT \(columns) FROM operators WHERE account_id = $1 ORDER BY id FOR NO KEY UPDATE")

    fileprivate static let change = Statement(
        "operators.change",
        "UPDATE operators SET first_name = $2, role = $3, is_active = $4 WHERE id = $1 RETURNING \(columns)")

    fileprivate static let setPassword = Statement(
        "operators.set_password", "UPDATE operators SET password_hash = $2 WHERE id = $1")

    fileprivate static let endSessions = Statement(
        "operators.end_sessions",
        """
        UPDATE sessions SET revoked_at = clock_timestamp()
        WHERE operator_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $2::uuid
        """)

    fileprivate static let emailExists = Statement(
        "operators.email_exists", "SELECT EXISTS (SELECT FROM operators WHERE lower(email) = lower($1))")

    fileprivate static let insert = Statement(
        "operators.insert",
        """
        INSERT INTO operators (account_id, email, first_name, password_hash, role)
        VALUES ($1, $2, $3, $4, $5)
        RETURNING \(columns)
        """)

    fileprivate static let insertInvitation = Statement(
        "links.insert_invitation",
        """
        INSERT INTO one_time_links (token_hash, account_id, purpose, email, role, expires_at)
        VALUES ($1, $2, 'invitation', $3, $4, now() + make_interval(secs => $5::bigint))
        """)

    fileprivate static let insertReset = Statement(
        "links.insert_reset",
        """
        INSERT INTO one_time_links (token_hash, account_id, purpose, operator_id, expires_at)
        SELECT $2, account_id, 'reset', id, now() + make_interval(secs => $3::bigint)
        FROM operators WHERE lower(email) = lower($1) AND is_active
        RETURNING 1
        """)

    fileprivate static let findLink = Statement(
        "links.find",
        """
        SELECT 1 FROM one_time_links
        WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > clock_timestamp()
        """)

    /// The update is the use: of two who come at once, one finds nothing.
    fileprivate static let useLink = Statement(
        "links.use",
        """
        UPDATE one_time_links SET used_at = clock_timestamp()
        WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > clock_timestamp()
        RETURNING account_id, email, role, operator_id
        """)
}
