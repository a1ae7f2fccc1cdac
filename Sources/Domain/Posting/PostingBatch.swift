/// What a batch of postings comes to, decided from what was read under the locks. Pure: the writer reads, asks
/// this value, and writes what it says.
package struct PostingBatch: Sendable {
    /// A dialog as its locked row has it.
    package struct DialogRow: Sendable, Equatable {
        package var dialog: Dialog
        package var guest: Guest
        package var hasMessages: Bool

        package init(dialog: Dialog, guest: Guest, hasMessages: Bool) {
            self.dialog = dialog
            self.guest = guest
            self.hasMessages = hasMessages
        }
    }

    /// Everything that was read once the rows were locked.
    package struct Ground: Sendable {
        package var generation: Int64
        package var now: Timestamp
        /// Newest numbers of the accounts that this batch holds. A posting into another account is left for later.
        package var accounts: [Account.ID: Int64]
        package var dialogs: [Dialog.ID: DialogRow]
        /// Messages that were stored before, by their keys.
        package var known: [MessageKey: Message]
        /// Unused message ids, ascending, at least one a posting.
        package var messageIDs: [Message.ID]

        package init(
            generation: Int64, now: Timestamp, accounts: [Account.ID: Int64], dialogs: [Dialog.ID: DialogRow],
            known: [MessageKey: Message], messageIDs: [Message.ID]
        ) {
            self.generation = generation
            self.now = now
            self.accounts = accounts
            self.dialogs = dialogs
            self.known = known
            self.messageIDs = messageIDs
        }
    }

    package enum Outcome: Sendable, Equatable {
        case posted(Posted)
        case refused(Refusal)
        /// Its account is held by somebody else: ask again.
        case busy
    }

    package struct NewMessage: Sendable, Equatable {
        package let accountID: Account.ID
        package let principal: String
        package let message: Message
    }

    /// One for each posting, in their order.
    package private(set) var outcomes: [Outcome] = []
    package private(set) var messages: [NewMessage] = []
    /// Ascending within each account.
    package private(set) var events: [StreamEvent] = []
    /// The accounts' new newest numbers.
    package private(set) var accounts: [Account.ID: Int64] = [:]
    /// The dialogs' new state.
    package private(set) var dialogs: [Dialog.ID: DialogRow] = [:]

    private var ground: Ground
    private var nextID = 0

    package init(_ postings: [Posting], on ground: Ground) {
        self.ground = ground
        outcomes.reserveCapacity(postings.count)
        for posting in postings { outcomes.append(decide(posting)) }
    }

    private mutating func decide(_ posting: Posting) -> Outcome {
        guard ground.accounts[posting.accountID] != nil else { return .busy }
        guard let row = ground.dialogs[posting.dialogID], Self.belongs(posting, to: row) else {
            return .refused(.unknownDialog)
        }
        // Before every other guard: a repeat is answered from what is stored, whatever happened meanwhile.
        if let known = ground.known[posting.uniqueKey] {
            guard known.text == posting.draft.text else { return .refused(.messageKeyReused) }
            return .posted(posted(known, in: row, isReplay: true))
        }
        guard row.dialog.status == .open else { return .refused(.dialogClosed) }
        if case .assistant(let epoch) = posting.speaker, epoch != row.dialog.handoff.epoch {
            return .refused(.epochPassed)
        }
        return .posted(append(posting, to: row))
    }

    private static func belongs(_ posting: Posting, to row: DialogRow) -> Bool {
        guard row.dialog.accountID == posting.accountID else { return false }
        if case .visitor(let guest) = posting.speaker { return guest == row.guest }
        return true
    }

    private mutating func append(_ posting: Posting, to before: DialogRow) -> Posted {
        var row = before
        row.dialog.lastSeq += 1
        row.dialog.updatedAt = ground.now
        let message = Message(
            id: ground.messageIDs[nextID], dialogID: posting.dialogID, seq: row.dialog.lastSeq,
            sender: posting.speaker.sender, text: posting.draft.text, timestamp: ground.now,
            clientMessageID: posting.key, author: posting.speaker.author)
        nextID += 1
        row.dialog.lastMessage = message
        row.hasMessages = true
        if !before.hasMessages {
            // Operators see a dialog from its first message on; the visitor has known it since it was opened.
            announce("dialog:new", of: row.dialog, seq: nil) { $0.add("dialog", row.dialog) }
        }
        announce("message:new", of: row.dialog, seq: row.dialog.lastSeq) { $0.add("message", message) }

        messages.append(
            NewMessage(accountID: posting.accountID, principal: posting.speaker.principal, message: message))
        ground.dialogs[posting.dialogID] = row
        dialogs[posting.dialogID] = row
        ground.known[posting.uniqueKey] = message
        return posted(message, in: row, isReplay: false)
    }

    private mutating func announce(
        _ type: String, of dialog: Dialog, seq: Int64?, _ fill: (inout JSONObject) -> Void
    ) {
        var payload = JSONObject()
        fill(&payload)
        let number = ground.accounts[dialog.accountID, default: 0] + 1
        ground.accounts[dialog.accountID] = number
        accounts[dialog.accountID] = number
        events.append(
            StreamEvent(
                generation: ground.generation, accountID: dialog.accountID, seq: number,
                dialog: StreamEvent.Place(dialogID: dialog.id, seq: seq), type: type,
                payload: payload.finished(), at: ground.now))
    }

    private func posted(_ message: Message, in row: DialogRow, isReplay: Bool) -> Posted {
        Posted(
            message: message, head: Cursor(generation: ground.generation, number: row.dialog.lastSeq),
            handoff: row.dialog.handoff.status, isReplay: isReplay)
    }
}
