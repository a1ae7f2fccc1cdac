import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import Persistence

/// Who asks. The only door from a request to a caller; what is behind it trusts what comes out.
struct Access: Sendable {
    let tokens: Tokens
    let sessions: OperatorSessions
    let assistants: AssistantDirectory

    // MARK: Operators

    /// - Throws: 401; 403 for a role below the one that is needed, or a write with the cookie from another site.
    func operatorCaller(_ request: Request, atLeast role: Operator.Role = .operator) async throws -> Operator {
        try await operatorSession(request, atLeast: role).caller
    }

    func operatorSession(_ request: Request, atLeast role: Operator.Role = .operator) async throws -> Session {
        let session = try await sessions.session(of: request)
        guard session.caller.role.covers(role) else { throw Problem.roleTooLow }
        return session
    }

    // MARK: Visitors

    /// - Throws: 401; 403 where the assistant lets nobody in by its number; 422 for a guest id that cannot be one.
    func visitor(_ request: Request, at door: VisitorDoor) async throws -> VisitorCaller {
        guard let secret = try guestSecret(request) else { throw Problem.unauthorized }
        let assistant = try await assistant(request, at: door)
        return VisitorCaller(assistant: assistant, guest: secret.guest(of: assistant.id))
    }

    func guestSecret(_ request: Request) throws -> GuestSecret? {
        guard let text = request.headers[.guestID] ?? request.query("guest_id"), !text.isEmpty else { return nil }
        guard let secret = GuestSecret(text) else {
            throw Problem.invalid("guest_id", "A UUID or at least 22 characters of base64url are needed.")
        }
        return secret
    }

    func assistant(_ request: Request, at door: VisitorDoor) async throws -> Assistant {
        switch door {
        case .site:
            guard let token = request.headers[.siteToken] ?? request.query("site_token") else {
                throw Problem.unauthorized
            }
            let claims: SiteToken = try await verified(token)
            guard let assistant = try await assistants.active(Identifier(claims.assistantID)),
                assistant.tokenVersion == claims.version
            else { throw Problem.unauthorized }
            return assistant
        case .widget:
            guard let text = request.query("assistant_id") else { throw Problem.unauthorized }
            guard let id = Int64(text), let assistant = try await assistants.active(Identifier(id)) else {
                throw Problem.notFound
            }
            guard assistant.profile.guestAccess else { throw Problem.guestAccessOff }
            return assistant
        }
    }

    // MARK: Streams

    /// Whom a stream is for.
    enum StreamCaller: Sendable {
        case `operator`(Operator, until: NIODeadline)
        case visitor(VisitorCaller)
        /// Somebody whom this server has already let in to this one stream.
        case bearer(StreamToken)
    }

    /// - Parameter doors: by which a visitor may come to this path; none for paths that are only an operator's.
    /// - Throws: 401, 403, 404, 422 as the credentials do; ``Tokens/Failure/expired`` for one that was once ours.
    func streamCaller(_ request: Request, doors: [VisitorDoor], operators: Bool) async throws -> StreamCaller {
        if let token = request.query("stream_token") {
            let claims = try await verifiedOrExpired(token, as: StreamToken.self)
            try await confirm(claims)
            return .bearer(claims)
        }
        if operators, let token = request.bearerToken {
            let claims = try await verifiedOrExpired(token, as: AccessToken.self)
            return .operator(try await sessions.session(claims).caller, until: .expiry(claims.exp))
        }
        if operators, !doors.contains(where: request.names), sessions.cookie.token(in: request) != nil {
            return .operator(try await sessions.session(of: request).caller, until: .distantFuture)
        }
        for door in doors where request.names(door) { return .visitor(try await visitor(request, at: door)) }
        throw Problem.unauthorized
    }

    /// A stream token says what was true when it was made; that its subject may still come in is asked again.
    private func confirm(_ claims: StreamToken) async throws {
        let parts = claims.sub.split(separator: ":")
        guard parts.count == 2, let id = Int64(parts[1]) else { throw Problem.unauthorized }
        guard let door = VisitorDoor(rawValue: String(parts[0])) else {
            guard parts[0] == "operator", let sid = claims.sid, let session = try await sessions.store.session(sid),
                session.caller.id.rawValue == id, session.caller.accountID.rawValue == claims.account
            else { throw Problem.unauthorized }
            return
        }
        guard let assistant = try await assistants.active(Identifier(id)), assistant.tokenVersion == claims.version,
            door == .site || assistant.profile.guestAccess
        else { throw Problem.unauthorized }
    }

    func streamToken(for session: Session, dialog: Dialog.ID?) async throws -> (token: String, expiresIn: Int) {
        let caller = session.caller
        return try await streamToken("operator:\(caller.id)", session.id, version: nil, caller.accountID, dialog)
    }

    func streamToken(
        for caller: VisitorCaller, at door: VisitorDoor, dialog: Dialog.ID
    ) async throws -> (token: String, expiresIn: Int) {
        let assistant = caller.assistant
        return try await streamToken(
            "\(door.rawValue):\(assistant.id)", nil, version: assistant.tokenVersion, assistant.accountID, dialog)
    }

    private func streamToken(
        _ subject: String, _ session: UUID?, version: Int?, _ account: Account.ID, _ dialog: Dialog.ID?
    ) async throws -> (token: String, expiresIn: Int) {
        let claims = StreamToken(
            sub: subject, sid: session, version: version, account: account.rawValue, dialog: dialog?.rawValue,
            exp: Tokens.expiry(in: Tokens.streamLifetime))
        return (try await tokens.sign(claims), Tokens.streamLifetime)
    }

    // MARK: Tokens

    private func verified<Token: Claims>(_ token: String) async throws -> Token {
        do {
            return try await tokens.verify(token, as: Token.self)
        } catch is Tokens.Failure {
            throw Problem.unauthorized
        }
    }

    private func verifiedOrExpired<Token: Claims>(_ token: String, as type: Token.Type) async throws -> Token {
        do {
            return try await tokens.verify(token, as: type)
        } catch Tokens.Failure.invalid {
            throw Problem.unauthorized
        }
    }
}

extension Request {
    fileprivate func names(_ door: VisitorDoor) -> Bool {
        switch door {
        case .site: headers[.siteToken] != nil || query("site_token") != nil
        case .widget: query("assistant_id") != nil
        }
    }
}

extension HTTPField.Name {
    static let siteToken = HTTPField.Name("X-Site-Token")!
    static let guestID = HTTPField.Name("X-Guest-Id")!
}

extension NIODeadline {
    /// - Parameter seconds: since 1970 by this server's clock, as tokens carry them.
    static func expiry(_ seconds: Int?) -> NIODeadline {
        guard let seconds else { return .distantFuture }
        return .now() + .milliseconds(Int64((Double(seconds) - Date().timeIntervalSince1970) * 1000))
    }
}
