import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// An account's people: who they are, how they come in, and what becomes of their access.
struct OperatorRoutes {
    let access: Access
    let operators: OperatorStore
    let accounts: AccountStore
    let passwords: Passwords
    let gate: LoginGate
    let limits: Limits
    let publicURL: String

    static let linkPrefix = "rxl_"

    func add(to router: RouterGroup<ChatContext>) {
        router.get("operators", use: list)
        router.patch("operators/:id", use: change)
        router.delete("operators/:id", use: deactivate)
        router.post("invitations", use: invite)
        router.post("invitations/accept", use: accept)
        router.post("auth/change-password", use: changePassword)
        router.post("auth/reset-password", use: resetPassword)
    }

    // MARK: People

    private struct Person: Encodable {
        let id: Operator.ID
        let email: String
        let firstName: String
        let role: Operator.Role
        let isActive: Bool
        let createdAt: Timestamp

        init(_ colleague: OperatorStore.Colleague) {
            id = colleague.person.id
            email = colleague.person.email
            firstName = colleague.person.firstName
            role = colleague.person.role
            isActive = colleague.isActive
            createdAt = colleague.person.createdAt
        }
    }

    private struct People: Encodable {
        let items: [Person]
        let hasMore = false
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        return .json(People(items: try await operators.list(in: caller.accountID).map(Person.init)))
    }

    private struct Change: StrictBody {
        let firstName: String?
        let role: String?
        let isActive: Bool?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case firstName = "first_name"
            case role
            case isActive = "is_active"
        }
    }

    @Sendable func change(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let id: Operator.ID = try context.id("id")
        let body = try await request.strictJSON(Change.self)
        let changed = try await operators.change(
            id,
            OperatorStore.Change(
                firstName: try body.firstName.map { try Name.text(optional: $0, field: "first_name") },
                role: try body.role.map { try Self.role($0) }, isActive: body.isActive),
            by: caller, from: context.address)
        return .json(Person(changed))
    }

    @Sendable func deactivate(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        _ = try await operators.change(
            try context.id("id"), OperatorStore.Change(isActive: false), by: caller, from: context.address)
        return Response(status: .noContent)
    }

    private static func role(_ text: String?) throws -> Operator.Role {
        guard let role = text.flatMap(Operator.Role.init) else {
            throw Problem.invalid("role", "One of owner, admin, operator.")
        }
        return role
    }

    // MARK: Coming in

    private struct Invitation: StrictBody {
        let email: String?
        let role: String?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case email, role
        }
    }

    private struct Invited: Encodable {
        let url: String
    }

    @Sendable func invite(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let body = try await request.strictJSON(Invitation.self)
        let token = OpaqueToken.mint(Self.linkPrefix)
        try await operators.invite(
            try Email(body.email).text, as: try Self.role(body.role ?? "operator"), by: caller, tokenHash: token.hash,
            from: context.address)
        // In the fragment, which no browser sends to any server.
        return .json(Invited(url: "\(publicURL)/admin/#invitation=\(token.text)"), status: .created)
    }

    private struct Acceptance: Decodable {
        let token: String?
        let password: String?
        let firstName: String?

        enum CodingKeys: String, CodingKey {
            case token, password
            case firstName = "first_name"
        }
    }

    @Sendable func accept(_ request: Request, context: ChatContext) async throws -> Response {
        let body = try await request.json(Acceptance.self)
        let password = try NewPassword(body.password)
        let firstName = try Name.text(optional: body.firstName, field: "first_name")
        let token = try await link(body.token, for: .invitation, context)
        let person = try await operators.accept(
            tokenHash: token.hash, firstName: firstName, passwordHash: try await passwords.hash(password.text),
            from: context.address)
        return .json(Person(.init(person: person, isActive: true)), status: .created)
    }

    /// Only who comes without a good link is counted: the others behind their address come in.
    private func link(
        _ text: String?, for purpose: OperatorStore.LinkPurpose, _ context: ChatContext
    ) async throws -> OpaqueToken {
        guard let token = text.flatMap({ OpaqueToken($0, prefix: Self.linkPrefix) }),
            try await operators.isGood(purpose, tokenHash: token.hash)
        else {
            try await limits.attempt(context)
            throw OperatorStore.Refused.linkOver
        }
        return token
    }

    // MARK: Passwords

    private struct PasswordChange: StrictBody {
        let oldPassword: String?
        let newPassword: String?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case oldPassword = "old_password"
            case newPassword = "new_password"
        }
    }

    /// Ends all sessions but the one that it is done in.
    @Sendable func changePassword(_ request: Request, context: ChatContext) async throws -> Response {
        let session = try await access.operatorSession(request)
        let body = try await request.strictJSON(PasswordChange.self)
        let password = try NewPassword(body.newPassword)
        guard let old = body.oldPassword, old.utf8.count <= NewPassword.limit,
            let known = try await accounts.credentials(email: session.caller.email),
            // Whoever found a panel open may guess no faster than at the door.
            try await gate.guess(
                known.gateName, device: nil, context, isKnown: true,
                { try await passwords.verify(old, against: known.passwordHash) })
        else { throw Problem(.forbidden, "password_wrong", "The old password is wrong.") }
        try await operators.setPassword(
            try await passwords.hash(password.text), of: session.caller, keeping: session.id.uuidString,
            from: context.address)
        return Response(status: .noContent)
    }

    private struct Reset: Decodable {
        let token: String?
        let password: String?
    }

    /// With the one-time link that whoever runs the server made (`replyx operator reset`).
    @Sendable func resetPassword(_ request: Request, context: ChatContext) async throws -> Response {
        let body = try await request.json(Reset.self)
        let password = try NewPassword(body.password)
        let token = try await link(body.token, for: .reset, context)
        try await operators.reset(
            tokenHash: token.hash, passwordHash: try await passwords.hash(password.text), from: context.address)
        return Response(status: .noContent)
    }
}
