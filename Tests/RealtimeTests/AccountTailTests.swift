import Domain
import Testing

@testable import Realtime

extension StreamEvent {
    static func sample(
        _ seq: Int64, dialog: Int64? = nil, dialogSeq: Int64? = nil, account: Int64 = 1, generation: Int64 = 1,
        payload: String = "{}"
    ) -> StreamEvent {
        StreamEvent(
            generation: generation, accountID: Identifier(account), seq: seq,
            dialog: dialog.map { Place(dialogID: Identifier($0), seq: dialogSeq) }, type: "message:new",
            payload: payload, at: Timestamp(microseconds: 0))
    }
}

extension AccountTail {
    mutating func ingest(_ events: [StreamEvent]) -> Ingested { ingest(events, from: .commit) }
}

@Suite struct AccountTailTests {
    private let account = StreamKey.account(Identifier(1))
    private let dialog = StreamKey.dialog(Identifier(7), of: Identifier(1))

    private func tail(at seq: Int64) -> AccountTail {
        var tail = AccountTail(accountID: Identifier(1))
        _ = tail.start(at: LogHead(generation: 1, accountSeq: seq, dialogSeq: nil))
        return tail
    }

    private func numbers(_ result: AccountTail.Ingested, _ stream: StreamKey) -> [Int64] {
        result.deliveries.filter { $0.stream == stream }.map(\.number)
    }

    @Test func `the next is handed on and what came before is dropped`() {
        var tail = tail(at: 5)
        let result6 = tail.ingest([.sample(6)])
        #expect(numbers(result6, account) == [6])
        let result7 = tail.ingest([.sample(6), .sample(5), .sample(7)])
        #expect(numbers(result7, account) == [7])
    }

    @Test func `what comes above a gap waits for it to close`() {
        var tail = tail(at: 5)
        let above = tail.ingest([.sample(7), .sample(9)])
        #expect(above.deliveries.isEmpty)
        #expect(above.hasGap)
        let some = tail.ingest([.sample(6)])
        #expect(numbers(some, account) == [6, 7])
        #expect(some.hasGap)
        let rest = tail.ingest([.sample(8)])
        #expect(numbers(rest, account) == [8, 9])
        #expect(!rest.hasGap)
    }

    @Test func `what comes before the head was read is not lost`() {
        var tail = AccountTail(accountID: Identifier(1))
        let early = tail.ingest([.sample(5), .sample(6)])
        #expect(early.deliveries.isEmpty)
        let started = tail.start(at: LogHead(generation: 1, accountSeq: 4, dialogSeq: nil))
        #expect(!started.hasGap)
        #expect(tail.catchUp(account, after: 4) == .from([.sample(5), .sample(6)], end: 6))
    }

    @Test func `waiting events are bounded`() {
        var tail = tail(at: 0)
        for seq in 2...Int64(AccountTail.waitingLimit + 500) { _ = tail.ingest([.sample(seq)]) }
        let result10 = tail.ingest([.sample(1)])
        #expect(result10.accepted == AccountTail.waitingLimit + 1)
    }

    @Test func `another generation is noticed and an older one ignored`() {
        var tail = tail(at: 5)
        let result11 = tail.ingest([.sample(6, generation: 2)])
        #expect(result11.generationMoved)
        let result12 = tail.ingest([.sample(6, generation: 0)])
        #expect(!result12.generationMoved)
        #expect(tail.last == 5)
    }

    @Test func `a dialog's stream gets its public events by its own numbers`() {
        var tail = tail(at: 5)
        let follows1 = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 5, dialogSeq: 2))
        #expect(follows1)
        let result = tail.ingest([
            .sample(6, dialog: 7, dialogSeq: 3), .sample(7, dialog: 8, dialogSeq: 1), .sample(8, dialog: 7),
            .sample(9, dialog: 7, dialogSeq: 4),
        ])
        #expect(numbers(result, dialog) == [3, 4])
        #expect(numbers(result, account) == [6, 7, 8, 9])
    }

    @Test func `a dialog's head that was read late is not handed on again`() {
        var tail = tail(at: 5)
        // The log was at 7 when the dialog was asked for; this node is still at 5.
        let follows2 = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 7, dialogSeq: 4))
        #expect(follows2)
        let result = tail.ingest([.sample(6, dialog: 7, dialogSeq: 3), .sample(7, dialog: 7, dialogSeq: 4)])
        #expect(numbers(result, dialog).isEmpty)
        let result13 = tail.ingest([.sample(8, dialog: 7, dialogSeq: 5)])
        #expect(numbers(result13, dialog) == [5])
    }

    @Test func `a dialog's head that was read early is made up from the ring`() {
        var tail = tail(at: 5)
        _ = tail.ingest([.sample(6, dialog: 7, dialogSeq: 3), .sample(7)])
        let follows3 = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 5, dialogSeq: 2))
        #expect(follows3)
        #expect(tail.end(of: dialog) == 3)
    }

    @Test func `a head older than the ring must be read again`() {
        var tail = tail(at: 0)
        for seq in 1...600 as ClosedRange<Int64> { _ = tail.ingest([.sample(seq)]) }
        let follows4 = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 5, dialogSeq: 2))
        #expect(!follows4)
        let follows5 = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 600, dialogSeq: 2))
        #expect(follows5)
    }

    @Test func `who lacks what the ring has is caught up from it and others read`() {
        var tail = tail(at: 0)
        _ = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 0, dialogSeq: 0))
        for seq in 1...600 as ClosedRange<Int64> {
            _ = tail.ingest([.sample(seq, dialog: 7, dialogSeq: seq)])
        }
        for stream in [account, dialog] {
            #expect(tail.catchUp(stream, after: 10) == .read)
            guard case .from(let events, let end, _) = tail.catchUp(stream, after: 595) else {
                Issue.record("not from the ring")
                continue
            }
            #expect(events.map(\.seq) == [596, 597, 598, 599, 600])
            #expect(end == 600)
            #expect(tail.catchUp(stream, after: 600) == .from([], end: 600))
            // The log that a replay read may be ahead of this node.
            #expect(tail.catchUp(stream, after: 603) == .from([], end: 600))
        }
    }

    @Test(arguments: 1...50)
    func `whatever order and repetition they come in they are handed on once and in order`(_ round: Int) {
        var tail = tail(at: 0)
        _ = tail.follow(Identifier(7), from: LogHead(generation: 1, accountSeq: 0, dialogSeq: 0))
        let events = (1...200 as ClosedRange<Int64>).map { StreamEvent.sample($0, dialog: 7, dialogSeq: $0) }
        var seen: [StreamKey: [Int64]] = [:]
        // Three feeds of the same events, cut and shuffled, as commit, bus and auditor may bring them.
        var pieces = (0..<3).flatMap { _ in events.chunked(Int.random(in: 1...9)) }.shuffled()
        pieces.append(events)
        for piece in pieces {
            for delivery in tail.ingest(piece).deliveries { seen[delivery.stream, default: []].append(delivery.number) }
        }
        #expect(seen[account] == Array(1...200))
        #expect(seen[dialog] == Array(1...200))
    }
}

extension Array {
    fileprivate func chunked(_ size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}
