package import Domain
package import Logging
import Synchronization

/// A stream to be opened counts for somebody.
package struct StreamClaim: Sendable {
    package let key: LimitKey
    package let limit: Int

    package init(_ key: LimitKey, limit: Int) {
        self.key = key
        self.limit = limit
    }
}

/// What an open stream holds, until it is left.
package struct StreamPlace: Sendable, Hashable {
    let id: OpenPlaces.Place
}

/// How many streams somebody has open, on all nodes together. In Redis each place counts for a minute and is renewed
/// every 20 s, so those of a node that died are free again within the minute. While Redis is away, each node counts its
/// own.
package final class StreamCounts: Sendable {
    package struct Timing: Sendable {
        package var validity = Duration.seconds(60)
        package var renewal = Duration.seconds(20)
        /// How long an answer of Redis is waited for.
        package var patience = Duration.milliseconds(100)

        package init() {}
    }

    let timing: Timing
    let scripts: ScriptRunner
    let places = Mutex(OpenPlaces())
    private let secret: LimitSecret
    let (work, workCame) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

    /// - Parameters:
    ///   - client: a connection that carries nothing else than limits: a late answer closes it.
    ///   - secret: the same on every node; what Redis sees of subjects is made with it.
    package init(_ client: RedisClient?, secret: String, timing: Timing = Timing(), logger: Logger) {
        scripts = ScriptRunner(client, patience: timing.patience, logger: logger)
        self.secret = LimitSecret(secret)
        self.timing = timing
        LimitMetrics.show()
    }

    /// Open on this node.
    package var count: Int { places.withLock { $0.count } }

    /// Takes a place under every claim or under none. Answers within ``Timing/patience``.
    /// - Parameter claims: each with a key of its own.
    /// - Returns: nil where a claim's limit is reached.
    package func enter(_ claims: [StreamClaim]) async -> StreamPlace? {
        let place = StreamPlace(id: .random(in: .min ... .max))
        let digests = claims.map { secret.digest(of: $0.key) }
        // Taken here first: what this node alone has too many of, no other needs to be asked about.
        let full = places.withLock { places in
            places.enter(place.id, Array(zip(digests, claims.map(\.limit))))
        }
        if let full { return refused(claims[full], byRedis: false) }
        let answer = await scripts.run(
            .enter, keys: digests.map(\.placesKey),
            arguments: [validity, place.name] + claims.map { "\($0.limit)" })
        guard let number = answer?.first.map(Int.init), claims.indices.contains(number - 1) else {
            LimitMetrics.decided(byRedis: answer != nil)
            if answer == nil { places.withLock { $0.noteUntold() } }
            return place
        }
        _ = places.withLock { $0.remove(place.id) }
        return refused(claims[number - 1], byRedis: true)
    }

    /// From any thread, without waiting; a place that was left before stays left.
    package func leave(_ place: StreamPlace) {
        places.withLock { $0.leave(place.id, at: .now) }
        workCame.yield()
    }

    private func refused(_ claim: StreamClaim, byRedis isShared: Bool) -> StreamPlace? {
        LimitMetrics.decided(byRedis: isShared)
        LimitMetrics.refused(claim.key.name)
        return nil
    }

    /// In milliseconds.
    var validity: String { "\(Int(timing.validity / .milliseconds(1)))" }
}

extension StreamPlace {
    var name: String { String(id, radix: 36) }
}

extension LimitDigest {
    var placesKey: String { key("streams") }
}
