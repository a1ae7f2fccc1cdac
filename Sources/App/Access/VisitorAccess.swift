import Domain
import HTTPTypes
import Hummingbird
import Persistence

/// Visitors and their pages: which assistant they come to, which guest they are, and whether they may.
struct VisitorAccess: Sendable {
    let tokens: Tokens
    let directory: AssistantDirectory
    let assistants: AssistantStore
    let origins: Origins
    let box: SecretBox
    let limits: Limits

    /// - Throws: 401; 403 for a page that is none of the assistant's, a blocked visitor, or where nobody is let in by
    ///   the number; 404 for a number that is no assistant's; 422 for a guest id that cannot be one.
    func caller(_ request: Request, at door: VisitorDoor, _ context: ChatContext) async throws -> VisitorCaller {
        guard let secret = try guestSecret(request) else { throw Problem.unauthorized }
        return try await caller(request, at: door, as: secret, context)
    }

    /// The same for a guest who is already known by their secret, or who has just been given one.
    func caller(
        _ request: Request, at door: VisitorDoor, as secret: GuestSecret, _ context: ChatContext
    ) async throws -> VisitorCaller {
        let (id, passDoor) = try await named(request, door)
        let guest = secret.guest(of: id)
        let pass = VisitorPass(assistantID: id, door: passDoor, guest: guest.mark)
        return VisitorCaller(assistant: try await confirm(pass, request, context), guest: guest, pass: pass)
    }

    func guestSecret(_ request: Request) throws -> GuestSecret? {
        guard let text = request.headers[.guestID] ?? request.query("guest_id"), !text.isEmpty else { return nil }
        guard let secret = GuestSecret(text) else {
            throw Problem.invalid("guest_id", "A UUID or at least 22 characters of base64url are needed.")
        }
        return secret
    }

    private func named(_ request: Request, _ door: VisitorDoor) async throws -> (Assistant.ID, VisitorPass.Door) {
        switch door {
        case .site:
            guard let token = request.headers[.siteToken] ?? request.query("site_token"),
                let claims = try? await tokens.verify(token, as: SiteToken.self)
            else { throw Problem.unauthorized }
            return (Assistant.ID(claims.assistantID), .site(version: claims.version))
        case .widget:
            guard let text = request.query("assistant_id") else { throw Problem.unauthorized }
            guard let id = Int64(text) else { throw Problem.notFound }
            return (Assistant.ID(id), .number)
        }
    }

    /// Asks the database, or what it said seconds ago, and the browser's word for the page.
    @discardableResult
    func confirm(_ pass: VisitorPass, _ request: Request, _ context: ChatContext) async throws -> Assistant {
        // Guessed numbers would each ask the database.
        if !directory.remembers(pass.assistantID) { try await limits.lookUp(context) }
        // The page first: one that may ask may also read why its visitor is refused.
        let assistant = try await admit(pass) { try origins.confirm(request, for: $0, context) }
        try await limits.request(of: pass, context)
        return assistant
    }

    private func admit(
        _ pass: VisitorPass, from confirmPage: (Assistant) throws -> Void = { _ in }
    ) async throws -> Assistant {
        let isByNumber = pass.door == .number
        guard let known = try await directory.find(pass.assistantID) else {
            throw isByNumber ? Problem.notFound : Problem.unauthorized
        }
        try confirmPage(known.assistant)
        do {
            try known.entrance.admit(pass)
        } catch {
            switch error {
            case .closed: throw isByNumber ? Problem.notFound : Problem.unauthorized
            case .revoked: throw Problem.unauthorized
            case .numberOff: throw Problem.guestAccessOff
            case .blocked: throw Problem(.forbidden, "blocked", "This chat is closed for you.")
            }
        }
        return known.assistant
    }

    /// The assistant of a site token that is good now, for what its page may know before anybody speaks.
    func assistant(siteToken token: String) async throws -> Assistant? {
        guard let claims = try? await tokens.verify(token, as: SiteToken.self) else { return nil }
        let pass = VisitorPass(
            assistantID: Assistant.ID(claims.assistantID), door: .site(version: claims.version), guest: nil)
        do {
            return try await admit(pass)
        } catch is Problem {
            return nil
        }
    }

    // MARK: Identity

    /// Who the customer's site says that the visitor is; `nil` where it says nothing.
    /// - Throws: 401 for a word that is not the site's, or too old.
    func identity(_ request: Request, at assistant: Assistant) async throws -> Visitor? {
        guard let token = request.headers[.identity] else { return nil }
        guard let sealed = try await assistants.identitySecret(of: assistant.id),
            let secret = try? box.open(sealed, for: .identity(assistant.id)),
            let identity = await IdentityToken.verified(token, secret: secret)
        else {
            throw Problem(
                .unauthorized, "identity_invalid", "X-Identity is not signed for this assistant, or is too old.")
        }
        return identity
    }
}

extension HTTPField.Name {
    static let siteToken = HTTPField.Name("X-Site-Token")!
    static let guestID = HTTPField.Name("X-Guest-Id")!
    static let identity = HTTPField.Name("X-Identity")!
}
