import Domain
import NIOCore
import Synchronization

/// One account as this node sees it: the end of its log and those who follow it, under one lock.
final class AccountFeed: Sendable {
    struct Followers: Sendable {
        /// Live and joining seats, by event loop.
        var seats: [Int]
        /// Long polls that wait for the next event.
        var polls: [Int: AsyncStream<Void>.Continuation] = [:]
        /// For a dialog's followers: what of the ephemeral still applies.
        var gate = EphemeralGate()

        var isEmpty: Bool { polls.isEmpty && seats.allSatisfy { $0 == 0 } }
    }

    struct State: Sendable {
        var tail: AccountTail
        var followers: [StreamKey: Followers] = [:]
        /// Openings under way; they keep the account followed though nobody sits yet.
        var openings = 0
        var nextPoll = 0
        /// When something of it last came by.
        var touchedAt = NIODeadline.now()
        /// No longer among the feeds: whoever holds it must look again.
        var isDropped = false

        var isUnused: Bool { openings == 0 && followers.isEmpty }
    }

    let id: Account.ID
    let state: Mutex<State>

    init(id: Account.ID) {
        self.id = id
        state = Mutex(State(tail: AccountTail(accountID: id)))
    }
}

/// The accounts that this node knows: those that somebody here follows, and of the others as much as fits in memory,
/// so that who comes back, or comes from a node that died, finds the last minutes here.
final class AccountFeeds: Sendable {
    private struct State: Sendable {
        var all: [Account.ID: AccountFeed] = [:]
        var followed: [Account.ID: AccountFeed] = [:]
    }

    /// What a feed takes without its events, about.
    private static let weight = 600

    /// Bytes of events that are kept in memory, of all accounts together.
    private let budget: Int
    private let state = Mutex(State())
    private let bytes = Atomic(0)
    private let seats = Atomic(0)

    init(budget: Int) {
        self.budget = budget
    }

    // MARK: Finding

    func find(_ id: Account.ID) -> AccountFeed? {
        state.withLock { $0.all[id] }
    }

    func findOrKeep(_ id: Account.ID) -> AccountFeed {
        state.withLock { findOrKeep(id, in: &$0) }
    }

    private func findOrKeep(_ id: Account.ID, in state: inout State) -> AccountFeed {
        if let feed = state.all[id] { return feed }
        let feed = AccountFeed(id: id)
        state.all[id] = feed
        bytes.wrappingAdd(Self.weight, ordering: .relaxed)
        return feed
    }

    /// Counts an opening: until ``exit(_:)`` the account is followed.
    func enter(_ id: Account.ID) -> AccountFeed {
        state.withLock { state in
            let feed = findOrKeep(id, in: &state)
            state.followed[id] = feed
            feed.state.withLock { $0.openings += 1 }
            return feed
        }
    }

    func exit(_ feed: AccountFeed) {
        feed.state.withLock { $0.openings -= 1 }
    }

    /// Changes a feed and counts what it then holds.
    /// - Returns: `nil` if the feed has been dropped meanwhile.
    func update<Result>(_ feed: AccountFeed, _ body: (inout AccountFeed.State) -> sending Result) -> sending Result? {
        feed.state.withLock { state -> sending Result? in
            guard !state.isDropped else { return nil }
            let before = state.tail.bytes
            let result = body(&state)
            bytes.wrappingAdd(state.tail.bytes - before, ordering: .relaxed)
            return result
        }
    }

    /// All that somebody follows or is about to. Those whom nobody follows any more are loosened.
    func audited() -> [AccountFeed] {
        state.withLock { state in
            var used: [AccountFeed] = []
            for (id, feed) in state.followed {
                let isUsed = feed.state.withLock { state in
                    guard state.isUnused else { return true }
                    let before = state.tail.bytes
                    state.tail.loosen()
                    bytes.wrappingSubtract(before - state.tail.bytes, ordering: .relaxed)
                    return false
                }
                if isUsed { used.append(feed) } else { state.followed[id] = nil }
            }
            return used
        }
    }

    // MARK: Memory

    /// Bytes held by all feeds, about.
    var heldBytes: Int { bytes.load(ordering: .relaxed) }

    /// Keeps within the budget: drops the accounts that nobody follows, longest untouched first; where that is not
    /// enough, halves what is kept of the others.
    func trim() {
        guard heldBytes > budget else { return }
        let target = budget / 4 * 3
        state.withLock { state in
            let unused = state.all.values.compactMap { feed in
                feed.state.withLock { state in state.isUnused ? (feed, touchedAt: state.touchedAt) : nil }
            }
            for (feed, _) in unused.sorted(by: { $0.touchedAt < $1.touchedAt }) {
                guard heldBytes > target else { return }
                feed.state.withLock { inner in
                    guard inner.isUnused else { return }
                    inner.isDropped = true
                    state.all[feed.id] = nil
                    state.followed[feed.id] = nil
                    bytes.wrappingSubtract(inner.tail.bytes + Self.weight, ordering: .relaxed)
                }
            }
            guard heldBytes > target else { return }
            for feed in state.all.values {
                feed.state.withLock { inner in
                    let before = inner.tail.ring.bytes
                    inner.tail.shrinkRing(to: before / 2)
                    bytes.wrappingSubtract(before - inner.tail.ring.bytes, ordering: .relaxed)
                }
            }
        }
    }

    // MARK: Seats

    var seatCount: Int { seats.load(ordering: .relaxed) }

    func wakePolls() {
        state.withLock { state in
            for feed in state.followed.values { feed.state.withLock { $0.wakePolls() } }
        }
    }

    /// A seat is, or is about to be, on a loop.
    func joined() {
        seats.wrappingAdd(1, ordering: .relaxed)
    }

    /// A seat on a loop is gone.
    func left(_ stream: StreamKey, loop: Int) {
        seats.wrappingSubtract(1, ordering: .relaxed)
        find(stream.accountID)?.state.withLock { state in
            guard state.followers[stream] != nil else { return }
            state.followers[stream]?.seats[loop] -= 1
            state.dropIfEmpty(stream)
        }
    }
}

extension AccountFeed.State {
    func wakePolls() {
        for followers in followers.values { for poll in followers.polls.values { poll.yield() } }
    }

    mutating func dropIfEmpty(_ stream: StreamKey) {
        guard followers[stream]?.isEmpty ?? false else { return }
        followers[stream] = nil
        unfollowIfUnused(stream)
    }

    /// A dialog's number is kept only while somebody follows it.
    mutating func unfollowIfUnused(_ stream: StreamKey) {
        guard followers[stream] == nil, case .dialog(let id, _) = stream else { return }
        tail.unfollow(id)
    }
}
