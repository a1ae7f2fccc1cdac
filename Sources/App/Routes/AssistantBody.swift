import Domain
import FoundationEssentials

/// What an operator writes of an assistant: all of it when one is made, any part when one is changed.
struct AssistantFields: StrictBody, Sendable {
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
    let dailyAnswers: Nullable<Int>

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
        case dailyAnswers = "daily_answers"
    }

    func newProfile() throws -> Assistant.Profile {
        var profile = Assistant.Profile(name: try Name(name, field: "name").text)
        try apply(to: &profile)
        return profile
    }

    /// - Throws: 422; the profile may be half changed then.
    func apply(to profile: inout Assistant.Profile) throws {
        if let name { profile.name = try Name(name, field: "name").text }
        if let aiModel { profile.aiModel = try Name.text(optional: aiModel, field: "ai_model") }
        if let answerer { profile.answerer = try Self.parse(answerer, "answerer") }
        if let locale { profile.locale = try Self.parse(locale, "locale") }
        if let systemPrompt { profile.systemPrompt = try Self.prompt(systemPrompt) }
        if let isActive { profile.isActive = isActive }
        if let guestAccess { profile.guestAccess = guestAccess }
        if let allowedDomains { profile.allowedDomains = try Self.domains(allowedDomains) }
        if let operatorName { profile.operatorName = try Name.text(optional: operatorName, field: "operator_name") }
        if let businessName { profile.businessName = try Name.text(optional: businessName, field: "business_name") }
        if let avatarURL { profile.avatarURL = try Self.url(avatarURL, "avatar_url") }
        if let widgetTheme {
            profile.widgetTheme = try Name(widgetTheme, field: "widget_theme", limit: 40).text
        }
        switch dailyAnswers {
        case .absent: break
        case .null: profile.dailyAnswers = nil
        case .value(let number):
            guard (0...1_000_000).contains(number) else {
                throw Problem.invalid("daily_answers", "A whole number from 0 to 1000000, or null for no limit.")
            }
            profile.dailyAnswers = number
        }
    }

    private static func parse<Value: RawRepresentable & CaseIterable>(
        _ text: String, _ field: String
    ) throws -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: text) else {
            let allowed = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid(field, "One of: \(allowed).")
        }
        return value
    }

    private static func prompt(_ text: String) throws -> String {
        guard !text.isEmpty else { return "" }
        guard let draft = try? Draft(text) else {
            throw Problem.invalid("system_prompt", "At most \(Draft.limit) characters.")
        }
        return draft.text
    }

    private static func domains(_ texts: [String]) throws -> [String] {
        guard texts.count <= 100 else { throw Problem.invalid("allowed_domains", "At most 100 domains.") }
        var hosts: [String] = []
        for text in texts {
            // One label alone is a whole top level, but for this machine's own.
            guard let rule = HostRule(text), rule.host.contains(".") || rule.host == "localhost" else {
                throw Problem.invalid("allowed_domains", "Host names only, without scheme, port or path.")
            }
            if !hosts.contains(rule.host) { hosts.append(rule.host) }
        }
        // They stand in every site token and in a header of every frame.
        guard hosts.reduce(0, { $0 + $1.utf8.count }) <= 2000 else {
            throw Problem.invalid("allowed_domains", "At most 2000 characters together.")
        }
        return hosts
    }

    private static func url(_ text: String, _ field: String) throws -> String {
        guard !text.isEmpty else { return "" }
        guard text.utf8.count <= 2000, text.hasPrefix("https://") || text.hasPrefix("http://"),
            text.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value < 127 })
        else { throw Problem.invalid(field, "An http or https address.") }
        return text
    }
}

/// An assistant on the wire.
struct AssistantBody: Encodable {
    let assistant: Assistant

    init(_ assistant: Assistant) {
        self.assistant = assistant
    }

    private enum CodingKeys: String, CodingKey {
        case id, name, aiModel, answerer, systemPrompt, locale, isActive, guestAccess, allowedDomains
        case operatorName, businessName, avatarURL, widgetTheme, dailyAnswers, createdAt, updatedAt
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
        try container.encode(profile.dailyAnswers, forKey: .dailyAnswers)
        try container.encode(assistant.createdAt, forKey: .createdAt)
        try container.encode(assistant.updatedAt, forKey: .updatedAt)
    }
}
