/// The buckets of all limits, each of them one number: its theoretical arrival time, the moment at which it is full
/// again. Pure; times are given, counted from any one moment.
package struct Buckets: Sendable {
    /// Keys, at about 150 bytes each.
    package static let capacity = 100_000
    /// Sweeping looks at every key, so a flood of new ones must not cause it each time.
    private static let sweepPause: Microseconds = 1_000_000

    private let capacity: Int
    private var arrivals: [LimitKey: Microseconds] = [:]
    private var sweptAt: Microseconds?

    package init(capacity: Int = Self.capacity) {
        self.capacity = capacity
    }

    package var count: Int { arrivals.count }

    /// Takes all of the charges or none: what is refused costs nobody anything, so who floods is alone in having used
    /// up what neighbours share.
    package mutating func take(_ charges: [Charge], at now: Duration) -> LimitVerdict {
        let now = Microseconds(now)
        var levels: [Microseconds] = []
        var after: [LimitKey: Microseconds] = [:]
        for charge in charges {
            let level = after[charge.key] ?? level(of: charge.key, at: now)
            levels.append(level)
            after[charge.key] = level + charge.increment
        }
        let verdict = LimitVerdict(charges, levels: levels)
        guard case .allowed = verdict else { return verdict }
        for (key, level) in after { keep(key, until: now + level, at: now) }
        return verdict
    }

    /// Undoes what was taken for an attempt that came to nothing.
    package mutating func giveBack(_ charges: [Charge], at now: Duration) {
        let now = Microseconds(now)
        for charge in charges {
            guard let arrival = arrivals[charge.key] else { continue }
            let earlier = arrival - charge.increment
            arrivals[charge.key] = earlier > now ? earlier : nil
        }
    }

    /// Nothing was ever taken.
    package mutating func clear(_ key: LimitKey) {
        arrivals[key] = nil
    }

    private func level(of key: LimitKey, at now: Microseconds) -> Microseconds {
        max(0, (arrivals[key] ?? now) - now)
    }

    /// What does not fit is allowed and forgotten. Who comes with so many subjects has all their budgets anyway, and to
    /// refuse would turn away every honest newcomer for them; those who are known are still held to their limits.
    private mutating func keep(_ key: LimitKey, until arrival: Microseconds, at now: Microseconds) {
        if arrivals.count >= capacity && arrivals[key] == nil {
            sweep(at: now)
            guard arrivals.count < capacity else { return }
        }
        arrivals[key] = arrival
    }

    private mutating func sweep(at now: Microseconds) {
        if let sweptAt, now - sweptAt < Self.sweepPause { return }
        sweptAt = now
        arrivals = arrivals.filter { $0.value > now }
    }
}
