package import Domain

/// Bots, the secrets they log in with, and which process polls which of them.
package struct BotStore: Sendable {
    package struct Change: Sendable {
        package var name: String?
        package var isActive: Bool?
        /// Sealed.
        package var platformToken: [UInt8]?

        package init(name: String?, isActive: Bool?, platformToken: [UInt8]?) {
            self.name = name
            self.isActive = isActive
            self.platformToken = platformToken
        }
    }

    package enum Lease: Sendable, Equatable {
        case held(by: String, until: Timestamp)
        /// Somebody else has it.
        case taken
    }

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    // MARK: By operators

    package func list(in account: Account.ID, after id: Bot.ID?, limit: Int) async throws -> [Bot] {
        try await pool.perform { try $0.run(.list, account, id?.rawValue ?? 0, limit).map(Bot.init(row:)) }
    }

    /// - Parameter platformToken: sealed.
    /// - Returns: `nil` where the account has no such assistant.
    package func create(
        _ name: String, on platform: Bot.Platform, for assistant: Assistant.ID, platformToken: [UInt8],
        by actor: Operator, from address: String
    ) async throws -> Bot? {
        try await pool.transaction { connection in
            let rows = try connection.run(
                .insert, actor.accountID, assistant, name, platform.rawValue, platformToken)
            guard let bot = try rows.first.map(Bot.init(row:)) else { return nil }
            try record("bot_created", bot.id, by: actor, address, on: connection)
            return bot
        }
    }

    /// - Returns: `nil` where the account has no such bot.
    package func change(
        _ id: Bot.ID, _ change: Change, by actor: Operator, from address: String
    ) async throws -> Bot? {
        try await pool.transaction { connection in
            let rows = try connection.run(
                .change, id, actor.accountID, change.name, change.isActive, change.platformToken)
            guard let bot = try rows.first.map(Bot.init(row:)) else { return nil }
            try record("bot_changed", id, by: actor, address, on: connection)
            return bot
        }
    }

    /// Puts it away: its dialogs stay, its token is forgotten.
    package func delete(_ id: Bot.ID, by actor: Operator, from address: String) async throws -> Bool {
        try await pool.transaction { connection in
            guard try !connection.run(.delete, id, actor.accountID).isEmpty else { return false }
            try record("bot_deleted", id, by: actor, address, on: connection)
            return true
        }
    }

    private func record(
        _ action: String, _ id: Bot.ID, by actor: Operator, _ address: String,
        on connection: isolated PostgresConnection
    ) throws {
        try SecurityEvent(
            account: actor.accountID, actor: .operator(actor.id), action: action, subject: "bot:\(id)",
            address: address
        ).record(on: connection)
    }

    // MARK: By bridges

    /// The active bots of a key, each with its sealed token.
    package func bots(of key: APIKey) async throws -> [(bot: Bot, platformToken: [UInt8])] {
        try await pool.perform { connection in
            try connection.run(.ofKey, key.botIDs.map(\.rawValue), key.accountID).map {
                (try Bot(row: $0), try $0.get(7))
            }
        }
    }

    /// Takes or renews the right to poll a bot; PostgreSQL's clock decides.
    /// - Returns: `nil` where there is no such active bot.
    package func lease(_ id: Bot.ID, of account: Account.ID, for holder: String, seconds: Int) async throws -> Lease? {
        try await pool.transaction { connection in
            guard let row = try connection.run(.lockLease, id, account).first else { return nil }
            guard try row.get(0, as: Bool.self) || row.get(1, as: String?.self) == holder else { return .taken }
            let until = try connection.run(.takeLease, id, holder, seconds)[0]
            return .held(by: holder, until: try until.get(0))
        }
    }
}

extension Bot {
    fileprivate init(row: Row) throws {
        self.init(
            id: try row.get(0), accountID: try row.get(1), assistantID: try row.get(2), name: try row.get(3),
            platform: try row.get(4), isActive: try row.get(5), createdAt: try row.get(6))
    }
}

extension Bot.Platform: Readable {}

private let columns = """
    id, account_id, assistant_id, name, platform, is_active, (extract(epoch FROM created_at) * 1000000)::bigint
    """

/// A bot is only as good as its assistant.
private let isServed = """
    EXISTS (SELECT FROM assistants a WHERE a.id = assistant_id AND a.is_active AND a.deleted_at IS NULL)
    """

extension Statement {
    fileprivate static let list = Statement(
        "bots.list",
        """
        SELECT \(columns) FROM bot_instances
        WHERE account_id = $1 AND id > $2 AND deleted_at IS NULL ORDER BY id LIMIT $3
        """)

    fileprivate static let insert = Statement(
        "bots.insert",
        """
        INSERT INTO bot_instances (account_id, assistant_id, name, platform, platform_token)
        SELECT $1, a.id, $3, $4, $5::bytea FROM assistants a
        WHERE a.id = $2 AND a.account_id = $1 AND a.deleted_at IS NULL
        RETURNING \(columns)
        """)

    fileprivate static let change = Statement(
        "bots.change",
        """
        UPDATE bot_instances SET name = coalesce($3, name), is_active = coalesce($4::boolean, is_active),
            platform_token = coalesce($5::bytea, platform_token)
        WHERE id = $1 AND account_id = $2 AND deleted_at IS NULL
        RETURNING \(columns)
        """)

    fileprivate static let delete = Statement(
        "bots.delete",
        """
        UPDATE bot_instances SET deleted_at = now(), is_active = false, platform_token = '', lease_holder = NULL
        WHERE id = $1 AND account_id = $2 AND deleted_at IS NULL
        RETURNING 1
        """)

    fileprivate static let ofKey = Statement(
        "bots.of_key",
        """
        SELECT \(columns), platform_token FROM bot_instances
        WHERE id = ANY ($1::bigint[]) AND account_id = $2 AND is_active AND deleted_at IS NULL AND \(isServed)
        ORDER BY id
        """)

    fileprivate static let lockLease = Statement(
        "bots.lock_lease",
        """
        SELECT lease_until IS NULL OR lease_until <= clock_timestamp(), lease_holder FROM bot_instances
        WHERE id = $1 AND account_id = $2 AND is_active AND deleted_at IS NULL AND \(isServed)
        FOR NO KEY UPDATE
        """)

    fileprivate static let takeLease = Statement(
        "bots.take_lease",
        """
        UPDATE bot_instances
        SET lease_holder = $2, lease_until = clock_timestamp() + make_interval(secs => $3::bigint)
        WHERE id = $1
        RETURNING (extract(epoch FROM lease_until) * 1000000)::bigint
        """)
}
