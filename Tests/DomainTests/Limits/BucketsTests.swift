import Testing

@testable import Domain

@Suite struct BucketsTests {
    private static let rate = Rate(count: 3, per: .seconds(6))
    private static let visitor = LimitKey(.visitorMessages, of: "visitor")
    private static let address = LimitKey(.addressMessages, of: "address")

    private static func one(_ key: LimitKey, _ rate: Rate = rate, cost: Int = 1) -> Charge {
        Charge(key: key, rate: rate, cost: cost)
    }

    /// A refused password's charge: five free, then one every two seconds, ten seconds at most.
    private static let password = Charge(
        key: LimitKey(.passwords, of: "account at address"), rate: Rate(count: 5, per: .seconds(10)),
        maximumWait: .seconds(10))

    private func wait(_ verdict: LimitVerdict) -> Duration? {
        if case .allowed(let wait, _) = verdict { wait } else { nil }
    }

    private func retryAfter(_ verdict: LimitVerdict) -> Duration? {
        if case .refused(let retryAfter, _) = verdict { retryAfter } else { nil }
    }

    private func standing(_ verdict: LimitVerdict) -> Standing? {
        switch verdict {
        case .allowed(_, let tightest): tightest
        case .refused(_, let standing): standing
        }
    }

    /// When an attempt is made, in milliseconds, and what comes of it: the time to come again where it is refused.
    private static let attempts: [(at: Int, refused: Int?, remaining: Int, reset: Int)] = [
        (0, nil, 2, 2000), (0, nil, 1, 4000), (100, nil, 0, 5900), (100, 1900, 0, 5900), (1999, 1, 0, 4001),
        (2000, nil, 0, 6000), (3000, 1000, 0, 5000), (4000, nil, 0, 6000), (8001, nil, 1, 3999), (60_000, nil, 2, 2000),
    ]

    @Test func `three in a row are free, and then one every two seconds`() {
        var buckets = Buckets()
        for row in Self.attempts {
            let verdict = buckets.take([Self.one(Self.visitor)], at: .milliseconds(row.at))
            #expect(retryAfter(verdict) == row.refused.map { .milliseconds($0) }, "at \(row.at)")
            let standing = standing(verdict)
            #expect(standing?.limit == 3)
            #expect(standing?.name == .visitorMessages)
            #expect(standing?.remaining == row.remaining, "at \(row.at)")
            #expect(standing?.resetAfter == .milliseconds(row.reset), "at \(row.at)")
        }
    }

    @Test func `over any time no more is allowed than a full bucket and what ran in`() {
        var buckets = Buckets()
        var allowed = 0
        for step in 0..<60_000 where wait(buckets.take([Self.one(Self.visitor)], at: .milliseconds(step))) != nil {
            allowed += 1
        }
        #expect(allowed == 3 + 29)
    }

    @Test func `the turns of those who may wait are spaced, and who would wait too long is refused`() {
        var buckets = Buckets()
        let waits = (0..<12).map { _ in wait(buckets.take([Self.password], at: .zero)) }
        #expect(waits == [0, 0, 0, 0, 0, 2, 4, 6, 8, 10, nil, nil].map { $0.map { .seconds($0) } })
        let refused = buckets.take([Self.password], at: .seconds(1))
        #expect(retryAfter(refused) == .seconds(1))
        #expect(standing(refused)?.remaining == 0)
        #expect(wait(buckets.take([Self.password], at: .seconds(2))) == .seconds(10))
    }

    @Test func `all are taken or none`() {
        var buckets = Buckets()
        let shared = Rate(count: 10, per: .seconds(60))
        let flooder = [Self.one(Self.visitor), Self.one(Self.address, shared)]
        for _ in 0..<3 { #expect(wait(buckets.take(flooder, at: .zero)) == .zero) }
        for _ in 0..<1000 {
            let verdict = buckets.take(flooder, at: .zero)
            #expect(standing(verdict)?.name == .visitorMessages)
            #expect(retryAfter(verdict) == .seconds(2))
        }
        // The other way round too: the address' refusal leaves the visitor what it has.
        let neighbour = [Self.one(LimitKey(.visitorMessages, of: "neighbour")), Self.one(Self.address, shared)]
        #expect(standing(buckets.take(neighbour, at: .zero))?.remaining == 2)
        #expect(standing(buckets.take([Self.one(Self.address, shared)], at: .zero))?.remaining == 5)
        #expect(
            retryAfter(buckets.take([neighbour[0], Self.one(Self.address, shared, cost: 6)], at: .zero)) == .seconds(6))
        #expect(standing(buckets.take([neighbour[0]], at: .zero))?.remaining == 1)
    }

