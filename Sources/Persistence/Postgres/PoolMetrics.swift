import CoreMetrics

/// What operators see of a pool.
struct PoolMetrics: Sendable {
    private let inUse: Gauge
    private let waiting: Gauge
    private let timeouts: Counter
    private let made: Counter
    private let failed: Counter

    init(pool name: String) {
        let pool = [("pool", name)]
        inUse = Gauge(label: "replyx_pg_pool_in_use", dimensions: pool)
        waiting = Gauge(label: "replyx_pg_pool_waiting", dimensions: pool)
        timeouts = Counter(label: "replyx_pg_pool_timeouts_total", dimensions: pool)
        made = Counter(label: "replyx_pg_connects_total", dimensions: pool + [("result", "ok")])
        failed = Counter(label: "replyx_pg_connects_total", dimensions: pool + [("result", "failed")])
    }

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
