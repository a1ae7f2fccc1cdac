package import Domain
package import Logging
import Synchronization

/// How often something may be done, on all nodes together. Redis decides; while it is away, slow or refuses, this node
/// does by the same rule with buckets of its own, and nobody is told. So without Redis an installation of n nodes allows
/// up to n times as much.
package final class RateLimiter: Sendable {
    private let scripts: ScriptRunner
    private let secret: LimitSecret
    private let buckets = Mutex(Buckets())
    private let began = ContinuousClock.now

    /// - Parameters:
    ///   - client: a connection that carries nothing else: a late answer closes it.
    ///   - secret: the same on every node; what Redis sees of subjects is made with it.
    ///   - patience: how long an answer of Redis is waited for.
    package init(
        _ client: RedisClient?, secret: String, patience: Duration = .milliseconds(100), logger: Logger
    ) {
        scripts = ScriptRunner(client, patience: patience, logger: logger)
        self.secret = LimitSecret(secret)
        LimitMetrics.show()
    }

    /// Takes all of the charges or none. Answers within `patience`; it is the caller who waits where the verdict says so.
    package func take(_ charges: [Charge]) async -> LimitVerdict {
        guard !charges.isEmpty else { return .allowed(wait: .zero, tightest: nil) }
        let levels = await scripts.run(
            .take, keys: redisKeys(charges), arguments: charges.flatMap { ["\($0.increment)", "\($0.ceiling)"] })
        let isShared = levels?.count == charges.count
        let verdict =
            if let levels, isShared {
                LimitVerdict(charges, levels: levels)
            } else {
                buckets.withLock { $0.take(charges, at: now) }
            }
        LimitMetrics.decided(byRedis: isShared)
        if case .refused(_, let standing) = verdict { LimitMetrics.refused(standing.name) }
        return verdict
    }

    /// Undoes what was taken for an attempt that came to nothing.
    package func giveBack(_ charges: [Charge]) async {
        guard !charges.isEmpty else { return }
        // In both places, as it is not known who had decided. The other one gives away at most as much as was taken.
        buckets.withLock { $0.giveBack(charges, at: now) }
        _ = await scripts.run(.giveBack, keys: redisKeys(charges), arguments: charges.map { "\($0.increment)" })
    }

    /// Nothing was ever taken.
    package func clear(_ key: LimitKey) async {
        buckets.withLock { $0.clear(key) }
        _ = await scripts.run(.clear, keys: [redisKey(key)], arguments: [])
    }

    private var now: Duration { began.duration(to: .now) }

    private func redisKeys(_ charges: [Charge]) -> [String] { charges.map { redisKey($0.key) } }

    private func redisKey(_ key: LimitKey) -> String { secret.digest(of: key).key("rate") }
}
