package import Domain

/// Assistants, by the account that owns them.
package struct AssistantStore: Sendable {
    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// - Parameter event: what is recorded of it, by its id; `nil` where nobody did it.
    package func create(
        _ profile: Assistant.Profile, in account: Account.ID,
        recording event: (@Sendable (Assistant.ID) -> SecurityEvent)? = nil
    ) async throws -> Assistant {
        try await pool.transaction { connection in
            let rows = try connection.run(
                .insert, account, profile.name, profile.aiModel, profile.answerer.rawValue, profile.systemPrompt,
                profile.locale.rawValue, profile.isActive, profile.guestAccess, profile.allowedDomains,
                profile.operatorName, profile.businessName, profile.avatarURL, profile.widgetTheme,
                profile.widgetSettings, profile.dailyAnswers)
            let assistant = try Assistant(row: rows[0])
            try event?(assistant.id).record(on: connection)
            return assistant
        }
    }

    /// Changes an account's assistant by what is stored now.
    /// - Returns: `nil` where there is none.
    package func change(
        _ id: Assistant.ID, by actor: Operator, from address: String,
        _ change: @escaping @Sendable (inout Assistant.Profile) throws -> Void
    ) async throws -> Assistant? {
        try await pool.transaction { connection in
            guard let row = try connection.run(.lock, id, actor.accountID).first else { return nil }
            var profile = try Assistant(row: row).profile
            try change(&profile)
            let rows = try connection.run(
                .update, id, profile.name, profile.aiModel, profile.answerer.rawValue, profile.systemPrompt,
                profile.locale.rawValue, profile.isActive, profile.guestAccess, profile.allowedDomains,
                profile.operatorName, profile.businessName, profile.avatarURL, profile.widgetTheme,
                profile.widgetSettings, profile.dailyAnswers)
            try record("assistant_changed", id, actor, address, on: connection)
            return try Assistant(row: rows[0])
        }
    }

    // MARK: Access

    /// Puts it away: it lets nobody in and stands in no list; its dialogs stay.
    package func delete(_ id: Assistant.ID, by actor: Operator, from address: String) async throws -> Bool {
        try await pool.transaction { connection in
            guard try !connection.run(.delete, id, actor.accountID).isEmpty else { return false }
            try record("assistant_deleted", id, actor, address, on: connection)
            return true
        }
    }

    /// A new version of its site tokens; those of the version before are good for so many hours more.
    package func revokeTokens(
        of id: Assistant.ID, graceHours: Int, by actor: Operator, from address: String
    ) async throws -> Assistant? {
        try await pool.transaction { connection in
            guard let row = try connection.run(.raiseVersion, id, actor.accountID, graceHours).first else { return nil }
            try record("site_tokens_revoked", id, actor, address, on: connection)
            return try Assistant(row: row)
        }
    }

    /// - Parameter sealed: the new identity secret, encrypted.
    package func setIdentitySecret(
        _ sealed: [UInt8], of id: Assistant.ID, by actor: Operator, from address: String
    ) async throws -> Bool {
        try await pool.transaction { connection in
            guard try !connection.run(.setIdentitySecret, id, actor.accountID, sealed).isEmpty else { return false }
            try record("identity_secret_set", id, actor, address, on: connection)
            return true
        }
    }

    /// Encrypted; `nil` where there is none.
    package func identitySecret(of id: Assistant.ID) async throws -> [UInt8]? {
        try await pool.perform { try $0.run(.identitySecret, id).first?.get(0) }
    }

    private func record(
        _ action: String, _ id: Assistant.ID, _ actor: Operator, _ address: String,
        on connection: isolated PostgresConnection
    ) throws {
        try SecurityEvent(
            account: actor.accountID, actor: .operator(actor.id), action: action, subject: "assistant:\(id)",
            address: address
        ).record(on: connection)
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
        profile.dailyAnswers = try row.get(18)
        self.init(
            id: try row.get(0), accountID: try row.get(1), profile: profile, tokenVersion: try row.get(15),
            createdAt: try row.get(16), updatedAt: try row.get(17))
    }
}

private let columns = """
    id, account_id, name, ai_model, answerer, system_prompt, locale, is_active, guest_access, allowed_domains,
    operator_name, business_name, avatar_url, widget_theme, widget_settings, token_version,
    (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM updated_at) * 1000000)::bigint,
    daily_answers
    """

extension Statement {
    fileprivate static let insert = Statement(
        "assistants.insert",
        """
        INSERT INTO assistants (account_id, name, ai_model, answerer, system_prompt, locale, is_active, guest_access,
                                allowed_domains, operator_name, business_name, avatar_url, widget_theme,
                                widget_settings, daily_answers)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text[], $10, $11, $12, $13, $14::json, $15)
        RETURNING \(columns)
        """)

    fileprivate static let find = Statement(
        "assistants.find", "SELECT \(columns) FROM assistants WHERE id = $1 AND deleted_at IS NULL")

    fileprivate static let lock = Statement(
        "assistants.lock",
        """
        SELECT \(columns) FROM assistants WHERE id = $1 AND account_id = $2 AND deleted_at IS NULL
        FOR NO KEY UPDATE
        """)

    fileprivate static let update = Statement(
        "assistants.update",
        """
        UPDATE assistants
        SET name = $2, ai_model = $3, answerer = $4, system_prompt = $5, locale = $6, is_active = $7,
            guest_access = $8, allowed_domains = $9::text[], operator_name = $10, business_name = $11,
            avatar_url = $12, widget_theme = $13, widget_settings = $14::json, daily_answers = $15,
            updated_at = clock_timestamp()
        WHERE id = $1
        RETURNING \(columns)
        """)

    fileprivate static let delete = Statement(
        "assistants.delete",
        """
        UPDATE assistants SET deleted_at = clock_timestamp(), is_active = false, identity_secret = NULL
        WHERE id = $1 AND account_id = $2 AND deleted_at IS NULL
        RETURNING 1
        """)

    fileprivate static let raiseVersion = Statement(
        "assistants.raise_version",
        """
        UPDATE assistants
        SET token_version = token_version + 1, updated_at = clock_timestamp(),
            token_grace_until = CASE WHEN $3 > 0 THEN clock_timestamp() + make_interval(hours => $3::integer) END
        WHERE id = $1 AND account_id = $2 AND deleted_at IS NULL
        RETURNING \(columns)
        """)

    fileprivate static let setIdentitySecret = Statement(
        "assistants.set_identity_secret",
        """
        UPDATE assistants SET identity_secret = $3::bytea
        WHERE id = $1 AND account_id = $2 AND deleted_at IS NULL RETURNING 1
        """)

    fileprivate static let identitySecret = Statement(
        "assistants.identity_secret",
        "SELECT identity_secret FROM assistants WHERE id = $1 AND identity_secret IS NOT NULL")

    fileprivate static let list = Statement(
        "assistants.list",
        "SELECT \(columns) FROM assistants WHERE account_id = $1 AND id > $2 AND deleted_at IS NULL ORDER BY id LIMIT $3"
    )
}
