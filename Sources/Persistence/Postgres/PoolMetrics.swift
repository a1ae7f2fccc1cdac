import CoreMetrics

/// What operators see of a pool.
struct PoolMetrics: Sendable {
    private let inUse = Gauge(label: "replyx_pg_pool_in_use")
    private let waiting = Gauge(label: "replyx_pg_pool_waiting")
    private let timeouts = Counter(label: "replyx_pg_pool_timeouts_total")
    private let made = Counter(label: "replyx_pg_connects_total", dimensions: [("result", "ok")])
    private let failed = Counter(label: "replyx_pg_connects_total", dimensions: [("result", "failed")])

    func report(inUse: Int, waiting: Int) {
        self.inUse.record(inUse)
        self.waiting.record(waiting)
    }

    func timedOut() {
        timeouts.increment()
    }

    func connected(_ isConnected: Bool) {
        (isConnected ? made : failed).increment()
    }
}
