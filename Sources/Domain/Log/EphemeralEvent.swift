/// What is true only now: shown to those who follow at this moment, on every node; never numbered, kept or replayed.
package struct EphemeralEvent: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case typingStart = "typing_start"
        case typingStop = "typing_stop"
        /// A piece of an answer that is being written.
        case messageDelta = "message:delta"

        /// Whether the account's stream shows it too. A panel is not told every few letters of every answer.
        package var isForAccount: Bool { self != .messageDelta }
    }

    /// Which answer a piece belongs to, so that one that comes late is not shown after its end.
    package struct Part: Sendable, Equatable {
        package let streamID: String
        /// The dialog's handoff epoch in which the answer was begun.
        package let epoch: Int64

        package init(streamID: String, epoch: Int64) {
            self.streamID = streamID
            self.epoch = epoch
        }
    }

    package let kind: Kind
    package let accountID: Account.ID
    package let dialogID: Dialog.ID
    /// `nil` for what is no piece of an answer.
    package let part: Part?
    /// A JSON object's text: the fields beside those that every event has.
    package let payload: String
    package let at: Timestamp

    package init(
        _ kind: Kind, accountID: Account.ID, dialogID: Dialog.ID, part: Part? = nil, payload: String, at: Timestamp
    ) {
        self.kind = kind
        self.accountID = accountID
        self.dialogID = dialogID
        self.part = part
        self.payload = payload
        self.at = at
    }

    /// The `data` of the event: one line of JSON, the same in every stream.
    package var data: String {
        var text = #"{"type":"\#(kind.rawValue)","dialog_id":\#(dialogID),"at":"\#(at.rfc3339)""#
        let fields = payload.dropFirst()
        if fields != "}" { text += "," }
        text += fields
        return text
    }
}
