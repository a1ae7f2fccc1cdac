package import Domain
package import FoundationEssentials

/// Logins that last, and their end. PostgreSQL's clock decides.
package struct SessionStore: Sendable {
    /// How a shown refresh token was taken.
    package enum Refreshed: Sendable, Equatable {
        /// The session goes on with the token of this number.
        case session(Session, rotation: Int64)
        /// It was used long ago; the session has ended now, so that neither holder goes on.
        case reused(operator: Operator.ID, account: Account.ID)
        /// There is no such session, or it has ended.
        case over
    }

    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    // MARK: Beginning

    /// - Parameter tokenHash: SHA-256 of the cookie, for a panel.
    /// - Parameter passwordHash: what the shown password was checked against; `nil` for a login without one.
    /// - Returns: `nil` where the password was changed or the operator was switched off meanwhile.
    package func begin(
        _ kind: Session.Kind, of operatorID: Operator.ID, tokenHash: [UInt8]?, checkedAgainst passwordHash: String?
    ) async throws -> UUID? {
        try await pool.perform { connection in
            try connection.run(
                .begin, operatorID, kind.rawValue, tokenHash, kind.lifetime.components.seconds, passwordHash
            ).first?.get(0)
        }
    }

    // MARK: Using

    /// A session that is still on, with who it is of.
    package func session(_ id: UUID) async throws -> Session? {
        try await pool.perform { try $0.run(.find, id).first.map(Session.init(row:)) }
    }

    /// The same by its cookie; its time begins anew, counted at most once a minute.
    package func panelSession(tokenHash: [UInt8]) async throws -> Session? {
        try await pool.perform { connection in
            guard let row = try connection.run(.findByToken, tokenHash).first else { return nil }
            let session = try Session(row: row)
            if try row.get(8, as: Bool.self) {
                _ = try connection.run(.slide, session.id, Session.Kind.panel.lifetime.components.seconds)
            }
            return session
        }
    }

    /// Takes the refresh token of a number.
    package func refresh(_ id: UUID, shown: Int64) async throws -> Refreshed {
        try await pool.transaction { connection in
            guard let row = try connection.run(.lock, id).first else { return .over }
            let session = try Session(row: row)
            let newest: Int64 = try row.get(8)
            let age = Duration.microseconds(try row.get(9, as: Int64.self))
            switch RefreshVerdict(shown: shown, newest: newest, age: age) {
            case .rotate:
                _ = try connection.run(.rotate, id, Session.Kind.program.lifetime.components.seconds)
                return .session(session, rotation: newest + 1)
            case .again:
                return .session(session, rotation: newest)
            case .reused:
                _ = try connection.run(.end, id)
                return .reused(operator: session.caller.id, account: session.caller.accountID)
            case .unknown:
                return .over
            }
        }
    }

    // MARK: Ending

    package func end(_ id: UUID) async throws {
        _ = try await pool.perform { try $0.run(.end, id) }
    }

    /// Of several sessions those that are over.
    package func ended(of ids: [UUID]) async throws -> Set<UUID> {
        let on = try await pool.perform { connection in
            try connection.run(.stillOn, ids.map(\.uuidString)).map { try $0.get(0, as: UUID.self) }
        }
        return Set(ids).subtracting(on)
    }
}

extension Session {
    fileprivate init(row: Row) throws {
        self.init(
            id: try row.get(0), kind: try row.get(1),
            caller: Operator(
                id: try row.get(2), accountID: try row.get(3), email: try row.get(4), firstName: try row.get(5),
                role: try row.get(6), createdAt: try row.get(7)))
    }
}

extension Session.Kind: Readable {}

private let columns = """
    s.id, s.kind, o.id, o.account_id, o.email, o.first_name, o.role,
    (extract(epoch FROM o.created_at) * 1000000)::bigint
    """

private let on = "s.revoked_at IS NULL AND s.expires_at > now() AND o.is_active"

extension Statement {
    /// The share lock: a new password is either seen here, or finds the session and ends it.
    fileprivate static let begin = Statement(
        "sessions.begin",
        """
        INSERT INTO sessions (operator_id, kind, token_hash, expires_at)
        SELECT id, $2, $3::bytea, now() + make_interval(secs => $4::bigint) FROM operators
        WHERE id = $1 AND is_active AND password_hash = coalesce($5, password_hash)
        FOR SHARE
        RETURNING id
        """)

    fileprivate static let find = Statement(
        "sessions.find",
        "SELECT \(columns) FROM sessions s JOIN operators o ON o.id = s.operator_id WHERE s.id = $1 AND \(on)")

    fileprivate static let findByToken = Statement(
        "sessions.find_by_token",
        """
        SELECT \(columns), s.used_at < now() - interval '1 minute'
        FROM sessions s JOIN operators o ON o.id = s.operator_id
        WHERE s.token_hash = $1 AND s.kind = 'panel' AND \(on)
        """)

    fileprivate static let slide = Statement(
        "sessions.slide",
        """
        UPDATE sessions SET used_at = now(), expires_at = now() + make_interval(secs => $2::bigint)
        WHERE id = $1 AND revoked_at IS NULL
        """)

    /// The session's row only: an operator's row is no place to wait at.
    fileprivate static let lock = Statement(
        "sessions.lock",
        """
        SELECT \(columns), s.rotation, (extract(epoch FROM clock_timestamp() - s.rotated_at) * 1000000)::bigint
        FROM sessions s JOIN operators o ON o.id = s.operator_id
        WHERE s.id = $1 AND s.kind = 'program' AND \(on)
        FOR NO KEY UPDATE OF s
        """)

    fileprivate static let rotate = Statement(
        "sessions.rotate",
        """
        UPDATE sessions SET rotation = rotation + 1, rotated_at = clock_timestamp(), used_at = now(),
            expires_at = now() + make_interval(secs => $2::bigint)
        WHERE id = $1
        """)

    fileprivate static let end = Statement(
        "sessions.end", "UPDATE sessions SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL")

    fileprivate static let stillOn = Statement(
        "sessions.still_on",
        """
        SELECT s.id FROM sessions s JOIN operators o ON o.id = s.operator_id
        WHERE s.id = ANY ($1::uuid[]) AND \(on)
        """)
}
