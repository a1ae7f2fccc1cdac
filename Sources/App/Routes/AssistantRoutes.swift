import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Assistants of the operator's account.
struct AssistantRoutes {
    let access: Access
    let assistants: AssistantStore
    let tokens: Tokens
    let publicURL: String

    func add(to router: RouterGroup<ChatContext>) {
        router.get("assistants", use: list)
        router.post("assistants", use: create)
        router.get("assistants/:id", use: read)
        router.get("assistants/:id/embed-code", use: embedCode)
    }

    // MARK: Creating

    private struct NewAssistant: StrictBody {
        static let fields: Set = [
            "name", "ai_model", "answerer", "system_prompt", "locale", "is_active", "guest_access", "allowed_domains",
            "operator_name", "business_name", "avatar_url", "widget_theme",
        ]
        let name: String?
        let ai_model: String?
        let answerer: String?
        let system_prompt: String?
        let locale: String?
        let is_active: Bool?
        let guest_access: Bool?
        let allowed_domains: [String]?
        let operator_name: String?
        let business_name: String?
        let avatar_url: String?
        let widget_theme: String?

        func profile() throws -> Assistant.Profile {
            var profile = Assistant.Profile(name: try Name(name, field: "name").text)
            profile.aiModel = try Name.text(optional: ai_model, field: "ai_model")
            profile.answerer = try Self.parse(answerer, "answerer") ?? profile.answerer
            profile.locale = try Self.parse(locale, "locale") ?? profile.locale
            if let system_prompt, !system_prompt.isEmpty {
                guard let draft = try? Draft(system_prompt) else {
                    throw Problem.invalid("system_prompt", "At most \(Draft.limit) characters.")
                }
                profile.systemPrompt = draft.text
            }
            profile.isActive = is_active ?? profile.isActive
            profile.guestAccess = guest_access ?? profile.guestAccess
            profile.allowedDomains = try (allowed_domains ?? []).map(Self.domain)
            guard profile.allowedDomains.count <= 100 else {
                throw Problem.invalid("allowed_domains", "At most 100 domains.")
            }
            profile.operatorName = try Name.text(optional: operator_name, field: "operator_name")
            profile.businessName = try Name.text(optional: business_name, field: "business_name")
            profile.avatarURL = try Self.url(avatar_url, "avatar_url")
            profile.widgetTheme = try Name(widget_theme ?? profile.widgetTheme, field: "widget_theme", limit: 40).text
            return profile
        }

        private static func parse<Value: RawRepresentable & CaseIterable>(
            _ text: String?, _ field: String
        ) throws -> Value? where Value.RawValue == String {
            guard let text else { return nil }
            guard let value = Value(rawValue: text) else {
                let allowed = Value.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem.invalid(field, "One of: \(allowed).")
            }
            return value
        }

        /// A host name, in lower case: `example.com`, `shop.example.com`, `localhost`.
        private static func domain(_ text: String) throws -> String {
            let host = text.lowercased()
            let isHost = host.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                    UInt8(ascii: "."):
                    true
                default: false
                }
            }
            guard isHost, (1...253).contains(host.utf8.count), !host.hasPrefix("."), !host.hasSuffix("."),
                !host.contains("..")
            else { throw Problem.invalid("allowed_domains", "Host names only, without scheme, port or path.") }
            return host
        }

        private static func url(_ text: String?, _ field: String) throws -> String {
            guard let text, !text.isEmpty else { return "" }
            guard text.utf8.count <= 2000, text.hasPrefix("https://") || text.hasPrefix("http://"),
                text.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value < 127 })
            else { throw Problem.invalid(field, "An http or https address.") }
            return text
        }
    }

    @Sendable func create(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        guard caller.role != .operator else {
            throw Problem(.forbidden, "role_too_low", "Only owners and admins make assistants.")
        }
        let profile = try await request.strictJSON(NewAssistant.self).profile()
        return .json(AssistantBody(try await assistants.create(profile, in: caller.accountID)), status: .created)
    }

    // MARK: Reading

    private struct List: Encodable {
        let items: [AssistantBody]
        let next_cursor: String?
        let has_more: Bool
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let limit = try request.number("limit", in: 1...100, default: 50)
        let after = try request.query("cursor").map { text in
            guard let id = Int64(text) else { throw Problem.invalid("cursor", "The next_cursor of an earlier page.") }
            return Assistant.ID(id)
        }
        let found = try await assistants.list(in: caller.accountID, after: after, limit: limit + 1)
        let items = found.prefix(limit)
        let hasMore = found.count > limit
        return .json(
            List(
                items: items.map(AssistantBody.init), next_cursor: hasMore ? items.last.map { "\($0.id)" } : nil,
                has_more: hasMore))
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
        let embed_code: String
        let token: String
        let allowed_domains: [String]
        let note: String?
    }

    @Sendable func embedCode(_ request: Request, context: ChatContext) async throws -> Response {
        let assistant = try await ownAssistant(request, context)
        let token = try await tokens.sign(assistant.siteToken)
        let domains = assistant.profile.allowedDomains
        return .json(
            EmbedCode(
                embed_code: #"<script async src="\#(publicURL)/widget.js" data-site-token="\#(token)"></script>"#,
                token: token, allowed_domains: domains,
                note: domains.isEmpty ? "No domain is allowed yet: only this server's own pages may embed it." : nil))
    }
}

extension Assistant {
    /// The same for as long as nothing changes that it names.
    var siteToken: SiteToken {
        SiteToken(assistantID: id.rawValue, domains: profile.allowedDomains, version: tokenVersion)
    }
}

/// An assistant on the wire.
private struct AssistantBody: Encodable {
    let assistant: Assistant

    init(_ assistant: Assistant) {
        self.assistant = assistant
    }

    private enum CodingKeys: String, CodingKey {
        case id, name, ai_model, answerer, system_prompt, locale, is_active, guest_access, allowed_domains
        case operator_name, business_name, avatar_url, widget_theme, created_at, updated_at
    }

    func encode(to encoder: any Encoder) throws {
        let profile = assistant.profile
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(assistant.id, forKey: .id)
        try container.encode(profile.name, forKey: .name)
        try container.encode(profile.aiModel, forKey: .ai_model)
        try container.encode(profile.answerer, forKey: .answerer)
        try container.encode(profile.systemPrompt, forKey: .system_prompt)
        try container.encode(profile.locale, forKey: .locale)
        try container.encode(profile.isActive, forKey: .is_active)
        try container.encode(profile.guestAccess, forKey: .guest_access)
        try container.encode(profile.allowedDomains, forKey: .allowed_domains)
        try container.encode(profile.operatorName, forKey: .operator_name)
        try container.encode(profile.businessName, forKey: .business_name)
        try container.encode(profile.avatarURL, forKey: .avatar_url)
        try container.encode(profile.widgetTheme, forKey: .widget_theme)
        try container.encode(assistant.createdAt, forKey: .created_at)
        try container.encode(assistant.updatedAt, forKey: .updated_at)
    }
}
