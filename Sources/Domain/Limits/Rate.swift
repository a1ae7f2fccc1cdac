/// Limits are counted in whole microseconds: exact here, and in the doubles of Redis' Lua.
package typealias Microseconds = Int64

/// How often something may happen: `count` times in a row, and from then on once every `per / count`. This is GCRA, the
/// generic cell rate algorithm (ITU-T I.371), with a burst of `count`.
package struct Rate: Sendable, Equatable {
    private static let counts = 1...1_000_000
    private static let periods = Duration.milliseconds(1)...Duration.seconds(366 * 86_400)

    package let count: Int
    /// From one turn to the next.
    package let interval: Microseconds

    /// - Parameters:
    ///   - count: 1 to a million.
    ///   - per: a millisecond to a year.
    package init(count: Int, per: Duration) {
        precondition(Self.counts.contains(count) && Self.periods.contains(per), "A rate that nobody can keep")
        self.count = count
        interval = max(1, Microseconds(per) / Int64(count))
    }

    /// What a full bucket holds.
    var burst: Microseconds { interval * Int64(count) }
}

extension Microseconds {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}
