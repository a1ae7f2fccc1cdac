/// Whether the bus delivers, judged by what comes back: a connection that answers and delivers nothing is not healthy.
/// A shard is proven when an entry of this node's own comes back in time; where none was on its way for a second, a
/// probe is sent. Pure; times are given.
struct BusHealth: Sendable {
    typealias Moment = ContinuousClock.Instant

    /// What is to be done now.
    struct Round: Equatable, Sendable {
        /// Shards to be sent a probe.
        var quiet: [Int] = []
        /// An entry did not come back: the reader must open the shards anew, at their ends.
        var mustReopen = false
    }

    private struct Shard: Sendable {
        /// Whether the reader is in its place: only then can anything come back.
        var isRead = false
        /// When an own entry last came back in time; `nil` while the shard is not known to deliver.
        var provenAt: Moment?
        /// An own entry that is on its way; of several the oldest since the last that came back.
        var awaited: (number: Int64, sentAt: Moment)?
    }

    /// An own entry must come back within this time.
    static let patience = Duration.seconds(1)
    /// A shard without own entries for this long is probed. With ``patience`` and the time between two rounds (a
    /// quarter of a second) a wedged bus is noticed within 2.25 s.
    static let quietTime = Duration.seconds(1)

    private var shards = Array(repeating: Shard(), count: BusShards.count)

    var isHealthy: Bool { shards.allSatisfy { $0.provenAt != nil } }

    /// The reader is in its place, or has lost it. What was sent before it was there is not held against it: it may
    /// have begun behind that.
    mutating func reading(_ some: [Int], _ isRead: Bool) {
        for index in some { shards[index] = Shard(isRead: isRead) }
    }

    /// - Parameter number: rises with every entry of this node.
    mutating func sent(_ number: Int64, to shard: Int, at now: Moment) {
        if shards[shard].isRead && shards[shard].awaited == nil { shards[shard].awaited = (number, now) }
    }

    mutating func returned(_ number: Int64, from shard: Int, at now: Moment) {
        // What was given up proves nothing of now.
        guard let awaited = shards[shard].awaited, number >= awaited.number else { return }
        shards[shard] = Shard(isRead: true, provenAt: now)
    }

    /// Sending failed.
    mutating func failed() {
        for index in shards.indices { shards[index] = Shard(isRead: shards[index].isRead) }
    }

    mutating func round(at now: Moment) -> Round {
        var round = Round()
        for index in shards.indices where shards[index].isRead {
            if let awaited = shards[index].awaited, awaited.sentAt.duration(to: now) > Self.patience {
                shards[index] = Shard(isRead: true)
                round.mustReopen = true
            }
            let shard = shards[index]
            let isOld = shard.provenAt.map { $0.duration(to: now) >= Self.quietTime } ?? true
            if shard.awaited == nil && isOld { round.quiet.append(index) }
        }
        return round
    }
}
