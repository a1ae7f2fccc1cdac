import Domain
import Testing

@testable import Realtime

/// An account that nobody here follows: what comes by is kept for who may follow it next.
@Suite struct LooseTailTests {
    private let account = StreamKey.account(Identifier(1))

    private func head(_ seq: Int64, generation: Int64 = 1) -> LogHead {
        LogHead(generation: generation, accountSeq: seq, dialogSeq: nil)
    }

    private func loose(_ seqs: [Int64], from source: AccountTail.Source = .bus) -> AccountTail {
        var tail = AccountTail(accountID: Identifier(1))
        for seq in seqs { _ = tail.ingest([.sample(seq)], from: source) }
        return tail
    }

    @Test func `nothing is handed on and no gap is told of`() {
        var tail = loose([3])
        let result = tail.ingest([.sample(4), .sample(9)], from: .bus)
        #expect(result.deliveries.isEmpty)
        #expect(!result.hasGap)
        #expect(tail.last == nil)
    }

    @Test func `a first follower is served from what was kept`() {
        var tail = loose([3, 4, 6, 5])
        _ = tail.start(at: head(6))
        #expect(tail.last == 6)
        #expect(
            tail.catchUp(account, after: 2)
                == .from([.sample(3), .sample(4), .sample(5), .sample(6)], end: 6, isWarm: true))
        #expect(tail.catchUp(account, after: 1) == .read)
    }

    @Test func `what was kept of this node's own commits is not said to be the bus's`() {
        var tail = loose([3, 4], from: .commit)
        _ = tail.start(at: head(4))
        #expect(tail.catchUp(account, after: 2) == .from([.sample(3), .sample(4)], end: 4))
    }

    @Test func `what does not reach the log's head is not replayed as if it did`() {
        var tail = loose([3, 4])
        let started = tail.start(at: head(6))
        #expect(!started.hasGap)
        #expect(tail.last == 6)
        #expect(tail.catchUp(account, after: 2) == .read)
    }

    @Test func `what is ahead of the log's head with a hole below is asked for`() {
        var tail = loose([8, 9])
        let started = tail.start(at: head(6))
        #expect(started.hasGap)
        let filled = tail.ingest([.sample(7)])
        #expect(filled.deliveries.map(\.number) == [7, 8, 9])
    }

    @Test func `after a hole that nobody closes the newer run is kept`() {
        let beyond = Int64(AccountTail.looseWaitingLimit + 2)
        var tail = loose([1, 2, 3] + (5...(5 + beyond)))
        let newest = 5 + beyond
        _ = tail.start(at: head(newest))
        #expect(tail.last == newest)
        guard case .from(let events, _, _) = tail.catchUp(account, after: 4) else {
            Issue.record("not kept")
            return
        }
        #expect(events.map(\.seq) == Array(5...newest))
        #expect(tail.catchUp(account, after: 2) == .read)
    }

    @Test func `another log's events are not mixed with this one's`() {
        var tail = loose([3, 4])
        _ = tail.ingest([.sample(5, generation: 2)], from: .bus)
        _ = tail.ingest([.sample(6, generation: 1)], from: .bus)
        _ = tail.start(at: head(5, generation: 2))
        #expect(tail.catchUp(account, after: 4) == .from([.sample(5, generation: 2)], end: 5, isWarm: true))

        var old = loose([3, 4])
        _ = old.start(at: head(4, generation: 2))
        #expect(old.catchUp(account, after: 2) == .read)
    }

    @Test func `the bus alone cannot declare another log`() {
        var tail = AccountTail(accountID: Identifier(1))
        _ = tail.start(at: head(5))
        let told = tail.ingest([.sample(6, generation: 99)], from: .bus)
        #expect(!told.generationMoved)
        #expect(tail.last == 5)
    }

    @Test func `a newer head tells of events that have not come`() {
        var tail = AccountTail(accountID: Identifier(1))
        _ = tail.start(at: head(5))
        let later = tail.start(at: head(7))
        #expect(later.hasGap)
        let filled = tail.ingest([.sample(6), .sample(7)])
        #expect(!filled.hasGap)
    }

    @Test func `what the log does not have is not waited for`() {
        var tail = AccountTail(accountID: Identifier(1))
        _ = tail.start(at: head(5))
        let strange = tail.ingest([.sample(900_000_000_000)], from: .bus)
        #expect(strange.hasGap)
        tail.forgetWaiting(upTo: tail.highest)
        #expect(!tail.hasGap)
        let next = tail.ingest([.sample(6)])
        #expect(next.deliveries.map(\.number) == [6])
    }

    @Test func `what came while the log was being asked is not forgotten with the rest`() {
        var tail = AccountTail(accountID: Identifier(1))
        _ = tail.start(at: head(5))
        _ = tail.ingest([.sample(8)], from: .bus)
        let asked = tail.highest
        _ = tail.ingest([.sample(10)], from: .commit)
        tail.forgetWaiting(upTo: asked)
        let closed = tail.ingest([.sample(6), .sample(7), .sample(8), .sample(9)])
        #expect(closed.deliveries.map(\.number) == [6, 7, 8, 9, 10])
    }

    @Test func `above a hole, the run that ends at the log's head is what is replayed`() {
        var tail = loose([1, 2, 5, 6, 7])
        _ = tail.start(at: head(7))
        #expect(tail.catchUp(account, after: 4) == .from([.sample(5), .sample(6), .sample(7)], end: 7, isWarm: true))
        #expect(tail.catchUp(account, after: 2) == .read)
    }

    @Test func `what waits is counted with what is kept`() {
        var tail = loose([1])
        let one = tail.bytes
        _ = tail.ingest([.sample(3), .sample(3), .sample(5)], from: .bus)
        #expect(tail.bytes == 3 * one)
        _ = tail.ingest([.sample(2)], from: .bus)
        #expect(tail.bytes == 4 * one)
        _ = tail.start(at: head(9))
        #expect(tail.bytes == 0)
    }

    @Test func `followed again after a pause it goes on from what was kept meanwhile`() {
        var tail = loose([1, 2])
        _ = tail.start(at: head(2))
        _ = tail.ingest([.sample(3)])
        tail.loosen()
        _ = tail.ingest([.sample(4)], from: .bus)
        _ = tail.start(at: head(4))
        #expect(tail.last == 4)
        guard case .from(let events, _, _) = tail.catchUp(account, after: 0) else {
            Issue.record("not kept")
            return
        }
        #expect(events.map(\.seq) == [1, 2, 3, 4])
    }
}
