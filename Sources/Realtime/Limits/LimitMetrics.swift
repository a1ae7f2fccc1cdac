import CoreMetrics
import Domain

/// What the limits tell of themselves. Documented in docs/metrics.md.
enum LimitMetrics {
    /// Decided for all nodes.
    private static let byRedis = Counter(label: "replyx_limits_decided_total", dimensions: [("by", "redis")])
    /// Decided by this node alone.
    private static let byNode = Counter(label: "replyx_limits_decided_total", dimensions: [("by", "node")])
    private static let refused = Dictionary(
        uniqueKeysWithValues: LimitName.allCases.map { name in
            (name, Counter(label: "replyx_limits_refused_total", dimensions: [("limit", name.rawValue)]))
        })

    static func decided(byRedis isShared: Bool) {
        (isShared ? byRedis : byNode).increment()
    }

    static func refused(_ name: LimitName) {
        refused[name]?.increment()
    }

    /// What has not counted yet is shown as 0, so that an alarm can be set on it.
    static func show() {
        for counter in [byRedis, byNode] + refused.values { counter.increment(by: 0) }
    }
}
