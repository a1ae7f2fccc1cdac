import CoreMetrics

/// What the bus tells of itself. Documented in docs/metrics.md.
enum BusMetrics {
    /// 1 while what this node sends comes back to it in time.
    static let healthy = Gauge(label: "replyx_bus_healthy")
    static let published = Counter(label: "replyx_bus_published_total")
    /// Committed events that did not get onto the bus; other nodes' auditors deliver them.
    static let dropped = Counter(label: "replyx_bus_dropped_total")
    /// Entries read, of any node and kind.
    static let entries = Counter(label: "replyx_bus_entries_total")
    /// Entries that are not ours to understand: of another installation, of a newer version, or malformed.
    static let foreign = Counter(label: "replyx_bus_foreign_entries_total")
    /// How often the reader left its place and went to the end.
    static let reopens = Counter(label: "replyx_bus_reopens_total")

    /// What has not counted yet is shown as 0, so that an alarm can be set on it.
    static func show() {
        healthy.record(0)
        for counter in [published, dropped, entries, foreign, reopens] { counter.increment(by: 0) }
    }
}
