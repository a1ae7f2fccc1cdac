import Domain
import FoundationEssentials
import Testing

@Suite struct PostingBatchTests {
    // MARK: Samples

    private let account = Account.ID(1)
    private let guest = Guest(assistantID: Identifier(5), hash: Array(repeating: 9, count: 32))

    private func row(
        _ id: Int64, status: Dialog.Status = .open, epoch: Int64 = 0, lastSeq: Int64 = 0, account: Int64 = 1
    ) -> PostingBatch.DialogRow {
        PostingBatch.DialogRow(
            dialog: Dialog(
                id: Identifier(id), accountID: Identifier(account), assistantID: Identifier(5), channel: .web,
                status: status, handoff: Handoff(status: .none, epoch: epoch), lastMessage: nil, lastSeq: lastSeq,
                createdAt: Timestamp(microseconds: 0), updatedAt: Timestamp(microseconds: 0), closedAt: nil),
            guest: guest, hasMessages: lastSeq > 0)
    }

    private func ground(_ rows: PostingBatch.DialogRow..., known: [Message] = [], lastSeq: Int64 = 10)
        -> PostingBatch.Ground
    {
        PostingBatch.Ground(
            generation: 1, now: Timestamp(microseconds: 1_000_000), accounts: [account: lastSeq],
            dialogs: Dictionary(uniqueKeysWithValues: rows.map { ($0.dialog.id, $0) }),
            known: Dictionary(
                uniqueKeysWithValues: known.map {
                    (
                        MessageKey(
                            dialogID: $0.dialogID, principal: "visitor", clientMessageID: $0.clientMessageID),
                        $0
                    )
                }),
            messageIDs: (100..<200).map { Identifier($0) })
    }

    private func posting(
        _ text: String = "hi", in dialog: Int64 = 7, key: UUID = UUID(), account: Int64 = 1,
        speaker: Posting.Speaker? = nil
    ) throws -> Posting {
        Posting(
            speaker: speaker ?? .visitor(guest), accountID: Identifier(account), dialogID: Identifier(dialog),
            draft: try Draft(text), clientMessageID: key)
    }

    private func stored(_ text: String, key: UUID) -> Message {
        Message(
            id: Identifier(50), dialogID: Identifier(7), seq: 1, sender: .user, text: text,
            timestamp: Timestamp(microseconds: 5), clientMessageID: key)
    }

    private func posted(_ outcome: PostingBatch.Outcome) throws -> Posted {
        guard case .posted(let posted) = outcome else {
            Issue.record("\(outcome)")
            throw Refusal.unknownDialog
        }
        return posted
    }

    // MARK: Numbers

    @Test func `numbers go on without a hole in the account and in each dialog`() throws {
        let batch = PostingBatch(
            try [posting(in: 7), posting(in: 8), posting(in: 7), posting(in: 7)],
            on: ground(row(7, lastSeq: 4), row(8, lastSeq: 2)))
        #expect(batch.events.map(\.seq) == [11, 12, 13, 14])
        #expect(batch.events.map(\.dialog?.seq) == [5, 3, 6, 7])
        #expect(batch.accounts == [account: 14])
        #expect(batch.dialogs[Identifier(7)]?.dialog.lastSeq == 7)
        #expect(batch.messages.map(\.message.id.rawValue) == [100, 101, 102, 103])
    }

    @Test func `operators hear of a dialog with its first message and visitors do not`() throws {
        let batch = PostingBatch(try [posting(), posting()], on: ground(row(7)))
        #expect(batch.events.map(\.type) == ["dialog:new", "message:new", "message:new"])
        #expect(batch.events.map(\.dialog?.seq) == [nil, 1, 2])
        #expect(batch.events.map(\.seq) == [11, 12, 13])
    }

    // MARK: Keys

    @Test func `a known key is answered from what is stored before any other guard`() throws {
        let key = UUID()
        let batch = PostingBatch(
            try [posting("hi", key: key)],
            on: ground(row(7, status: .closed, lastSeq: 3), known: [stored("hi", key: key)]))
        let answer = try posted(batch.outcomes[0])
        #expect(answer.isReplay)
        #expect(answer.message.id == Identifier(50))
        #expect(answer.head == Cursor(generation: 1, number: 3))
        #expect(batch.events.isEmpty && batch.messages.isEmpty)
    }

