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
    let visitors: VisitorAccess
    let keys: APIKeyStore
    let origins: Origins

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

    // MARK: Bridges

    static let keyPrefix = "rxk_"

    /// - Throws: 401.
    func bridge(_ request: Request) async throws -> APIKey {
        guard let token = request.bearerToken.flatMap({ OpaqueToken($0, prefix: Self.keyPrefix) }),
            let key = try await keys.use(tokenHash: token.hash)
        else { throw Problem.unauthorized }
        return key
    }

    // MARK: Streams

    /// Whom a stream is for.
    struct StreamCaller: Sendable {
        enum Reach: Sendable {
            /// Whatever is in the account.
            case account(Account.ID)
            case guest(Guest, of: Account.ID)
            /// One stream, for somebody whom this server has already let in to it.
            case stream(dialog: Dialog.ID?, of: Account.ID)
        }

        let reach: Reach
        let credential: StreamCredential
        var until = NIODeadline.distantFuture
    }

    /// - Parameter doors: by which a visitor may come to this path; none for paths that are only an operator's.
    /// - Throws: 401, 403, 404, 422 as the credentials do; ``Tokens/Failure/expired`` for one that was once ours.
    func streamCaller(
        _ request: Request, _ context: ChatContext, doors: [VisitorDoor], operators: Bool
    ) async throws -> StreamCaller {
        if let token = request.query("stream_token") {
            return try await bearer(
                try await tokens.verifyOrExpired(token, as: StreamToken.self), request, context, operators: operators)
        }
        if operators, let token = request.bearerToken {
            let claims = try await tokens.verifyOrExpired(token, as: AccessToken.self)
            let session = try await sessions.session(claims)
            return StreamCaller(
                reach: .account(session.caller.accountID), credential: .session(session.id), until: .expiry(claims.exp))
        }
        if operators, !doors.contains(where: request.names), sessions.cookie.token(in: request) != nil {
            try origins.confirmOwn(request)
            let session = try await sessions.session(of: request)
            return StreamCaller(reach: .account(session.caller.accountID), credential: .session(session.id))
        }
        for door in doors where request.names(door) {
            let caller = try await visitors.caller(request, at: door, context)
            return StreamCaller(
                reach: .guest(caller.guest, of: caller.assistant.accountID), credential: .visitor(caller.pass))
        }
        throw Problem.unauthorized
    }

    /// A stream token says what was true when it was made; that its subject may still come in is asked again.
    private func bearer(
        _ claims: StreamToken, _ request: Request, _ context: ChatContext, operators: Bool
    ) async throws -> StreamCaller {
        let account = Account.ID(claims.account)
        let credential: StreamCredential
        switch claims.subject {
        case .session(let id):
            guard operators, let session = try await sessions.store.session(id), session.caller.accountID == account
            else { throw Problem.unauthorized }
            credential = .session(id)
        case .visitor(let pass):
            try await visitors.confirm(pass, request, context)
            credential = .visitor(pass)
        case nil: throw Problem.unauthorized
        }
        return StreamCaller(
            reach: .stream(dialog: claims.dialog.map { Dialog.ID($0) }, of: account), credential: credential,
            until: .expiry(claims.exp))
    }

    // MARK: Stream tokens

    func streamToken(for session: Session, dialog: Dialog.ID?) async throws -> (token: String, expiresIn: Int) {
        try await streamToken(.session(session.id), session.caller.accountID, dialog)
    }

    func streamToken(for caller: VisitorCaller, dialog: Dialog.ID) async throws -> (token: String, expiresIn: Int) {
        try await streamToken(.visitor(caller.pass), caller.assistant.accountID, dialog)
    }

    private func streamToken(
        _ subject: StreamCredential, _ account: Account.ID, _ dialog: Dialog.ID?
    ) async throws -> (token: String, expiresIn: Int) {
        let claims = StreamToken(
            for: subject, account: account.rawValue, dialog: dialog?.rawValue,
            exp: Tokens.expiry(in: Tokens.streamLifetime))
        return (try await tokens.sign(claims), Tokens.streamLifetime)
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

extension NIODeadline {
    /// - Parameter seconds: since 1970 by this server's clock, as tokens carry them.
    static func expiry(_ seconds: Int?) -> NIODeadline {
        guard let seconds else { return .distantFuture }
        return .now() + .milliseconds(Int64((Double(seconds) - Date().timeIntervalSince1970) * 1000))
    }
}
