import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Registering, logging in, and who one is.
struct AccountRoutes {
    let access: Access
    let accounts: AccountStore
    let passwords: Passwords
    let sessions: OperatorSessions
    let gate: LoginGate
    let limits: Limits
    /// Lets the first account be made by whoever runs the server, and nobody else.
    let setupCode: String

    func add(to router: RouterGroup<ChatContext>) {
        router.post("register", use: register)
        router.post("login", use: login)
        router.post("refresh-token", use: refresh)
        router.post("logout", use: logout)
        router.get("me", use: me)
        router.get("security-events", use: securityEvents)
    }

    // MARK: Registering

    private struct Registration: Decodable {
        let setupCode: String?
        let email: String?
        let password: String?
        let firstName: String?
        let accountName: String?

        enum CodingKeys: String, CodingKey {
            case setupCode = "setup_code"
            case email, password
            case firstName = "first_name"
            case accountName = "account_name"
        }
    }

    @Sendable func register(_ request: Request, context: ChatContext) async throws -> Response {
        let body = try await request.json(Registration.self)
        let email = try Email(body.email)
        let password = try NewPassword(body.password)
        // Only the first account for now: an open registration is a setting that does not exist yet.
        try await limits.attempt(context)
        guard try await accounts.isEmpty() else {
            throw Problem(.forbidden, "registration_closed", "This server takes no new accounts.")
        }
        guard let code = body.setupCode, Array(code.utf8).isEqualInConstantTime(to: Array(setupCode.utf8)) else {
            throw Problem(.forbidden, "setup_code_wrong", "The setup code is the one that the server printed.")
        }
        let name = try Name(body.accountName ?? String(email.text.prefix(200)), field: "account_name")
        let owner = try await accounts.create(
            name: name.text, email: email.text, firstName: try Name.text(optional: body.firstName, field: "first_name"),
            passwordHash: try await passwords.hash(password.text), onlyFirst: true)
        guard let owner else { throw Problem(.forbidden, "registration_closed", "This server takes no new accounts.") }
        return .json(Me(owner), status: .created)
    }

    // MARK: Logging in

    private struct Login: Decodable {
        let username: String?
        let password: String?
        /// A cookie for the panel instead of tokens for a program.
        let session: Bool?
    }

    private struct Granted: Encodable {
        let accessToken: String
        let refreshToken: String
        let tokenType = "bearer"
        let expiresIn: Int

        init(_ granted: OperatorSessions.Granted) {
            accessToken = granted.access
            refreshToken = granted.refresh
            expiresIn = granted.expiresIn
        }
    }

    @Sendable func login(_ request: Request, context: ChatContext) async throws -> Response {
        let login = try await readLogin(request, context)
        // A login that sets a cookie is a write like those that use it: nobody is logged in by another site.
        if login.session == true { try sessions.cookie.confirmWrite(request) }
        guard let username = login.username, let password = login.password, username.utf8.count <= 254,
            password.utf8.count <= NewPassword.limit
        else { throw Problem.invalid("username", "An address and a password are needed.") }
        let wrong = Problem(.unauthorized, "login_wrong", "The address or the password is wrong.")
        let named = try await known(username)
        // Read again when its turn has come: the password may have been changed while this one waited.
        var checked: AccountStore.Credentials?
        let isRight = try await gate.guess(
            named?.gateName ?? username, device: sessions.cookie.device(in: request), context
        ) {
            checked = try await known(username)
            guard let checked else {
                try await passwords.pretend(password)
                return false
            }
            return try await passwords.verify(password, against: checked.passwordHash)
        }
        guard isRight else {
            recordWrong(checked, context)
            throw wrong
        }
        guard let checked, checked.isActive, let caller = try await accounts.activeOperator(checked.operatorID),
            let response = try await begin(login, for: caller, checked)
        else { throw wrong }
        try await accounts.record(event("login", by: .operator(caller.id), checked, context))
        if Passwords.isOutdated(checked.passwordHash) {
            try await accounts.replacePasswordHash(
                checked.passwordHash, with: try await passwords.hash(password), of: caller.id)
        }
        return response
    }

    private func known(_ username: String) async throws -> AccountStore.Credentials? {
        username.utf8.contains(0) ? nil : try await accounts.credentials(email: username)
    }

