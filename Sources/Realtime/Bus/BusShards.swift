import Domain

/// The streams that the bus is made of. An account's events are all in one, so that they keep their order; the braces
/// are Redis Cluster's hash tag, so that a shard's keys share a slot (Redis documentation, "Redis cluster specification").
enum BusShards {
    static let count = 16
    static let all = Array(0..<count)
    /// Entries a shard keeps, about: the last minutes, for nodes that start or were away.
    static let length = 10_000
    /// The same once Redis is full.
    static let shortLength = 1000

    static func shard(of account: Account.ID) -> Int {
        Int(account.rawValue.magnitude % UInt64(count))
    }

    static func key(_ shard: Int) -> String { "replyx:{\(shard)}:bus" }
}
