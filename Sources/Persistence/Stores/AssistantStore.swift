package import Domain

/// Assistants, by the account that owns them.
package struct AssistantStore: Sendable {
    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    package func create(_ profile: Assistant.Profile, in account: Account.ID) async throws -> Assistant {
        try await pool.perform { connection in
            let rows = try connection.run(
                .insert, account, profile.name, profile.aiModel, profile.answerer.rawValue, profile.systemPrompt,
                profile.locale.rawValue, profile.isActive, profile.guestAccess, profile.allowedDomains,
                profile.operatorName, profile.businessName, profile.avatarURL, profile.widgetTheme,
                profile.widgetSettings)
            return try Assistant(row: rows[0])
        }
    }

    /// Whoever owns it: for credentials that name an assistant.
    package func find(_ id: Assistant.ID) async throws -> Assistant? {
        try await pool.perform { try $0.run(.find, id).first.map(Assistant.init(row:)) }
    }

    package func find(_ id: Assistant.ID, in account: Account.ID) async throws -> Assistant? {
        try await find(id).flatMap { $0.accountID == account ? $0 : nil }
    }

    /// Oldest first, after a number, at most `limit`.
    package func list(in account: Account.ID, after id: Assistant.ID?, limit: Int) async throws -> [Assistant] {
        try await pool.perform { connection in
            try connection.run(.list, account, id?.rawValue ?? 0, limit).map(Assistant.init(row:))
        }
    }
}

extension Assistant {
    fileprivate init(row: Row) throws {
        var profile = Profile(name: try row.get(2))
        profile.aiModel = try row.get(3)
        profile.answerer = try row.get(4)
        profile.systemPrompt = try row.get(5)
        profile.locale = try row.get(6)
        profile.isActive = try row.get(7)
        profile.guestAccess = try row.get(8)
        profile.allowedDomains = try row.get(9)
        profile.operatorName = try row.get(10)
        profile.businessName = try row.get(11)
        profile.avatarURL = try row.get(12)
        profile.widgetTheme = try row.get(13)
        profile.widgetSettings = try row.get(14)
        self.init(
            id: try row.get(0), accountID: try row.get(1), profile: profile, tokenVersion: try row.get(15),
            createdAt: try row.get(16), updatedAt: try row.get(17))
    }
}

private let columns = """
    id, account_id, name, ai_model, answerer, system_prompt, locale, is_active, guest_access, allowed_domains,
    operator_name, business_name, avatar_url, widget_theme, widget_settings, token_version,
    (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM updated_at) * 1000000)::bigint
    """

extension Statement {
    fileprivate static let insert = Statement(
        "assistants.insert",
        """
        INSERT INTO assistants (account_id, name, ai_model, answerer, system_prompt, locale, is_active, guest_access,
                                allowed_domains, operator_name, business_name, avatar_url, widget_theme,
                                widget_settings)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text[], $10, $11, $12, $13, $14::json)
        RETURNING \(columns)
        """)

    fileprivate static let find = Statement("assistants.find", "SELECT \(columns) FROM assistants WHERE id = $1")

    fileprivate static let list = Statement(
        "assistants.list",
        "SELECT \(columns) FROM assistants WHERE account_id = $1 AND id > $2 ORDER BY id LIMIT $3")
}
