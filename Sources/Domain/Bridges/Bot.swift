/// A bot of a customer's on a messenger, whose users are an assistant's visitors.
package struct Bot: Sendable, Equatable {
    package typealias ID = Identifier<Bot>

    package enum Platform: String, Codable, Sendable, CaseIterable { case telegram }

    package var id: ID
    package var accountID: Account.ID
    package var assistantID: Assistant.ID
    package var name: String
    package var platform: Platform
    package var isActive: Bool
    package var createdAt: Timestamp

    package init(
        id: ID, accountID: Account.ID, assistantID: Assistant.ID, name: String, platform: Platform, isActive: Bool,
        createdAt: Timestamp
    ) {
        self.id = id
        self.accountID = accountID
        self.assistantID = assistantID
        self.name = name
        self.platform = platform
        self.isActive = isActive
        self.createdAt = createdAt
    }
}

/// What a bridge shows to be let in. The key itself is nowhere here: it was shown once.
package struct APIKey: Sendable, Equatable {
    package typealias ID = Identifier<APIKey>

    package var id: ID
    package var accountID: Account.ID
    package var name: String
    /// The only bots whose dialogs it opens.
    package var botIDs: [Bot.ID]
    package var createdAt: Timestamp
    package var lastUsedAt: Timestamp?
    package var revokedAt: Timestamp?

    package init(
        id: ID, accountID: Account.ID, name: String, botIDs: [Bot.ID], createdAt: Timestamp, lastUsedAt: Timestamp?,
        revokedAt: Timestamp?
    ) {
        self.id = id
        self.accountID = accountID
        self.name = name
        self.botIDs = botIDs
        self.createdAt = createdAt
        self.lastUsedAt = lastUsedAt
        self.revokedAt = revokedAt
    }
}
