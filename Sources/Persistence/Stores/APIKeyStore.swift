package import Domain

/// Bridges' keys, by their SHA-256.
package struct APIKeyStore: Sendable {
    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    package func list(in account: Account.ID, after id: APIKey.ID?, limit: Int) async throws -> [APIKey] {
        try await pool.perform { try $0.run(.list, account, id?.rawValue ?? 0, limit).map(APIKey.init(row:)) }
    }

    /// - Returns: `nil` where one of the bots is not the account's.
    package func create(
        _ name: String, for bots: [Bot.ID], tokenHash: [UInt8], by actor: Operator, from address: String
    ) async throws -> APIKey? {
        try await pool.transaction { connection in
            let ids = Array(Set(bots.map(\.rawValue)))
            let own = try connection.run(.ownBots, ids, actor.accountID)
            guard own.count == ids.count else { return nil }
            let id: APIKey.ID = try connection.run(.insert, actor.accountID, name, tokenHash, actor.id)[0].get(0)
            _ = try connection.run(.insertBots, id, ids)
            try SecurityEvent(
                account: actor.accountID, actor: .operator(actor.id), action: "api_key_created",
                subject: "api_key:\(id)", address: address
            ).record(on: connection)
            return try connection.run(.find, id).first.map(APIKey.init(row:))
        }
    }

    package func revoke(_ id: APIKey.ID, by actor: Operator, from address: String) async throws -> Bool {
        try await pool.transaction { connection in
            guard try !connection.run(.revoke, id, actor.accountID).isEmpty else { return false }
            try SecurityEvent(
                account: actor.accountID, actor: .operator(actor.id), action: "api_key_revoked",
                subject: "api_key:\(id)", address: address
            ).record(on: connection)
            return true
        }
    }

    /// A key that is good now; when it was used is noted once a minute.
    package func use(tokenHash: [UInt8]) async throws -> APIKey? {
        try await pool.perform { connection in
            guard let row = try connection.run(.findByHash, tokenHash).first else { return nil }
            let key = try APIKey(row: row)
            if try row.get(7, as: Bool.self) { _ = try connection.run(.touch, key.id) }
            return key
        }
    }
}

extension APIKey {
    fileprivate init(row: Row) throws {
        self.init(
            id: try row.get(0), accountID: try row.get(1), name: try row.get(2),
            botIDs: try row.get(3, as: [Int64].self).map { Bot.ID($0) }, createdAt: try row.get(4),
            lastUsedAt: try row.get(5), revokedAt: try row.get(6))
    }
}

private let columns = """
    k.id, k.account_id, k.name, ARRAY(SELECT b.bot_id FROM api_key_bots b WHERE b.api_key_id = k.id ORDER BY 1),
    (extract(epoch FROM k.created_at) * 1000000)::bigint, (extract(epoch FROM k.last_used_at) * 1000000)::bigint,
    (extract(epoch FROM k.revoked_at) * 1000000)::bigint
    """

extension Statement {
    fileprivate static let list = Statement(
        "api_keys.list",
        "SELECT \(columns) FROM api_keys k WHERE k.account_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3")

    fileprivate static let find = Statement("api_keys.find", "SELECT \(columns) FROM api_keys k WHERE k.id = $1")

    fileprivate static let findByHash = Statement(
        "api_keys.find_by_hash",
        """
        SELECT \(columns), coalesce(k.last_used_at < now() - interval '1 minute', true)
        FROM api_keys k WHERE k.token_hash = $1 AND k.revoked_at IS NULL
        """)

    fileprivate static let touch = Statement(
        "api_keys.touch", "UPDATE api_keys SET last_used_at = now() WHERE id = $1 AND revoked_at IS NULL")

    fileprivate static let ownBots = Statement(
        "api_keys.own_bots",
        "SELECT id FROM bot_instances WHERE id = ANY ($1::bigint[]) AND account_id = $2 AND deleted_at IS NULL")

    fileprivate static let insert = Statement(
        "api_keys.insert",
        "INSERT INTO api_keys (account_id, name, token_hash, created_by) VALUES ($1, $2, $3, $4) RETURNING id")

    fileprivate static let insertBots = Statement(
        "api_keys.insert_bots", "INSERT INTO api_key_bots (api_key_id, bot_id) SELECT $1, unnest($2::bigint[])")

    fileprivate static let revoke = Statement(
        "api_keys.revoke",
        """
        UPDATE api_keys SET revoked_at = clock_timestamp()
        WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL RETURNING 1
        """)
}
