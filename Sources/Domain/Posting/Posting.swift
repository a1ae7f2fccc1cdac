package import FoundationEssentials

/// A message that somebody asks to have appended to a dialog.
package struct Posting: Sendable {
    /// Who speaks. Decided from the credential, never from what the client says.
    package enum Speaker: Sendable, Equatable {
        case visitor(Guest)
        case `operator`(Operator.ID, name: String)
        /// The assistant, with the handoff's epoch that its answer was begun in.
        case assistant(epoch: Int64)

        /// The name under which this speaker's `client_message_id`s are unique in a dialog.
        package var principal: String {
            switch self {
            case .visitor: "visitor"
            case .operator(let id, _): "operator:\(id)"
            case .assistant: "assistant"
            }
        }

        package var sender: Message.Sender {
            switch self {
            case .visitor: .user
            case .operator: .manager
            case .assistant: .assistant
            }
        }

        package var author: Message.Author? {
            switch self {
            case .operator(let id, let name): Message.Author(id: id, name: name)
            case .visitor, .assistant: nil
            }
        }
    }

    package let speaker: Speaker
    package let accountID: Account.ID
    package let dialogID: Dialog.ID
    package let draft: Draft
    /// What makes a repeat the same message. Every posting has one, so that a batch whose outcome was lost with its
    /// connection can be run again.
    package let key: UUID

    package init(
        speaker: Speaker, accountID: Account.ID, dialogID: Dialog.ID, draft: Draft, clientMessageID: UUID?
    ) {
        self.speaker = speaker
        self.accountID = accountID
        self.dialogID = dialogID
        self.draft = draft
        self.key = clientMessageID ?? UUID()
    }

    package var uniqueKey: MessageKey {
        MessageKey(dialogID: dialogID, principal: speaker.principal, clientMessageID: key)
    }
}

/// What a message is known by: unique in the database.
package struct MessageKey: Hashable, Sendable {
    package let dialogID: Dialog.ID
    package let principal: String
    package let clientMessageID: UUID

    package init(dialogID: Dialog.ID, principal: String, clientMessageID: UUID) {
        self.dialogID = dialogID
        self.principal = principal
        self.clientMessageID = clientMessageID
    }
}

/// A message that stands, and what a client wants to know beside it.
package struct Posted: Sendable, Equatable {
    package let message: Message
    /// Where the dialog's stream ends now: how far the client's own stream will come.
    package let head: Cursor
    package let handoff: Handoff.Status
    /// Whether it was stored before this posting.
    package let isReplay: Bool

    package init(message: Message, head: Cursor, handoff: Handoff.Status, isReplay: Bool) {
        self.message = message
        self.head = head
        self.handoff = handoff
        self.isReplay = isReplay
    }
}
