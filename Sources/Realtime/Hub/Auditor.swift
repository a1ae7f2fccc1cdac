import CoreMetrics
package import Domain
package import Logging
import ServiceLifecycle
import Synchronization

/// Asks the log itself for what did not arrive: after a crash between commit and delivery, a lost bus, a wedged
/// connection. The one repair for all of them, so that everything faster may fail.
package struct Auditor: Service {
    /// Accounts asked for in one statement.
    private static let chunk = 1000
    private static let pageSize = 200
    /// Accounts read at once; fewer than the pool has connections, so that those who ask are served meanwhile.
    private static let atOnce = 4
    /// A commit is usually handed on within this time; what is behind for longer was not handed on.
    private static let patience = Duration.milliseconds(20)

    private let hub: EventHub
    private let log: any EventLog
    private let logger: Logger

    package init(hub: EventHub, log: any EventLog, logger: Logger) {
        self.hub = hub
        self.log = log
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await rounds() }
                group.addTask { await gaps() }
            }
        }
    }

    private func rounds() async {
        var isAway = false
        while !Task.isCancelled {
            do {
                try await round()
                if isAway { logger.notice("The log answers again") }
                isAway = false
            } catch {
                if !isAway { logger.warning("The log does not answer", metadata: ["error": "\(type(of: error))"]) }
                isAway = true
            }
            try? await Task.sleep(for: hub.settings.auditInterval)
        }
    }

    /// One look at every followed account.
    package func round() async throws {
        let accounts = hub.registry.audited()
        for start in stride(from: 0, to: accounts.count, by: Self.chunk) {
            let some = accounts[start..<min(start + Self.chunk, accounts.count)]
            let heads = try await log.heads(of: some.map(\.id))
            var behind: [FollowedAccount] = []
            for account in some {
                guard let seq = heads.seqs[account.id] else { continue }
                switch account.standing(against: seq, generation: heads.generation) {
                case .level: break
                case .behind: behind.append(account)
                case .otherLog: hub.restart(account, saying: .drain)
                }
            }
            guard !behind.isEmpty else { continue }
            try await Task.sleep(for: Self.patience)
            try await fill(behind, upTo: heads)
        }
    }

    /// Several at once: after a restart of what hands events on, all accounts are behind.
    private func fill(
        _ accounts: [FollowedAccount], upTo heads: (generation: Int64, seqs: [Account.ID: Int64])
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, account) in accounts.enumerated() {
                if index >= Self.atOnce { try await group.next() }
                guard let seq = heads.seqs[account.id] else { continue }
                group.addTask {
                    guard account.standing(against: seq, generation: heads.generation) == .behind else { return }
                    try await fill(account, upTo: seq)
                }
            }
            try await group.waitForAll()
        }
    }

    private func gaps() async {
        for await id in hub.gaps {
            try? await Task.sleep(for: Self.patience)
            guard let account = hub.registry.find(id), account.state.withLock({ $0.tail.hasGap }) else { continue }
            // A failure here is the next round's business.
            try? await fill(account, upTo: nil)
        }
    }

    /// Reads what the account's tail lacks, up to a number, or until nothing is missing below one that came.
    private func fill(_ account: FollowedAccount, upTo end: Int64?) async throws {
        let stream = StreamKey.account(account.id)
        while let last = account.state.withLock({ $0.tail.last }) {
            guard let generation = account.state.withLock({ $0.tail.generation }) else { return }
            let page = try await log.events(in: stream, after: last, limit: Self.pageSize)
            switch PageVerdict(page, in: stream, after: last, generation: generation) {
            case .next(let events, _):
                let repaired = hub.ingest(events[...], of: account.id)
                StreamMetrics.gapsRepaired.increment(by: repaired)
                let isDone = account.state.withLock { state in
                    end.map { (state.tail.last ?? 0) >= $0 } ?? !state.tail.hasGap
                }
                if isDone { return }
                // So that those who follow take one page before the next is upon them.
                try await Task.sleep(for: Self.patience)
            case .otherLog:
                hub.restart(account, saying: .drain)
                return
            case .nothing:
                return
            case .erased:
                // Rows between are gone for good. Whoever resumes is told so.
                hub.restart(account, saying: .erased)
                return
            }
        }
    }
}

extension FollowedAccount {
    fileprivate enum Standing { case level, behind, otherLog }

    /// Where the tail stands against the log. An account whose tail has not begun is level: its opener reads the head.
    fileprivate func standing(against seq: Int64, generation: Int64) -> Standing {
        state.withLock { state in
            guard let known = state.tail.generation, let last = state.tail.last else { return .level }
            if known != generation { return .otherLog }
            return last < seq ? .behind : .level
        }
    }
}
