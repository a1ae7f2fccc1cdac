package import FoundationEssentials

/// One thing that was said in a dialog, as it is stored and as it stands on the wire.
package struct Message: Sendable, Equatable {
    package typealias ID = Identifier<Message>

    package enum Sender: String, JSONWritable, Sendable, CaseIterable {
        case user, assistant, manager, system
    }

    package struct Author: Sendable, Equatable {
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

extension Message: JSONWritable {
    package func write(to json: inout String) {
        var object = JSONObject()
        object.add("id", id)
        object.add("dialog_id", dialogID)
        // `null`, not absent: API.md tells notes from messages by it.
        object.add("seq", seq)
        object.add("sender", sender)
        object.add("text", text)
        object.add("timestamp", timestamp)
        object.add("message_kind", kind)
        object.add(ifPresent: "system_type", systemType)
        object.add("client_message_id", clientMessageID)
        object.add(ifPresent: "author", author)
        json += object.finished()
    }
}

extension Message.Author: JSONWritable {
    package func write(to json: inout String) {
        var object = JSONObject()
        object.add("id", id)
        object.add("name", name)
        json += object.finished()
    }
}
