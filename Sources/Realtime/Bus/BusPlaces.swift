/// How far each of some shards has been read, as ids of Redis Streams. Pure.
struct BusPlaces: Sendable {
    let shards: [Int]
    private(set) var ids: [String]

    /// - Parameter milliseconds: Redis' own time from which to begin. An id is the time of its entry (Redis
    ///   documentation, "Redis Streams").
    init(_ shards: [Int], since milliseconds: Int64) {
        self.shards = shards
        ids = Array(repeating: "\(max(0, milliseconds))-0", count: shards.count)
    }

    /// Everything after the newest entry of each shard; from the first one where there is none yet. Never `$`, which
    /// means another place at every call and skips what comes between two.
    mutating func moveToEnds(_ newest: [String?]) {
        ids = newest.map { $0 ?? "0-0" }
    }

    mutating func move(_ shard: Int, to id: String) {
        guard let index = shards.firstIndex(of: shard) else { return }
        ids[index] = id
    }

    /// - Parameters:
    ///   - count: entries of each shard at most.
    ///   - block: milliseconds to wait for the first; `nil`: not to wait.
    func read(count: Int, block: Int?) -> RedisCommand {
        let wait = block.map { ["BLOCK", "\($0)"] } ?? []
        return RedisCommand(
            ["XREAD", "COUNT", "\(count)"] + wait + ["STREAMS"] + shards.map(BusShards.key) + ids)
    }

    /// Asks for the newest entry of each shard.
    var ends: [RedisCommand] {
        shards.map { RedisCommand("XREVRANGE", BusShards.key($0), "+", "-", "COUNT", "1") }
    }
}

/// Entries as `XREAD` answers them.
struct BusPage: Equatable {
    struct Item: Equatable {
        let id: String
        let fields: [String]

        /// When Redis took it, by Redis' clock, in milliseconds since 1970.
        var milliseconds: Int64 { Int64(id.prefix { $0 != "-" }) ?? 0 }

        init?(_ value: RedisValue) {
            guard let pair = value.array, pair.count == 2, let id = pair[0].text else { return nil }
            self.id = id
            // One without fields is none of ours, and is passed over.
            fields = pair[1].array?.compactMap(\.text) ?? []
        }
    }

    /// By the stream's key.
    let streams: [(key: String, items: [Item])]

    /// - Returns: `nil` for what is no answer to `XREAD`.
    init?(_ value: RedisValue) {
        switch value {
        case .null:
            streams = []
        case .array(let values):
            var streams: [(key: String, items: [Item])] = []
            for value in values {
                guard let pair = value.array, pair.count == 2, let key = pair[0].text, let items = pair[1].array
                else { return nil }
                streams.append((key, items.compactMap(Item.init)))
            }
            self.streams = streams
        default:
            return nil
        }
    }

    static func == (one: BusPage, other: BusPage) -> Bool {
        one.streams.elementsEqual(other.streams) { $0.key == $1.key && $0.items == $1.items }
    }
}
