/// Why there are no replies. Whether the commands were carried out is unknown, except after ``away``. A command that
/// Redis itself turns down is no failure: its reply is ``RedisValue/error(_:)``.
package enum RedisFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// There is no connection, and none could be made.
    case away
    /// The connection was closed, by either side, or the calling task was cancelled.
    case closed
    /// No reply until the deadline. The connection is closed then.
    case timedOut
    /// The server turned the connection down, in its own words without anything secret; or too much waits already.
    case refused(String)
    /// What came is not Redis' protocol, or nobody had asked for it.
    case malformed

    package var description: String {
        switch self {
        case .away: "no connection to Redis"
        case .closed: "the connection to Redis was closed"
        case .timedOut: "no answer from Redis in time"
        case .refused(let reason): "refused: \(reason)"
        case .malformed: "what came is no answer of Redis"
        }
    }
}
