/// A conversation of one visitor with one assistant's side.
package struct Dialog: Sendable, Equatable {
    package typealias ID = Identifier<Dialog>

    package enum Channel: String, Codable, Sendable { case web, telegram }
    package enum Status: String, Codable, Sendable { case open, closed }

    package var id: ID
    package var accountID: Account.ID
    package var assistantID: Assistant.ID
    package var channel: Channel
    package var status: Status
    package var handoff: Handoff
    package var lastMessage: Message?
    /// The number of its newest public event.
    package var lastSeq: Int64
    package var createdAt: Timestamp
    package var updatedAt: Timestamp
    package var closedAt: Timestamp?

    package init(
        id: ID, accountID: Account.ID, assistantID: Assistant.ID, channel: Channel, status: Status, handoff: Handoff,
        lastMessage: Message?, lastSeq: Int64, createdAt: Timestamp, updatedAt: Timestamp, closedAt: Timestamp?
    ) {
        self.id = id
        self.accountID = accountID
        self.assistantID = assistantID
        self.channel = channel
        self.status = status
        self.handoff = handoff
        self.lastMessage = lastMessage
        self.lastSeq = lastSeq
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.closedAt = closedAt
    }
}

/// Who speaks for the account in a dialog. The machine that moves it belongs to the handoff itself; here is what
/// every answer tells of it.
package struct Handoff: Sendable, Equatable, Encodable {
    package enum Status: String, Codable, Sendable, CaseIterable {
        case none, requested, active, released, cancelled
    }

    package var status: Status
    /// Raised by every transition; an assistant's message names the one it was begun in.
    package var epoch: Int64

    package init(status: Status, epoch: Int64) {
        self.status = status
        self.epoch = epoch
    }
}

extension Dialog: Encodable {
    private enum CodingKeys: String, CodingKey {
        case id
        case assistantID = "assistant_id"
        case channel, visitor, status, handoff
        case lastMessage = "last_message"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
        case closedAt = "closed_at"
    }

    private struct Visitor: Encodable {
        let name: String?
        let verified: Bool

        private enum CodingKeys: CodingKey { case name, verified }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(name, forKey: .name)
            try container.encode(verified, forKey: .verified)
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(assistantID, forKey: .assistantID)
        try container.encode(channel, forKey: .channel)
        try container.encode(Visitor(name: nil, verified: false), forKey: .visitor)
        try container.encode(status, forKey: .status)
        try container.encode(handoff, forKey: .handoff)
        try container.encode(lastMessage, forKey: .lastMessage)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(updatedAt, forKey: .updatedAt)
        try container.encode(closedAt, forKey: .closedAt)
    }
}
