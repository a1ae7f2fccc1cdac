/// How long to wait before the next try: from 50 ms, twice as long each time, up to 2 s. Half of it is drawn by lot,
/// so that nodes that lost the same server do not come back in step.
package struct Backoff: Sendable {
    package static let first = Duration.milliseconds(50)
    package static let longest = Duration.seconds(2)

    private var ceiling = Self.first

    package init() {}

    package mutating func next() -> Duration {
        next(lot: .random(in: 0...1))
    }

    /// - Parameter lot: from 0 to 1.
    mutating func next(lot: Double) -> Duration {
        defer { ceiling = min(ceiling * 2, Self.longest) }
        return ceiling * (0.5 + lot / 2)
    }

    package mutating func reset() {
        ceiling = Self.first
    }
}
