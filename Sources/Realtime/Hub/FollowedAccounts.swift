import Domain
import NIOCore
import Synchronization

/// One account that somebody on this node follows: its tail and where its followers sit, under one lock.
final class FollowedAccount: Sendable {
    struct Followers: Sendable {
        /// Live and joining seats, by event loop.
        var seats: [Int]
        /// Long polls that wait for the next event.
        var polls: [Int: AsyncStream<Void>.Continuation] = [:]

        var isEmpty: Bool { polls.isEmpty && seats.allSatisfy { $0 == 0 } }
    }

    struct State: Sendable {
        var tail: AccountTail
        var followers: [StreamKey: Followers] = [:]
        /// Openings under way; they keep the account here though nobody sits yet.
        var openings = 0
        /// How many audits in a row found nobody here.
        var idleAudits = 0
        var nextPoll = 0

        var isUnused: Bool { openings == 0 && followers.isEmpty }
    }

    let id: Account.ID
    let state: Mutex<State>

    init(id: Account.ID) {
        self.id = id
        state = Mutex(State(tail: AccountTail(accountID: id)))
    }
}

/// The accounts that somebody on this node follows.
final class FollowedAccounts: Sendable {
    /// A followed account is kept this many audits after the last follower left, so that a reconnect finds its ring.
    private static let audits = 40

    private let accounts = Mutex<[Account.ID: FollowedAccount]>([:])
    private let seats = Atomic(0)

    func find(_ id: Account.ID) -> FollowedAccount? {
        accounts.withLock { $0[id] }
    }

    /// Counts an opening: until ``exit(_:)`` the account stays.
    func enter(_ id: Account.ID) -> FollowedAccount {
        accounts.withLock { accounts in
            let account = accounts[id] ?? FollowedAccount(id: id)
            accounts[id] = account
            account.state.withLock { $0.openings += 1 }
            return account
        }
    }

    func exit(_ account: FollowedAccount) {
        account.state.withLock { $0.openings -= 1 }
    }

    func wakePolls() {
        accounts.withLock { accounts in
            for account in accounts.values {
                account.state.withLock { $0.wakePolls() }
            }
        }
    }

    var seatCount: Int { seats.load(ordering: .relaxed) }

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

    /// All that somebody follows or is about to; those that nobody has used for a while are dropped.
    func audited() -> [FollowedAccount] {
        accounts.withLock { accounts in
            var used: [FollowedAccount] = []
            for (id, account) in accounts {
                let idleAudits = account.state.withLock { state in
                    state.idleAudits = state.isUnused ? state.idleAudits + 1 : 0
                    return state.idleAudits
                }
                if idleAudits == 0 { used.append(account) }
                if idleAudits > Self.audits { accounts[id] = nil }
            }
            return used
        }
    }
}

extension FollowedAccount.State {
    func wakePolls() {
        for followers in followers.values { for poll in followers.polls.values { poll.yield() } }
    }

    mutating func dropIfEmpty(_ stream: StreamKey) {
        guard followers[stream]?.isEmpty ?? false else { return }
        followers[stream] = nil
        if case .dialog(let id, _) = stream { tail.unfollow(id) }
    }
}
