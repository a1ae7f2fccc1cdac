package import Domain

/// Accounts and the operators who work for them.
package struct AccountStore: Sendable {
    /// An operator as a login needs one.
    package struct Credentials: Sendable {
        package let operatorID: Operator.ID
        package let accountID: Account.ID
        package let passwordHash: String
        package let isActive: Bool
    }

    package enum Failure: Error, Equatable {
        case emailTaken
    }

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    package func isEmpty() async throws -> Bool {
        try await pool.perform { try $0.run(.hasAccounts).first?.get(0, as: Bool.self) == false }
    }

    /// A new account with its owner.
    /// - Parameter onlyFirst: refuse if there is an account already, checked under a lock that two first registrations
    ///   cannot both pass; then the answer is `nil`.
    /// - Throws: ``Failure/emailTaken``.
    package func create(
        name: String, email: String, firstName: String, passwordHash: String, onlyFirst: Bool
    ) async throws -> Operator? {
        do {
            return try await pool.transaction { connection in
                if onlyFirst {
                    _ = try connection.run(.lockRegistration)
                    guard try connection.run(.hasAccounts).first?.get(0, as: Bool.self) == false else { return nil }
                }
                let accountID: Account.ID = try connection.run(.insertAccount, name)[0].get(0)
                let rows = try connection.run(.insertOwner, accountID, email, firstName, passwordHash)
                return try Operator(row: rows[0])
            }
        } catch let error as PostgresError where error.isUniqueViolation("operators_email") {
            throw Failure.emailTaken
        }
    }

    package func credentials(email: String) async throws -> Credentials? {
        try await pool.perform { connection in
            try connection.run(.credentials, email).first.map {
                Credentials(
                    operatorID: try $0.get(0), accountID: try $0.get(3), passwordHash: try $0.get(1),
                    isActive: try $0.get(2))
            }
        }
    }

    /// An operator who may act now; `nil` for one who is unknown or no longer active.
    package func activeOperator(_ id: Operator.ID) async throws -> Operator? {
        try await pool.perform { try $0.run(.activeOperator, id).first.map(Operator.init(row:)) }
    }

    package func record(_ event: SecurityEvent) async throws {
        try await event.record(in: pool)
    }

    /// An account's security events, newest first.
    package func securityEvents(
        of account: Account.ID, before id: Int64?, limit: Int
    ) async throws -> [KeptSecurityEvent] {
        try await SecurityEvent.list(of: account, before: id, limit: limit, in: pool)
    }

    /// The same password under newer parameters; nothing where it was changed meanwhile.
    package func replacePasswordHash(_ old: String, with new: String, of id: Operator.ID) async throws {
        _ = try await pool.perform { try $0.run(.replacePasswordHash, id, old, new) }
    }

    package func setPasswordHash(_ hash: String, of id: Operator.ID) async throws {
        _ = try await pool.perform { try $0.run(.setPasswordHash, id, hash) }
    }
}

extension Operator {
    fileprivate init(row: Row) throws {
        self.init(
            id: try row.get(0), accountID: try row.get(1), email: try row.get(2), firstName: try row.get(3),
            role: try row.get(4), createdAt: try row.get(5))
    }
}

extension Statement {
    fileprivate static let hasAccounts = Statement("accounts.any", "SELECT EXISTS (SELECT FROM accounts)")

    fileprivate static let lockRegistration = Statement(
        "accounts.lock_registration", "SELECT pg_advisory_xact_lock(hashtextextended('replyx.register', 0))")

    fileprivate static let insertAccount = Statement(
        "accounts.insert", "INSERT INTO accounts (name) VALUES ($1) RETURNING id")

    fileprivate static let insertOwner = Statement(
        "operators.insert_owner",
        """
        INSERT INTO operators (account_id, email, first_name, password_hash, role)
        VALUES ($1, $2, $3, $4, 'owner')
        RETURNING id, account_id, email, first_name, role, (extract(epoch FROM created_at) * 1000000)::bigint
        """)

    fileprivate static let credentials = Statement(
        "operators.credentials",
        "SELECT id, password_hash, is_active, account_id FROM operators WHERE lower(email) = lower($1)")

    fileprivate static let activeOperator = Statement(
        "operators.active",
        """
        SELECT id, account_id, email, first_name, role, (extract(epoch FROM created_at) * 1000000)::bigint
        FROM operators WHERE id = $1 AND is_active
        """)

    fileprivate static let replacePasswordHash = Statement(
        "operators.replace_password_hash",
        "UPDATE operators SET password_hash = $3 WHERE id = $1 AND password_hash = $2")

    fileprivate static let setPasswordHash = Statement(
        "operators.set_password_hash", "UPDATE operators SET password_hash = $2 WHERE id = $1")
}
