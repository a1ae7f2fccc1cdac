import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Assistants of the operator's account, and how sites embed them.
struct AssistantRoutes {
    let access: Access
    let assistants: AssistantStore
    let tokens: Tokens
    let box: SecretBox
    let publicURL: String

    func add(to router: RouterGroup<ChatContext>) {
        router.get("assistants", use: list)
        router.post("assistants", use: create)
        router.get("assistants/:id", use: read)
        router.patch("assistants/:id", use: change)
        router.delete("assistants/:id", use: delete)
        router.get("assistants/:id/embed-code", use: embedCode)
        router.post("assistants/:id/revoke-tokens", use: revokeTokens)
        router.post("assistants/:id/identity-secret", use: newIdentitySecret)
        router.post("widget-config", use: widgetConfig)
    }

    // MARK: Making and changing

    @Sendable func create(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let profile = try await request.strictJSON(AssistantFields.self).newProfile()
        let assistant = try await assistants.create(profile, in: caller.accountID) { id in
            SecurityEvent(
                account: caller.accountID, actor: .operator(caller.id), action: "assistant_created",
                subject: "assistant:\(id)", address: context.address)
        }
        return .json(AssistantBody(assistant), status: .created)
    }

    @Sendable func change(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let fields = try await request.strictJSON(AssistantFields.self)
        let changed = try await assistants.change(try context.id("id"), by: caller, from: context.address) {
            try fields.apply(to: &$0)
        }
        guard let changed else { throw Problem.notFound }
        return .json(AssistantBody(changed))
    }

    @Sendable func delete(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        guard try await assistants.delete(try context.id("id"), by: caller, from: context.address) else {
            throw Problem.notFound
        }
        return Response(status: .noContent)
    }

    // MARK: Reading

    private struct List: Encodable {
        let items: [AssistantBody]
        let nextCursor: String?
        let hasMore: Bool
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let page = try request.page(Assistant.self)
        let found = try await assistants.list(in: caller.accountID, after: page.after, limit: page.limit + 1)
        let items = found.prefix(page.limit)
        let hasMore = found.count > page.limit
        return .json(
            List(
                items: items.map(AssistantBody.init), nextCursor: hasMore ? items.last.map { "\($0.id)" } : nil,
                hasMore: hasMore))
    }

    @Sendable func read(_ request: Request, context: ChatContext) async throws -> Response {
        .json(AssistantBody(try await ownAssistant(request, context)))
    }

    private func ownAssistant(_ request: Request, _ context: ChatContext) async throws -> Assistant {
        let caller = try await access.operatorCaller(request)
        let id: Assistant.ID = try context.id("id")
        guard let assistant = try await assistants.find(id, in: caller.accountID) else { throw Problem.notFound }
        return assistant
    }

    // MARK: Embedding

    private struct EmbedCode: Encodable {
        let embedCode: String
        let token: String
        let allowedDomains: [String]
        let note: String?
    }

    @Sendable func embedCode(_ request: Request, context: ChatContext) async throws -> Response {
        let assistant = try await ownAssistant(request, context)
        let (code, token) = try await embedding(assistant)
        let domains = assistant.profile.allowedDomains
        return .json(
            EmbedCode(
                embedCode: code, token: token, allowedDomains: domains,
                note: domains.isEmpty ? "No domain is allowed yet: only this server's own pages may embed it." : nil))
    }

    private func embedding(_ assistant: Assistant) async throws -> (code: String, token: String) {
        let token = try await tokens.sign(assistant.siteToken)
        return (#"<script async src="\#(publicURL)/widget.js" data-site-token="\#(token)"></script>"#, token)
    }

    private struct Revocation: StrictBody {
        let graceHours: Int?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case graceHours = "grace_hours"
        }
    }

    private struct Revoked: Encodable {
        let tokenVersion: Int
        let embedCode: String
        let token: String
    }

    @Sendable func revokeTokens(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let hours = try await request.strictJSON(Revocation.self).graceHours ?? 0
        guard (0...168).contains(hours) else { throw Problem.invalid("grace_hours", "0 to 168 hours.") }
        let revoked = try await assistants.revokeTokens(
            of: try context.id("id"), graceHours: hours, by: caller, from: context.address)
        guard let revoked else { throw Problem.notFound }
        let (code, token) = try await embedding(revoked)
        return .json(Revoked(tokenVersion: revoked.tokenVersion, embedCode: code, token: token))
    }

    private struct IdentitySecret: Encodable {
        let identitySecret: String
    }

    /// What the customer's site signs its visitors' identities with. Shown once; the one before is over.
    @Sendable func newIdentitySecret(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let id: Assistant.ID = try context.id("id")
        let secret = OpaqueToken.mint("rxi_")
        let isSet = try await assistants.setIdentitySecret(
            try box.seal(secret.text, for: .identity(id)), of: id, by: caller, from: context.address)
        guard isSet else { throw Problem.notFound }
        return .json(IdentitySecret(identitySecret: secret.text), status: .created)
    }

    // MARK: The widget's looks

    private struct SiteTokenBody: Decodable {
        let token: String?
    }

    private struct WidgetConfig: JSONWritable {
        let assistant: Assistant

        func write(to json: inout String) {
            let profile = assistant.profile
            var object = JSONObject()
            object.add("operator_name", profile.operatorName)
            object.add("business_name", profile.businessName)
            object.add("avatar_url", profile.avatarURL)
            object.add("widget_theme", profile.widgetTheme)
            object.add("widget_settings", Written(profile.widgetSettings))
            object.add("locale", profile.locale.rawValue)
            object.add("assistant_id", assistant.id)
            json += object.finished()
        }
    }

    @Sendable func widgetConfig(_ request: Request, context: ChatContext) async throws -> Response {
        let token = try await request.json(SiteTokenBody.self).token
        guard let token, let assistant = try await access.visitors.assistant(siteToken: token) else {
            throw Problem(.forbidden, "site_token_invalid", "The token is not one of ours, or was revoked.")
        }
        try access.origins.confirm(request, for: assistant, context)
        var body = JSONObject()
        body.add("config", WidgetConfig(assistant: assistant))
        return .json(written: body.finished())
    }
}

extension Assistant {
    /// The same for as long as nothing changes that it names.
    var siteToken: SiteToken {
        SiteToken(assistantID: id.rawValue, domains: profile.allowedDomains, version: tokenVersion)
    }
}
