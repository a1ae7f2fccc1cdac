import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Operators' logins: begun, renewed, recognized and ended.
struct OperatorSessions: Sendable {
    struct Granted: Sendable {
        let access: String
        let refresh: String
        /// Seconds.
        let expiresIn = Tokens.accessLifetime
    }

    let store: SessionStore
    let tokens: Tokens
    let cookie: PanelCookie

    // MARK: Beginning

    /// - Parameter hash: what the shown password was checked against.
    /// - Returns: `nil` where that is no longer the operator's password.
    func beginProgram(for caller: Operator, checkedAgainst hash: String) async throws -> Granted? {
        guard let id = try await store.begin(.program, of: caller.id, tokenHash: nil, checkedAgainst: hash) else {
            return nil
        }
        return try await grant(caller, session: id, rotation: 0)
    }

    /// - Returns: the value of `Set-Cookie`, or `nil` as above.
    func beginPanel(for caller: Operator, checkedAgainst hash: String) async throws -> String? {
        let token = OpaqueToken.mint(PanelCookie.prefix)
        guard
            try await store.begin(.panel, of: caller.id, tokenHash: token.hash, checkedAgainst: hash) != nil
        else { return nil }
        return cookie.setting(token)
    }

    private func grant(_ caller: Operator, session: UUID, rotation: Int64) async throws -> Granted {
        let claims = AccessToken(
            sub: "\(caller.id)", account: caller.accountID.rawValue, sid: session, iat: Tokens.expiry(in: 0),
            exp: Tokens.expiry(in: Tokens.accessLifetime))
        return Granted(
            access: try await tokens.sign(claims),
            refresh: tokens.sign(RefreshToken(session: session, number: rotation)))
    }

    // MARK: Renewing

    /// - Throws: 401 for a token that is none of ours, that was used before, or whose session has ended.
    func refresh(_ text: String, from address: String, record: (SecurityEvent) async throws -> Void) async throws
        -> Granted
    {
        guard let token = tokens.refreshToken(text) else { throw Problem.unauthorized }
        switch try await store.refresh(token.session, shown: token.number) {
        case .session(let session, let rotation):
            return try await grant(session.caller, session: session.id, rotation: rotation)
        case .reused(let id, let account):
            try await record(
                SecurityEvent(
                    account: account, actor: .anonymous, action: "refresh_token_reused", subject: "operator:\(id)",
                    address: address))
            throw Problem.unauthorized
        case .over:
            throw Problem.unauthorized
        }
    }

    // MARK: Recognizing

    /// An explicit credential beats the cookie, and says what is wrong with itself.
    /// - Throws: 401; 403 for a write with the cookie that does not come from a page of ours.
    func session(of request: Request) async throws -> Session {
        if let token = request.bearerToken {
            let claims: AccessToken
            do {
                claims = try await tokens.verify(token)
            } catch is Tokens.Failure {
                throw Problem.unauthorized
            }
            return try await session(claims)
        }
        guard let token = cookie.token(in: request) else { throw Problem.unauthorized }
        try cookie.confirmWrite(request)
        guard let session = try await store.panelSession(tokenHash: token.hash) else { throw Problem.unauthorized }
        return session
    }

    /// The database decides, so that whoever logged out or was deactivated is out at once.
    func session(_ claims: AccessToken) async throws -> Session {
        guard let session = try await store.session(claims.sid), "\(session.caller.id)" == claims.sub,
            session.caller.accountID.rawValue == claims.account
        else { throw Problem.unauthorized }
        return session
    }

    func end(_ session: Session) async throws {
        try await store.end(session.id)
    }
}

extension Request {
    /// RFC 6750, section 2.1.
    var bearerToken: String? {
        guard let value = headers[.authorization], value.lowercased().hasPrefix("bearer ") else { return nil }
        return String(value.dropFirst(7).drop { $0 == " " }.prefix { $0 != " " })
    }
}
