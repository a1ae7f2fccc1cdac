import Domain
import NIOCore
import Synchronization
import Testing

@testable import Realtime

@Suite struct AccountFeedsTests {
    private func fill(_ feeds: AccountFeeds, account: Int64, events: ClosedRange<Int64>) {
        let feed = feeds.findOrKeep(Identifier(account))
        _ = feeds.update(feed) { state in
            state.touchedAt = .now()
            return state.tail.ingest(
                events.map {
                    .sample($0, account: account, payload: "{\"x\":\"\(String(repeating: "x", count: 900))\"}")
                },
                from: .bus)
        }
    }

    @Test func `all accounts together are bounded, and the longest untouched go first`() {
        let feeds = AccountFeeds(budget: 200_000)
        for account in 1...100 as ClosedRange<Int64> {
            fill(feeds, account: account, events: 1...10)
            feeds.trim()
            #expect(feeds.heldBytes <= 200_000)
        }
        #expect(feeds.find(Identifier(1)) == nil)
        #expect(feeds.find(Identifier(100)) != nil)
    }

    @Test func `followed accounts stay, with less of each`() {
        let feeds = AccountFeeds(budget: 200_000)
        for account in 1...50 as ClosedRange<Int64> {
            _ = feeds.enter(Identifier(account))
            fill(feeds, account: account, events: 1...10)
            feeds.trim()
        }
        for account in 1...50 as ClosedRange<Int64> { #expect(feeds.find(Identifier(account)) != nil) }
        // One trim halves what is there; the next ones go on.
        for _ in 0..<5 { feeds.trim() }
        #expect(feeds.heldBytes <= 200_000)
    }

    @Test func `whoever holds an account that was dropped is told to look again`() {
        let feeds = AccountFeeds(budget: 1000)
        let feed = feeds.findOrKeep(Identifier(1))
        fill(feeds, account: 1, events: 1...10)
        feeds.trim()
        #expect(feeds.find(Identifier(1)) == nil)
        #expect(feeds.update(feed) { _ in true } == nil)
    }

    @Test func `an account that nobody follows any more is loosened and not audited`() {
        let feeds = AccountFeeds(budget: 1_000_000)
        let feed = feeds.enter(Identifier(1))
        _ = feeds.update(feed) { $0.tail.start(at: LogHead(generation: 1, accountSeq: 3, dialogSeq: nil)) }
        #expect(feeds.audited().map(\.id) == [Identifier(1)])
        feeds.exit(feed)
        #expect(feeds.audited().isEmpty)
        #expect(feed.state.withLock { $0.tail.last } == nil)
        #expect(feeds.find(Identifier(1)) === feed)
    }
}
