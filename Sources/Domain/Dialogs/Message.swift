package import FoundationEssentials

/// One thing that was said in a dialog, as it is stored and as it stands on the wire.
package struct Message: Sendable, Equatable {
    package typealias ID = Identifier<Message>

    package enum Sender: String, Codable, Sendable, CaseIterable {
        case user, assistant, manager, system
    }

    package struct Author: Sendable, Equatable, Encodable {
        package let id: Operator.ID
        package let name: String

        package init(id: Operator.ID, name: String) {
            self.id = id
            self.name = name
        }
    }

    package var id: ID
    package var dialogID: Dialog.ID
    /// The dialog's number of the event that announced it; `nil` for what visitors must not see.
    package var seq: Int64?
    package var sender: Sender
    package var text: String
    package var timestamp: Timestamp
    package var kind: String
    package var systemType: String?
    package var clientMessageID: UUID
    package var author: Author?

    package init(
        id: ID, dialogID: Dialog.ID, seq: Int64?, sender: Sender, text: String, timestamp: Timestamp,
        kind: String = "text", systemType: String? = nil, clientMessageID: UUID, author: Author? = nil
    ) {
        self.id = id
        self.dialogID = dialogID
        self.seq = seq
        self.sender = sender
        self.text = text
        self.timestamp = timestamp
        self.kind = kind
        self.systemType = systemType
        self.clientMessageID = clientMessageID
        self.author = author
    }
}

extension Message: Encodable {
    private enum CodingKeys: String, CodingKey {
        case id
        case dialogID = "dialog_id"
        case seq, sender, text, timestamp
        case kind = "message_kind"
        case systemType = "system_type"
        case clientMessageID = "client_message_id"
        case author
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(dialogID, forKey: .dialogID)
        // `null`, not absent: API.md tells notes from messages by it.
        try container.encode(seq, forKey: .seq)
        try container.encode(sender, forKey: .sender)
        try container.encode(text, forKey: .text)
        try container.encode(timestamp, forKey: .timestamp)
        try container.encode(kind, forKey: .kind)
        try container.encodeIfPresent(systemType, forKey: .systemType)
        try container.encode(clientMessageID.uuidString.lowercased(), forKey: .clientMessageID)
        try container.encodeIfPresent(author, forKey: .author)
    }
}
