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
    private let busDelivers: @Sendable () -> Bool
    private let logger: Logger

    /// - Parameter busDelivers: whether other nodes' events come by themselves at the moment. Then a look now and then
    ///   is enough.
    package init(
        hub: EventHub, log: any EventLog, busDelivers: @escaping @Sendable () -> Bool = { false }, logger: Logger
    ) {
        self.hub = hub
        self.log = log
        self.busDelivers = busDelivers
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
            let begun = ContinuousClock.now
            do {
                try await round()
                if isAway { logger.notice("The log answers again") }
                isAway = false
            } catch {
                if !isAway { logger.warning("The log does not answer", metadata: ["error": "\(type(of: error))"]) }
                isAway = true
            }
            // In short steps, so that a bus that stops delivering is made up for at once.
            repeat {
                try? await Task.sleep(for: hub.settings.auditInterval)
            } while !Task.isCancelled && busDelivers() && begun.duration(to: .now) < hub.settings.calmAuditInterval
        }
    }

    /// One look at every followed account.
    package func round() async throws {
        let feeds = hub.feeds.audited()
        for start in stride(from: 0, to: feeds.count, by: Self.chunk) {
            let some = feeds[start..<min(start + Self.chunk, feeds.count)]
            let heads = try await log.heads(of: some.map(\.id))
            var behind: [Gap] = []
            for feed in some {
                guard let seq = heads.seqs[feed.id] else { continue }
                switch feed.standing(against: seq, generation: heads.generation) {
                case .level: break
                case .behind: behind.append(Gap(feed: feed, end: seq))
                case .otherLog: hub.restart(feed, saying: .drain)
                }
            }
            guard !behind.isEmpty else { continue }
            try await Task.sleep(for: Self.patience)
            // What has come meanwhile was on its way.
            behind.removeAll { $0.feed.standing(against: $0.end ?? 0, generation: heads.generation) != .behind }
            try await fill(behind)
        }
    }

    private func gaps() async {
        for await _ in hub.gapSignal {
            try? await Task.sleep(for: Self.patience)
            let gaps = hub.takeGaps().filter { feed in feed.state.withLock { $0.tail.hasGap } }
            // A failure here is the next round's business.
            try? await fill(gaps.map { Gap(feed: $0, end: nil) })
        }
    }

    // MARK: Filling

    private struct Gap: Sendable {
        let feed: AccountFeed
        /// The number to read up to; `nil`: until nothing is missing below what is known.
        let end: Int64?

        var isClosed: Bool {
            feed.state.withLock { state in
                guard let last = state.tail.last else { return true }
                return end.map { last >= $0 } ?? !state.tail.hasGap
            }
        }
    }

    /// Several at once: after a restart of what hands events on, all accounts are behind.
    private func fill(_ gaps: [Gap]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, gap) in gaps.enumerated() {
                if index >= Self.atOnce { try await group.next() }
                group.addTask { try await fill(gap) }
            }
            try await group.waitForAll()
        }
    }

    private func fill(_ gap: Gap) async throws {
        let feed = gap.feed
        let stream = StreamKey.account(feed.id)
        while !gap.isClosed {
            let tail = feed.state.withLock { ($0.tail.last, $0.tail.generation, $0.tail.highest) }
            guard let last = tail.0, let generation = tail.1 else { return }
            let page = try await log.events(in: stream, after: last, limit: Self.pageSize)
            switch PageVerdict(page, in: stream, after: last, generation: generation) {
            case .next(let events, _):
                StreamMetrics.gapsRepaired.increment(by: hub.ingest(events[...], of: feed.id, from: .log))
                if gap.isClosed { return }
                // So that those who follow take one page before the next is upon them.
                try await Task.sleep(for: Self.patience)
            case .otherLog:
                hub.restart(feed, saying: .drain)
                return
            case .nothing:
                // What waited before the log was asked is not of it; what has come since may be.
                _ = hub.feeds.update(feed) { $0.tail.forgetWaiting(upTo: tail.2) }
                return
            case .erased:
                // Rows between are gone for good. Whoever resumes is told so.
                hub.restart(feed, saying: .erased)
                return
            }
        }
    }
}

extension AccountFeed {
    fileprivate enum Standing { case level, behind, otherLog }

    /// Where the tail stands against the log. A loose one is level: its opener reads the head.
    fileprivate func standing(against seq: Int64, generation: Int64) -> Standing {
        state.withLock { state in
            guard let known = state.tail.generation, let last = state.tail.last else { return .level }
            if known != generation { return .otherLog }
            return last < seq ? .behind : .level
        }
    }
}
