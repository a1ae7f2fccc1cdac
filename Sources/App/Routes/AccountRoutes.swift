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
    let tokens: Tokens
    /// Lets the first account be made by whoever runs the server, and nobody else.
    let setupCode: String

    func add(to router: RouterGroup<ChatContext>) {
        router.post("register", use: register)
        router.post("login", use: login)
        router.get("me", use: me)
    }

    // MARK: Registering

    private struct Registration: Decodable {
        let setup_code: String?
        let email: String?
        let password: String?
        let first_name: String?
        let account_name: String?
    }

    @Sendable func register(_ request: Request, context: ChatContext) async throws -> Response {
        let body = try await request.json(Registration.self)
        let email = try Email(body.email)
        let password = try NewPassword(body.password)
        // Only the first account for now: an open registration is a setting that does not exist yet.
        guard try await accounts.isEmpty() else {
            throw Problem(.forbidden, "registration_closed", "This server takes no new accounts.")
        }
        guard let code = body.setup_code, Array(code.utf8).isEqualInConstantTime(to: Array(setupCode.utf8)) else {
            throw Problem(.forbidden, "setup_code_wrong", "The setup code is the one that the server printed.")
        }
        let name = try Name(body.account_name ?? email.text, field: "account_name")
        let owner = try await accounts.create(
            name: name.text, email: email.text, firstName: try Name.text(optional: body.first_name, field: "first_name"),
            passwordHash: try await passwords.hash(password.text), onlyFirst: true)
        guard let owner else { throw Problem(.forbidden, "registration_closed", "This server takes no new accounts.") }
        return .json(Me(owner), status: .created)
    }

    // MARK: Logging in

    private struct Login: Decodable {
        let username: String?
        let password: String?
    }

    private struct Granted: Encodable {
        let access_token: String
        let token_type = "bearer"
        let expires_in: Int
    }

    @Sendable func login(_ request: Request, context: ChatContext) async throws -> Response {
        let login = try await readLogin(request, context)
        guard let username = login.username, let password = login.password, username.utf8.count <= 254,
            password.utf8.count <= NewPassword.limit
        else { throw Problem.invalid("username", "An address and a password are needed.") }
        let wrong = Problem(.unauthorized, "login_wrong", "The address or the password is wrong.")
        guard !username.utf8.contains(0), let known = try await accounts.credentials(email: username) else {
            try await passwords.pretend(password)
            throw wrong
        }
        guard try await passwords.verify(password, against: known.passwordHash), known.isActive,
            let caller = try await accounts.activeOperator(known.operatorID)
        else { throw wrong }
        let claims = AccessToken(
            sub: "\(caller.id)", account: caller.accountID.rawValue, role: caller.role.rawValue,
            iat: Tokens.expiry(in: 0), exp: Tokens.expiry(in: Tokens.accessLifetime))
        return .json(Granted(access_token: try await tokens.sign(claims), expires_in: Tokens.accessLifetime))
    }

    private func readLogin(_ request: Request, _ context: ChatContext) async throws -> Login {
        guard request.headers[.contentType]?.lowercased().hasPrefix("application/x-www-form-urlencoded") ?? false else {
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
        let account_id: Account.ID
        let email: String
        let first_name: String
        let role: Operator.Role
        let created_at: Timestamp

        init(_ caller: Operator) {
            id = caller.id
            account_id = caller.accountID
            email = caller.email
            first_name = caller.firstName
            role = caller.role
            created_at = caller.createdAt
        }
    }

    @Sendable func me(_ request: Request, context: ChatContext) async throws -> Response {
        .json(Me(try await access.operatorCaller(request)))
    }
}
