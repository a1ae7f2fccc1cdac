import CoreMetrics
import Logging
import Synchronization

/// The bus's health, kept by those who send and read, and asked by everybody else.
final class BusMonitor: Sendable {
    private let health = Mutex(BusHealth())
    private let wasHealthy = Mutex(false)
    private let logger: Logger

    init(logger: Logger) {
        self.logger = logger
        BusMetrics.show()
    }

    var isHealthy: Bool { health.withLock { $0.isHealthy } }

    func reading(_ shards: [Int], _ isRead: Bool) {
        health.withLock { $0.reading(shards, isRead) }
        tell()
    }

    func sent(_ number: Int64, to shard: Int) {
        health.withLock { $0.sent(number, to: shard, at: .now) }
    }

    func returned(_ number: Int64, from shard: Int) {
        health.withLock { $0.returned(number, from: shard, at: .now) }
        tell()
    }

    func failed() {
        health.withLock { $0.failed() }
        tell()
    }

    func round() -> BusHealth.Round {
        defer { tell() }
        return health.withLock { $0.round(at: .now) }
    }

    /// Says it where it changed, once.
    private func tell() {
        wasHealthy.withLock { was in
            let isHealthy = self.isHealthy
            guard was != isHealthy else { return }
            was = isHealthy
            BusMetrics.healthy.record(isHealthy ? 1 : 0)
            if isHealthy {
                logger.notice("The bus delivers")
            } else {
                logger.warning("The bus does not deliver; events of other nodes are read from the log")
            }
        }
    }
}