    @Test func `a known key with another text is refused`() throws {
        let key = UUID()
        let batch = PostingBatch(
            try [posting("other", key: key)], on: ground(row(7, lastSeq: 1), known: [stored("hi", key: key)]))
        #expect(batch.outcomes == [.refused(.messageKeyReused)])
    }

    @Test func `a key that comes twice in one batch is one message`() throws {
        let key = UUID()
        let batch = PostingBatch(
            try [posting(key: key), posting(key: key), posting("other", key: key)], on: ground(row(7)))
        #expect(try posted(batch.outcomes[0]).isReplay == false)
        #expect(try posted(batch.outcomes[1]).isReplay)
        #expect(try posted(batch.outcomes[1]).message == posted(batch.outcomes[0]).message)
        #expect(batch.outcomes[2] == .refused(.messageKeyReused))
        #expect(batch.messages.count == 1)
    }

    @Test func `the same key of another sender is another message`() throws {
        let key = UUID()
        let batch = PostingBatch(
            try [posting(key: key), posting(key: key, speaker: .operator(Identifier(2), name: "Ann"))],
            on: ground(row(7)))
        #expect(batch.messages.map(\.message.sender) == [.user, .manager])
        #expect(batch.messages[1].message.author == Message.Author(id: Identifier(2), name: "Ann"))
    }

    // MARK: Refusals

    @Test func `a posting into an account that is not held waits`() throws {
        let batch = PostingBatch(try [posting(account: 2), posting()], on: ground(row(7)))
        #expect(batch.outcomes[0] == .busy)
        #expect(try posted(batch.outcomes[1]).message.seq == 1)
    }

    @Test func `whose dialog it is not is told nothing more than who names none`() throws {
        let stranger = Guest(assistantID: Identifier(5), hash: Array(repeating: 1, count: 32))
        let neighbour = Guest(assistantID: Identifier(6), hash: guest.hash)
        let batch = PostingBatch(
            try [
                posting(in: 99), posting(speaker: .visitor(stranger)), posting(speaker: .visitor(neighbour)),
                posting(in: 8, speaker: .operator(Identifier(1), name: "")),
            ],
            on: ground(row(7), row(8, account: 2)))
        #expect(batch.outcomes == Array(repeating: .refused(.unknownDialog), count: 4))
        #expect(batch.events.isEmpty)
    }

    @Test func `a stranger who knows the key learns nothing`() throws {
        let key = UUID()
        let stranger = Guest(assistantID: Identifier(5), hash: Array(repeating: 1, count: 32))
        let batch = PostingBatch(
            try [posting(key: key, speaker: .visitor(stranger))],
            on: ground(row(7, lastSeq: 1), known: [stored("hi", key: key)]))
        #expect(batch.outcomes == [.refused(.unknownDialog)])
    }

    @Test func `a closed dialog takes nothing new`() throws {
        let batch = PostingBatch(try [posting()], on: ground(row(7, status: .closed)))
        #expect(batch.outcomes == [.refused(.dialogClosed)])
    }

    @Test func `the assistant speaks only in the epoch that it began in`() throws {
        let batch = PostingBatch(
            try [posting(speaker: .assistant(epoch: 3)), posting(speaker: .assistant(epoch: 4))],
            on: ground(row(7, epoch: 4, lastSeq: 1)))
        #expect(batch.outcomes[0] == .refused(.epochPassed))
        #expect(try posted(batch.outcomes[1]).message.sender == .assistant)
        #expect(batch.messages.count == 1)
    }

    @Test func `one that is refused leaves no hole in the numbers of the others`() throws {
        let batch = PostingBatch(
            try [posting(), posting(in: 99), posting()], on: ground(row(7, lastSeq: 1)))
        #expect(batch.events.map(\.seq) == [11, 12])
    }
}
