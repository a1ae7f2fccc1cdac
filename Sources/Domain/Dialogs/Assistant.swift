/// What answers first in a dialog, and whose site it speaks for.
package struct Assistant: Sendable, Equatable {
    package typealias ID = Identifier<Assistant>

    package enum Answerer: String, Codable, Sendable, CaseIterable {
        case knowledge
        case chatCompletions = "chat_completions"
        case none
    }

    package enum Locale: String, Codable, Sendable, CaseIterable {
        case russian = "ru"
        case english = "en"
    }

    package var id: ID
    package var accountID: Account.ID
    package var profile: Profile
    /// Named by every site token of this assistant; a token of another version is refused.
    package var tokenVersion: Int
    package var createdAt: Timestamp
    package var updatedAt: Timestamp

    package init(
        id: ID, accountID: Account.ID, profile: Profile, tokenVersion: Int, createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.id = id
        self.accountID = accountID
        self.profile = profile
        self.tokenVersion = tokenVersion
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }

    /// What its owner sets.
    package struct Profile: Sendable, Equatable {
        package var name: String
        package var aiModel = ""
        package var answerer = Answerer.knowledge
        package var systemPrompt = ""
        package var locale = Locale.russian
        package var isActive = true
        /// Whether `/api/widget` lets visitors in by the assistant's number alone.
        package var guestAccess = false
        /// As ``HostRule`` has them.
        package var allowedDomains: [String] = []
        package var operatorName = ""
        package var businessName = ""
        package var avatarURL = ""
        package var widgetTheme = "blue"
        /// A JSON object, kept as its text.
        package var widgetSettings = "{}"
        /// Answers in a day (UTC), above which messages are taken without one; `nil`: as many as are asked for.
        package var dailyAnswers: Int?

        package init(name: String) {
            self.name = name
        }
    }
}
