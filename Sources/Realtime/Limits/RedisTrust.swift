/// Whether Redis is asked. After a failure it is left alone for a second, and then one question decides: a slow one must
/// not make everybody wait. Pure; times are given.
struct RedisTrust: Sendable {
    typealias Moment = ContinuousClock.Instant

    static let rest = Duration.seconds(1)

    private var restsUntil: Moment?

    /// To be called only by who then asks, and says what came of it.
    mutating func mayAsk(at now: Moment) -> Bool {
        guard let end = restsUntil else { return true }
        guard now >= end else { return false }
        // The others go on without, until this one has its answer.
        restsUntil = now + Self.rest
        return true
    }

    mutating func answered() {
        restsUntil = nil
    }

    mutating func failed(at now: Moment) {
        restsUntil = now + Self.rest
    }
}
