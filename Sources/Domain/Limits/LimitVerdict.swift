/// What several charges together come to: all of them are taken, or none.
package enum LimitVerdict: Sendable, Equatable {
    /// - Parameters:
    ///   - wait: until its turn; zero unless a charge has a ``Charge/maximumWait``.
    ///   - tightest: of the bucket that has least left; nil where nothing was charged.
    case allowed(wait: Duration, tightest: Standing?)
    /// - Parameters:
    ///   - retryAfter: when the charge would be taken, if nobody else comes first.
    ///   - standing: of the bucket that takes longest.
    case refused(retryAfter: Duration, standing: Standing)

    /// - Parameter levels: of each charge's bucket, as the charges before it left it: how far its theoretical arrival
    ///   time lies ahead of now. 0 is a bucket that nobody took from.
    package init(_ charges: [Charge], levels: [Microseconds]) {
        var longest: (excess: Microseconds, standing: Standing)?
        var wait: Microseconds = 0
        var tightest: Standing?
        for (charge, level) in zip(charges, levels) {
            let after = level + charge.increment
            let excess = after - charge.ceiling
            if excess > 0 && excess > longest?.excess ?? 0 { longest = (excess, Standing(charge, level: level)) }
            wait = max(wait, after - charge.rate.burst)
            let standing = Standing(charge, level: after)
            if standing.remaining < tightest?.remaining ?? .max { tightest = standing }
        }
        if let longest {
            self = .refused(retryAfter: .microseconds(longest.excess), standing: longest.standing)
        } else {
            self = .allowed(wait: .microseconds(wait), tightest: tightest)
        }
    }
}

/// How a bucket stands, for the fields `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`
/// (draft-ietf-httpapi-ratelimit-headers-03).
package struct Standing: Sendable, Equatable {
    package let name: LimitName
    package let limit: Int
    /// What could be taken now, in a row, without waiting.
    package let remaining: Int
    /// Until all of the limit can be.
    package let resetAfter: Duration

    init(_ charge: Charge, level: Microseconds) {
        name = charge.key.name
        limit = charge.rate.count
        remaining = Int(max(0, charge.rate.burst - level) / charge.rate.interval)
        resetAfter = .microseconds(level)
    }
}
