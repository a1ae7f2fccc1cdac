import Domain
import FoundationEssentials

/// What may be set about streams.
package struct StreamSettings: Sendable {
    /// Between two heartbeats of a stream, in seconds, at least 1.
    package var heartbeatSeconds = 15
    /// Over how long the streams are ended when the process is told to stop.
    package var drainTime = Duration.seconds(8)
    /// How often the log is asked for what did not arrive by itself, where other nodes' events come only so.
    package var auditInterval = Duration.milliseconds(250)
    /// The same while the bus delivers.
    package var calmAuditInterval = Duration.seconds(2)
    /// Bytes of events kept in memory for replays, of all accounts together.
    package var replayBytes = 64 * 1024 * 1024
    /// How many streams may read what they missed at once; the others wait their turn.
    package var concurrentReplays = 64

    package init() {}

    /// Milliseconds a client is told to wait when its stream breaks; spread, so that a thousand clients do not come
    /// back in one instant.
    package func openingRetry() -> Int { .random(in: 1000...4000) }

    /// The same for a stream that the server ends itself.
    package func retry(after reason: SSEFrame.ByeReason) -> Int {
        switch reason {
        case .drain: .random(in: 1000...8000)
        case .overload: .random(in: 2000...15_000)
        case .expired: 30_000
        case .slow, .erased: openingRetry()
        }
    }
}

extension Timestamp {
    /// This node's clock: only for what a heartbeat shows, never for a decision.
    static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }
}
