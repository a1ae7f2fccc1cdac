/// A row of `events`: one change, numbered in its account and, where visitors may see it, in its dialog.
package struct StreamEvent: Sendable, Equatable {
    package struct Place: Sendable, Equatable {
        package let dialogID: Dialog.ID
        /// The number in the dialog's stream; `nil` for what visitors must not see.
        package let seq: Int64?

        package init(dialogID: Dialog.ID, seq: Int64?) {
            self.dialogID = dialogID
            self.seq = seq
        }
    }

    package let generation: Int64
    package let accountID: Account.ID
    /// The number in the account's stream.
    package let seq: Int64
    package let dialog: Place?
    package let type: String
    /// A JSON object's text: the fields beside those that every event has.
    package let payload: String
    package let at: Timestamp

    package init(
        generation: Int64, accountID: Account.ID, seq: Int64, dialog: Place?, type: String, payload: String,
        at: Timestamp
    ) {
        self.generation = generation
        self.accountID = accountID
        self.seq = seq
        self.dialog = dialog
        self.type = type
        self.payload = payload
        self.at = at
    }

    /// The event's number in a stream; `nil` where that stream does not show it.
    package func number(in stream: StreamKey) -> Int64? {
        switch stream {
        case .account(let id): id == accountID ? seq : nil
        case .dialog(let id, _): dialog?.dialogID == id ? dialog?.seq : nil
        }
    }

    /// The `data` of the event in a stream: one line of JSON, `type` first, then what places it, then its payload.
    package func data(in stream: StreamKey) -> String {
        var text = #"{"type":""# + type + #"""#
        if let dialog { text += #","dialog_id":\#(dialog.dialogID)"# }
        switch stream {
        case .account:
            text += #","seq":\#(seq)"#
            if let dialogSeq = dialog?.seq { text += #","dialog_seq":\#(dialogSeq)"# }
        case .dialog:
            if let dialogSeq = dialog?.seq { text += #","seq":\#(dialogSeq)"# }
        }
        text += #","at":""# + at.rfc3339 + #"""#
        let fields = payload.dropFirst()
        if fields != "}" { text += "," }
        text += fields
        return text
    }
}
