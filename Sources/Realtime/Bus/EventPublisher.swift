import CoreMetrics
import Domain
import Logging
import Synchronization

/// Puts what happens on this node onto the bus, in the order in which it was handed over: while one batch is on its way
/// the next gathers. Nobody waits for it, and what cannot be sent is dropped: PostgreSQL has it, and the other nodes'
/// auditors look there.
final class EventPublisher: Sendable {
    private enum Item: Sendable {
        case event(StreamEvent)
        case live(EphemeralEvent)
        case probe(shard: Int)
        /// A probe that came back: nobody else has a use for it.
        case forget(id: String, shard: Int)

        var bytes: Int {
            switch self {
            case .event(let event): event.payload.utf8.count + 256
            case .live(let event): event.payload.utf8.count + 256
            case .probe, .forget: 128
            }
        }
    }

    private struct Queue: Sendable {
        var items: [Item] = []
        var bytes = 0
        /// The number of this node's last entry.
        var number: Int64 = 0
    }

    /// More than this is not kept for a Redis that does not keep up.
    private static let queueLimit = 16 * 1024 * 1024
    private static let batchCount = 512
    private static let batchBytes = 1024 * 1024
    private static let patience = Duration.seconds(1)

    private let client: RedisClient
    private let origin: BusEntry.Origin
    private let monitor: BusMonitor
    private let logger: Logger
    private let queue = Mutex(Queue())
    private let lastRefusal = Mutex<String?>(nil)
    private let trimmedAt = Mutex<ContinuousClock.Instant?>(nil)
    private let (work, workCame) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

    init(client: RedisClient, origin: BusEntry.Origin, monitor: BusMonitor, logger: Logger) {
        self.client = client
        self.origin = origin
        self.monitor = monitor
        self.logger = logger
    }

    // MARK: Handing over

    func publish(_ events: [StreamEvent]) {
        put(events.map { .event($0) })
    }

    func publish(_ event: EphemeralEvent) {
        put([.live(event)])
    }

    func probe(_ shards: [Int]) {
        put(shards.map { .probe(shard: $0) })
    }

    func forget(_ id: String, in shard: Int) {
        put([.forget(id: id, shard: shard)])
    }

    private func put(_ items: [Item]) {
        guard !items.isEmpty else { return }
        let overflow: [Item] = queue.withLock { queue in
            guard queue.bytes < Self.queueLimit else { return items }
            queue.items += items
            for item in items { queue.bytes += item.bytes }
            return []
        }
        if !overflow.isEmpty {
            monitor.failed()
            drop(overflow)
        }
        workCame.yield()
    }

    private func drop(_ items: [Item]) {
        let events = items.count { if case .event = $0 { true } else { false } }
        BusMetrics.dropped.increment(by: events)
    }

    // MARK: Sending

    /// Sends until told to stop, and then what is there.
    func run() async {
        for await _ in work {
            while let batch = take() { await send(batch) }
        }
    }

    func finish() {
        workCame.finish()
    }

    private func take() -> (items: [Item], firstNumber: Int64)? {
        queue.withLock { queue in
            guard !queue.items.isEmpty else { return nil }
            var bytes = 0
            let batch = Array(
                queue.items.prefix(Self.batchCount).prefix { item in
                    defer { bytes += item.bytes }
                    return bytes < Self.batchBytes
                })
            queue.items.removeFirst(batch.count)
            for item in batch { queue.bytes -= item.bytes }
            let first = queue.number + 1
            queue.number += Int64(batch.count)
            return (batch, first)
        }
    }

    private func send(_ batch: (items: [Item], firstNumber: Int64)) async {
        guard client.isConnected else {
            monitor.failed()
            return drop(batch.items)
        }
        let commands = batch.items.enumerated().map { index, item in
            command(for: item, number: batch.firstNumber + Int64(index))
        }
        do {
            let answers = try await client.send(commands, within: Self.patience)
            await act(on: judge(answers, to: batch.items))
        } catch {
            monitor.failed()
            drop(batch.items)
        }
    }

    private func command(for item: Item, number: Int64) -> RedisCommand {
        switch item {
        case .event(let event):
            add(.event(event), number: number, to: BusShards.shard(of: event.accountID))
        case .live(let event):
            add(.live(event), number: number, to: BusShards.shard(of: event.accountID))
        case .probe(let shard):
            add(.probe, number: number, to: shard)
        case .forget(let id, let shard):
            RedisCommand("XDEL", BusShards.key(shard), id)
        }
    }

    private func add(_ content: BusEntry.Content, number: Int64, to shard: Int) -> RedisCommand {
        monitor.sent(number, to: shard)
        let entry = BusEntry(origin: origin, number: number, content: content)
        return RedisCommand(
            ["XADD", BusShards.key(shard), "MAXLEN", "~", "\(BusShards.length)", "*"] + entry.fields)
    }

    /// - Returns: what Redis refused the last refused entry with.
    private func judge(_ answers: [RedisValue], to items: [Item]) -> String? {
        var refused: [Item] = []
        var refusal: String?
        for (item, answer) in zip(items, answers) {
            if let code = answer.errorCode {
                refused.append(item)
                refusal = code
            } else if case .event = item {
                BusMetrics.published.increment()
            }
        }
        if refusal != nil {
            monitor.failed()
            drop(refused)
        }
        return refusal
    }

    private func act(on refusal: String?) async {
        let last = lastRefusal.withLock { last in
            defer { last = refusal }
            return last
        }
        guard let refusal else { return }
        if refusal != last { logger.warning("Redis refuses what the bus sends", metadata: ["code": "\(refusal)"]) }
        switch refusal {
        case "OOM": await makeRoom()
        // It was the primary once, or is about to be it.
        case "READONLY", "MASTERDOWN", "LOADING": client.reconnect()
        default: break
        }
    }

    /// Redis is full, and would stay so: only an `XADD` trims, and it is refused. `XTRIM` is not.
    private func makeRoom() async {
        let isDue = trimmedAt.withLock { last in
            guard last.map({ $0.duration(to: .now) > Self.patience }) ?? true else { return false }
            last = .now
            return true
        }
        guard isDue else { return }
        _ = try? await client.send(
            BusShards.all.map { RedisCommand("XTRIM", BusShards.key($0), "MAXLEN", "~", "\(BusShards.shortLength)") },
            within: Self.patience)
    }
}
