/// The places that this node's streams have taken, and those that were left and not told to Redis yet. Pure.
struct OpenPlaces: Sendable {
    typealias Moment = ContinuousClock.Instant
    typealias Place = UInt64

    struct Left: Sendable {
        let place: Place
        let keys: [LimitDigest]
        let at: Moment
    }

    /// More are not told: they lapse.
    private static let leftLimit = 20_000

    private var keys: [Place: [LimitDigest]] = [:]
    private var counts: [LimitDigest: Int] = [:]
    private var left: [Left] = []
    /// Whether a place was taken that Redis may not know of.
    private var hasUntold = false

    var count: Int { keys.count }
    var all: [Place] { Array(keys.keys) }

    func keys(of place: Place) -> [LimitDigest]? { keys[place] }

    /// Takes a place under every key or under none.
    /// - Returns: which key is full; nil where none is.
    mutating func enter(_ place: Place, _ claims: [(key: LimitDigest, limit: Int)]) -> Int? {
        if let full = claims.firstIndex(where: { counts[$0.key, default: 0] >= $0.limit }) { return full }
        keys[place] = claims.map(\.key)
        for claim in claims { counts[claim.key, default: 0] += 1 }
        return nil
    }

    /// - Returns: the keys that it was taken under; nil where it had been left before.
    @discardableResult
    mutating func remove(_ place: Place) -> [LimitDigest]? {
        guard let keys = keys.removeValue(forKey: place) else { return nil }
        for key in keys {
            guard let count = counts[key] else { continue }
            counts[key] = count > 1 ? count - 1 : nil
        }
        return keys
    }

    mutating func leave(_ place: Place, at now: Moment) {
        guard let keys = remove(place), left.count < Self.leftLimit else { return }
        left.append(Left(place: place, keys: keys, at: now))
    }

    mutating func noteUntold() { hasUntold = true }

    mutating func takeUntold() -> Bool {
        defer { hasUntold = false }
        return hasUntold
    }

    /// - Parameter moment: who left before it has lapsed already.
    mutating func takeLeft(_ count: Int, since moment: Moment) -> [Left] {
        left.removeFirst(left.prefix { $0.at < moment }.count)
        let batch = Array(left.prefix(count))
        left.removeFirst(batch.count)
        return batch
    }

    mutating func putBack(_ batch: [Left]) {
        left.insert(contentsOf: batch, at: 0)
    }
}
