package import CoreMetrics
package import Domain

/// What the streams tell of themselves. Labels are documented in docs/metrics.md.
package enum StreamMetrics {
    /// Where the events came from that a stream was caught up with.
    package enum ResumeSource: String, Sendable {
        /// Opened without a cursor, or with that of the newest event.
        case head
        /// Memory, of an account that was followed here.
        case ring
        /// Memory, of an account that nobody here followed: it came by the bus and was kept.
        case bus
        case postgres
        /// Impossible: answered by `reset`.
        case reset
    }

    /// Counters that have not counted yet are shown as 0, so that an alarm can be set on them.
    static func show() {
        for counter in [gapsRepaired, outOfOrder, delivered] { counter.increment(by: 0) }
    }

    /// Why a stream ended: the reasons of `bye`, and `gone` for clients that left.
    package static func closed(_ reason: String) {
        Counter(label: "replyx_stream_closes_total", dimensions: [("reason", reason)]).increment()
    }

    package static func resumed(from source: ResumeSource) {
        Counter(label: "replyx_stream_resumes_total", dimensions: [("source", source.rawValue)]).increment()
    }

    /// Ephemeral events that were not shown, by why.
    package static func ephemeralDropped(_ reason: String) {
        Counter(label: "replyx_ephemeral_dropped_total", dimensions: [("reason", reason)]).increment()
    }

    package static func connections(_ stream: StreamKey) -> Meter {
        let kind =
            switch stream {
            case .account: "account"
            case .dialog: "dialog"
            }
        return Meter(label: "replyx_stream_connections", dimensions: [("kind", kind)])
    }

    /// Events that reached this node only because the auditor looked.
    package static let gapsRepaired = Counter(label: "replyx_gaps_repaired_total")
    /// Frames that a loop's table refused for not being the next of their stream. Stays 0, or the hub has a defect.
    package static let outOfOrder = Counter(label: "replyx_out_of_order_total")
    package static let delivered = Counter(label: "replyx_events_delivered_total")
}
