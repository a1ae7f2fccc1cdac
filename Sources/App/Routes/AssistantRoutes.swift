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
        let name: String?
        let aiModel: String?
        let answerer: String?
        let systemPrompt: String?
        let locale: String?
        let isActive: Bool?
        let guestAccess: Bool?
        let allowedDomains: [String]?
        let operatorName: String?
        let businessName: String?
        let avatarURL: String?
        let widgetTheme: String?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case name
            case aiModel = "ai_model"
            case answerer
            case systemPrompt = "system_prompt"
            case locale
            case isActive = "is_active"
            case guestAccess = "guest_access"
            case allowedDomains = "allowed_domains"
            case operatorName = "operator_name"
            case businessName = "business_name"
            case avatarURL = "avatar_url"
            case widgetTheme = "widget_theme"
        }

        func profile() throws -> Assistant.Profile {
            var profile = Assistant.Profile(name: try Name(name, field: "name").text)
            profile.aiModel = try Name.text(optional: aiModel, field: "ai_model")
            profile.answerer = try Self.parse(answerer, "answerer") ?? profile.answerer
            profile.locale = try Self.parse(locale, "locale") ?? profile.locale
            if let systemPrompt, !systemPrompt.isEmpty {
                guard let draft = try? Draft(systemPrompt) else {
                    throw Problem.invalid("system_prompt", "At most \(Draft.limit) characters.")
                }
                profile.systemPrompt = draft.text
            }
            profile.isActive = isActive ?? profile.isActive
            profile.guestAccess = guestAccess ?? profile.guestAccess
            profile.allowedDomains = try (allowedDomains ?? []).map(Self.domain)
            guard profile.allowedDomains.count <= 100 else {
                throw Problem.invalid("allowed_domains", "At most 100 domains.")
            }
            profile.operatorName = try Name.text(optional: operatorName, field: "operator_name")
            profile.businessName = try Name.text(optional: businessName, field: "business_name")
            profile.avatarURL = try Self.url(avatarURL, "avatar_url")
            profile.widgetTheme = try Name(widgetTheme ?? profile.widgetTheme, field: "widget_theme", limit: 40).text
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
        let nextCursor: String?
        let hasMore: Bool
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
        let token = try await tokens.sign(assistant.siteToken)
        let domains = assistant.profile.allowedDomains
        return .json(
            EmbedCode(
                embedCode: #"<script async src="\#(publicURL)/widget.js" data-site-token="\#(token)"></script>"#,
                token: token, allowedDomains: domains,
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
        case id, name, aiModel, answerer, systemPrompt, locale, isActive, guestAccess, allowedDomains
        case operatorName, businessName, avatarURL, widgetTheme, createdAt, updatedAt
    }

    func encode(to encoder: any Encoder) throws {
        let profile = assistant.profile
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(assistant.id, forKey: .id)
        try container.encode(profile.name, forKey: .name)
        try container.encode(profile.aiModel, forKey: .aiModel)
        try container.encode(profile.answerer, forKey: .answerer)
        try container.encode(profile.systemPrompt, forKey: .systemPrompt)
        try container.encode(profile.locale, forKey: .locale)
        try container.encode(profile.isActive, forKey: .isActive)
        try container.encode(profile.guestAccess, forKey: .guestAccess)
        try container.encode(profile.allowedDomains, forKey: .allowedDomains)
        try container.encode(profile.operatorName, forKey: .operatorName)
        try container.encode(profile.businessName, forKey: .businessName)
        try container.encode(profile.avatarURL, forKey: .avatarURL)
        try container.encode(profile.widgetTheme, forKey: .widgetTheme)
        try container.encode(assistant.createdAt, forKey: .createdAt)
        try container.encode(assistant.updatedAt, forKey: .updatedAt)
    }
}