    @Test func `of several that refuse the one that takes longest is told`() {
        var buckets = Buckets()
        let slow = Rate(count: 1, per: .seconds(100))
        let both = [Self.one(Self.visitor, slow), Self.one(Self.address)]
        for _ in 0..<3 { _ = buckets.take([Self.one(Self.address)], at: .zero) }
        _ = buckets.take([both[0]], at: .zero)
        let verdict = buckets.take(both, at: .zero)
        #expect(retryAfter(verdict) == .seconds(100))
        #expect(standing(verdict)?.name == .visitorMessages)
        #expect(standing(buckets.take(both.reversed(), at: .zero))?.name == .visitorMessages)
    }

    @Test func `a key that is charged twice at once pays twice`() {
        var buckets = Buckets()
        let twice = [Self.one(Self.visitor), Self.one(Self.visitor)]
        #expect(standing(buckets.take(twice, at: .zero))?.remaining == 1)
        #expect(retryAfter(buckets.take(twice, at: .zero)) == .seconds(2))
        #expect(standing(buckets.take([Self.one(Self.visitor)], at: .zero))?.remaining == 0)
    }

    @Test func `nothing charged is nothing taken`() {
        var buckets = Buckets()
        #expect(buckets.take([], at: .zero) == .allowed(wait: .zero, tightest: nil))
        #expect(buckets.count == 0)
    }

    @Test func `what is given back can be taken again, and no more than that`() {
        var buckets = Buckets()
        let charge = Self.one(Self.visitor)
        for _ in 0..<3 { _ = buckets.take([charge], at: .zero) }
        buckets.giveBack([charge], at: .zero)
        #expect(wait(buckets.take([charge], at: .zero)) == .zero)
        #expect(retryAfter(buckets.take([charge], at: .zero)) == .seconds(2))
        for _ in 0..<10 { buckets.giveBack([charge], at: .zero) }
        let allowed = (0..<10).count { _ in wait(buckets.take([charge], at: .zero)) != nil }
        #expect(allowed == 3)
    }

    @Test func `a cleared key has paid nothing, and the others have`() {
        var buckets = Buckets()
        for _ in 0..<10 { _ = buckets.take([Self.password, Self.one(Self.visitor)], at: .zero) }
        for _ in 0..<10 { _ = buckets.take([Self.password], at: .zero) }
        buckets.clear(Self.password.key)
        #expect(wait(buckets.take([Self.password], at: .zero)) == .zero)
        #expect(retryAfter(buckets.take([Self.one(Self.visitor)], at: .zero)) == .seconds(2))
    }

    @Test func `keys are bounded: the lapsed make room, the newest are let through, the known are held`() {
        var buckets = Buckets(capacity: 100)
        func take(_ subject: Int, at seconds: Int) -> LimitVerdict {
            buckets.take([Self.one(LimitKey(.visitorMessages, of: "\(subject)"), cost: 3)], at: .seconds(seconds))
        }
        for subject in 0..<100 { #expect(wait(take(subject, at: 0)) == .zero) }
        #expect(buckets.count == 100)
        for _ in 0..<5 { #expect(wait(take(100, at: 1)) == .zero) }
        #expect(buckets.count == 100)
        for subject in 0..<100 { #expect(retryAfter(take(subject, at: 1)) == .seconds(5)) }
        #expect(wait(take(100, at: 6)) == .zero)
        #expect(buckets.count == 1)
        #expect(retryAfter(take(100, at: 6)) == .seconds(6))
    }
}