    private func begin(
        _ login: Login, for caller: Operator, _ checked: AccountStore.Credentials
    ) async throws -> Response? {
        guard login.session == true else {
            return try await sessions.beginProgram(for: caller, checkedAgainst: checked.passwordHash).map {
                .json(Granted($0))
            }
        }
        guard let cookie = try await sessions.beginPanel(for: caller, checkedAgainst: checked.passwordHash) else {
            return nil
        }
        var response = Response.json(Me(caller))
        response.headers[.setCookie] = cookie
        response.headers[values: .setCookie].append(
            sessions.cookie.settingDevice(gate.newDevice(for: checked.gateName)))
        return response
    }

    private func event(
        _ action: String, by actor: SecurityEvent.Actor, _ person: AccountStore.Credentials, _ context: ChatContext
    ) -> SecurityEvent {
        SecurityEvent(
            account: person.accountID, actor: actor, action: action, subject: "operator:\(person.operatorID)",
            address: context.address)
    }

    /// Not structured, on purpose: the time of the answer must not tell whether there was somebody to record it of.
    /// No more of these than there are checks of passwords, which take longer.
    private func recordWrong(_ person: AccountStore.Credentials?, _ context: ChatContext) {
        guard let person else { return }
        let event = event("login_wrong", by: .anonymous, person, context)
        Task { [accounts] in try await accounts.record(event) }
    }

    private struct Refresh: Decodable {
        let refreshToken: String?

        enum CodingKeys: String, CodingKey {
            case refreshToken = "refresh_token"
        }
    }

    @Sendable func refresh(_ request: Request, context: ChatContext) async throws -> Response {
        guard let token = try await request.json(Refresh.self).refreshToken else {
            throw Problem.invalid("refresh_token", "The refresh token is needed.")
        }
        return .json(Granted(try await sessions.refresh(token, from: context.address, record: accounts.record)))
    }

    @Sendable func logout(_ request: Request, context: ChatContext) async throws -> Response {
        try await sessions.end(try await access.operatorSession(request))
        return Response(status: .noContent, headers: [.setCookie: sessions.cookie.removing])
    }

    private func readLogin(_ request: Request, _ context: ChatContext) async throws -> Login {
        guard request.headers[.contentType]?.mediaType == "application/x-www-form-urlencoded" else {
            return try await request.json(Login.self)
        }
        let bytes = try await request.body.collect(upTo: 8 * 1024)
        do {
            return try URLEncodedFormDecoder().decode(Login.self, from: String(buffer: bytes))
        } catch {
            throw Problem(.badRequest, "malformed_form", "The body is no form.")
        }
    }

    // MARK: Me

    private struct Me: Encodable {
        let id: Operator.ID
        let accountID: Account.ID
        let email: String
        let firstName: String
        let role: Operator.Role
        let createdAt: Timestamp

        init(_ caller: Operator) {
            id = caller.id
            accountID = caller.accountID
            email = caller.email
            firstName = caller.firstName
            role = caller.role
            createdAt = caller.createdAt
        }
    }

    @Sendable func me(_ request: Request, context: ChatContext) async throws -> Response {
        .json(Me(try await access.operatorCaller(request)))
    }

    // MARK: What was done to whose access

    private struct Event: Encodable {
        let id: Int64
        let actor: String
        let action: String
        let subject: String
        let address: String
        let at: Timestamp
    }

    private struct Events: Encodable {
        let items: [Event]
        let nextCursor: String?
        let hasMore: Bool
    }

    @Sendable func securityEvents(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let limit = try request.number("limit", in: 1...100, default: 50)
        let before = try request.query("cursor").map { text in
            guard let id = Int64(text) else { throw Problem.invalid("cursor", "The next_cursor of an earlier page.") }
            return id
        }
        let found = try await accounts.securityEvents(of: caller.accountID, before: before, limit: limit + 1)
        let items = found.prefix(limit).map {
            Event(id: $0.id, actor: $0.actor, action: $0.action, subject: $0.subject, address: $0.address, at: $0.at)
        }
        let hasMore = found.count > limit
        return .json(
            Events(items: items, nextCursor: hasMore ? items.last.map { "\($0.id)" } : nil, hasMore: hasMore))
    }
}
