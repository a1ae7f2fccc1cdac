/// A conversation of one visitor with one assistant's side.
package struct Dialog: Sendable, Equatable {
    package typealias ID = Identifier<Dialog>

    package enum Channel: String, JSONWritable, Sendable { case web, telegram }
    package enum Status: String, JSONWritable, Sendable { case open, closed }

    package var id: ID
    package var accountID: Account.ID
    package var assistantID: Assistant.ID
    package var channel: Channel
    package var visitor = Visitor()
    package var status: Status
    package var handoff: Handoff
    package var lastMessage: Message?
    /// The number of its newest public event.
    package var lastSeq: Int64
    package var createdAt: Timestamp
    package var updatedAt: Timestamp
    package var closedAt: Timestamp?

    package init(
        id: ID, accountID: Account.ID, assistantID: Assistant.ID, channel: Channel, visitor: Visitor = Visitor(),
        status: Status, handoff: Handoff, lastMessage: Message?, lastSeq: Int64, createdAt: Timestamp,
        updatedAt: Timestamp, closedAt: Timestamp?
    ) {
        self.id = id
        self.accountID = accountID
        self.assistantID = assistantID
        self.channel = channel
        self.visitor = visitor
        self.status = status
        self.handoff = handoff
        self.lastMessage = lastMessage
        self.lastSeq = lastSeq
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.closedAt = closedAt
    }
}

/// Who is on the other side of a dialog, as far as anybody has said.
package struct Visitor: Sendable, Equatable {
    package var name: String?
    /// The customer's own name for them, signed by the customer's site: only then there is one.
    package var externalID: String?

    package init(name: String? = nil, externalID: String? = nil) {
        self.name = name
        self.externalID = externalID
    }
}

extension Visitor: JSONWritable {
    package func write(to json: inout String) {
        var object = JSONObject()
        object.add("name", name)
        object.add("verified", externalID != nil)
        object.add(ifPresent: "external_id", externalID)
        json += object.finished()
    }
}

extension Dialog: JSONWritable {
    package func write(to json: inout String) {
        json += object().finished()
    }

    /// As operators see it, open for more fields.
    package func object() -> JSONObject {
        var object = JSONObject()
        object.add("id", id)
        object.add("assistant_id", assistantID)
        object.add("channel", channel)
        object.add("visitor", visitor)
        object.add("status", status)
        object.add("handoff", handoff)
        object.add("last_message", lastMessage)
        object.add("created_at", createdAt)
        object.add("updated_at", updatedAt)
        object.add("closed_at", closedAt)
        return object
    }
}
