package import Domain

/// Everything that is kept encrypted, wherever it stands.
package struct SealedSecrets: Sendable {
    package enum Owner: Sendable {
        case bot(of: Account.ID)
        case assistant(Assistant.ID)
    }

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// Puts what `replacement` returns in the place of each, all of them or none.
    /// - Parameter replacement: `nil` leaves one as it is.
    /// - Returns: how many were replaced.
    package func replaceAll(
        _ replacement: @escaping @Sendable (_ sealed: [UInt8], _ owner: Owner) throws -> [UInt8]?
    ) async throws -> Int {
        try await pool.transaction { connection in
            var count = 0
            for row in try connection.run(.lockPlatformTokens) {
                guard let sealed = try replacement(try row.get(2), .bot(of: try row.get(1))) else { continue }
                _ = try connection.run(.setPlatformToken, try row.get(0, as: Bot.ID.self), sealed)
                count += 1
            }
            for row in try connection.run(.lockIdentitySecrets) {
                let id: Assistant.ID = try row.get(0)
                guard let sealed = try replacement(try row.get(1), .assistant(id)) else { continue }
                _ = try connection.run(.setIdentitySecret, id, sealed)
                count += 1
            }
            return count
        }
    }
}

extension Statement {
    fileprivate static let lockPlatformTokens = Statement(
        "sealed.lock_platform_tokens",
        "SELECT id, account_id, platform_token FROM bot_instances WHERE deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE"
    )

    fileprivate static let setPlatformToken = Statement(
        "sealed.set_platform_token", "UPDATE bot_instances SET platform_token = $2::bytea WHERE id = $1")

    fileprivate static let lockIdentitySecrets = Statement(
        "sealed.lock_identity_secrets",
        "SELECT id, identity_secret FROM assistants WHERE identity_secret IS NOT NULL ORDER BY id FOR NO KEY UPDATE")

    fileprivate static let setIdentitySecret = Statement(
        "sealed.set_identity_secret", "UPDATE assistants SET identity_secret = $2::bytea WHERE id = $1")
}
