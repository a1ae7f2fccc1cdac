import CoreMetrics
import Domain
import Logging
import NIOCore
import Synchronization

/// Reads the bus into the hub: from the last minutes at its start, then from the id that it read last, over whatever
/// happens to the connection; from the ends of the shards once what it waits for does not come.
final class BusReader: Sendable {
    private struct State: Sendable {
        var connections: [Int: RedisConnection] = [:]
        /// Rises when every shard is to be opened at its end.
        var reopenings = 0
        /// What Redis refused last.
        var refusal: String?
    }

    /// How far back a starting node reads.
    fileprivate static let warmTime: Int64 = 5 * 60 * 1000
    /// Entries of each shard in one answer.
    private static let pageCount = 64
    /// A reader that has not caught up by then is judged as it is.
    private static let catchUpLimit = Duration.seconds(15)
    /// How long Redis waits for the first entry, in milliseconds.
    private static let block = 1000
    /// A little longer than Redis is asked to wait, and than a pause that a failover may take.
    private static let patience = Duration.seconds(3)
    private static let keys = Dictionary(uniqueKeysWithValues: BusShards.all.map { (BusShards.key($0), $0) })

    private let server: RedisServer
    private let loop: any EventLoop
    private let origin: BusEntry.Origin
    private let hub: EventHub
    private let publisher: EventPublisher
    private let monitor: BusMonitor
    private let logger: Logger
    private let state = Mutex(State())

    init(
        server: RedisServer, loop: any EventLoop, origin: BusEntry.Origin, hub: EventHub, publisher: EventPublisher,
        monitor: BusMonitor, logger: Logger
    ) {
        self.server = server
        self.loop = loop
        self.origin = origin
        self.hub = hub
        self.publisher = publisher
        self.monitor = monitor
        self.logger = logger
    }

    /// Reads until it is cancelled.
    func run() async {
        // One connection for all shards; in a cluster one for each, because a command's keys must share a slot there.
        guard await follow(BusShards.all) == .mustSplit else { return }
        logger.notice("Redis is a cluster: a connection for each shard of the bus")
        await withTaskGroup { group in
            for shard in BusShards.all { group.addTask { _ = await self.follow([shard]) } }
        }
    }

    /// Leaves the place where it reads and goes on from the ends of the shards: what it waits for does not come.
    func reopen() {
        BusMetrics.reopens.increment()
        let connections = state.withLock { state in
            state.reopenings += 1
            return Array(state.connections.values)
        }
        for connection in connections { connection.close() }
    }

    // MARK: One connection after the other

    private enum Outcome { case cancelled, mustSplit }

    private func follow(_ shards: [Int]) async -> Outcome {
        var backoff = Backoff()
        var course = Course(reopenings: state.withLock { $0.reopenings })
        while !Task.isCancelled {
            do {
                let connection = try await RedisConnection.connect(
                    to: server, on: loop, name: "replyx-bus-reader", within: .seconds(2))
                defer { leave(connection, shards) }
                let asked = state.withLock { state in
                    state.connections[shards[0]] = connection
                    return state.reopenings
                }
                if shards.count > 1, try await isCluster(connection) { return .mustSplit }
                try await course.begin(shards, asked: asked, on: connection, by: self)
                try await read(&course, of: shards, on: connection, readSoFar: { backoff.reset() })
            } catch {
                course.note(error)
                tell(error)
            }
            try? await Task.sleep(for: backoff.next())
        }
        return .cancelled
    }

    private func leave(_ connection: RedisConnection, _ shards: [Int]) {
        state.withLock { $0.connections[shards[0]] = nil }
        connection.close()
        // At the end it is no news.
        if !Task.isCancelled { monitor.reading(shards, false) }
    }

    /// Where some shards are read, over several connections.
    private struct Course {
        var places: BusPlaces?
        var reopenings: Int
        /// Answers in a row that could not be read: asked for again they would come again.
        var unreadable = 0

        init(reopenings: Int) {
            self.reopenings = reopenings
        }

        /// From the last minutes the first time, then from where it was; from the ends where that is asked for.
        mutating func begin(
            _ shards: [Int], asked: Int, on connection: RedisConnection, by reader: BusReader
        ) async throws {
            guard let known = places else {
                let time = try await reader.clock(connection)
                places = BusPlaces(shards, since: time.milliseconds - BusReader.warmTime)
                reopenings = asked
                return
            }
            guard asked != reopenings || unreadable > 1 else { return }
            var places = known
            places.moveToEnds(try await reader.ends(of: known, connection))
            self.places = places
            reopenings = asked
            unreadable = 0
        }

        mutating func note(_ error: any Error) {
            switch error as? RedisFailure {
            case .malformed, .timedOut: unreadable += 1
            default: break
            }
        }
    }

    /// Reads until the connection ends. What lies behind is caught up with before anything is expected to come back.
    private func read(
        _ course: inout Course, of shards: [Int], on connection: RedisConnection, readSoFar: () -> Void
    ) async throws {
        var time = try await clock(connection)
        let begun = ContinuousClock.now
        var isInPlace = false
        while !Task.isCancelled {
            if time.readAt.duration(to: .now) > .seconds(60) { time = try await clock(connection) }
            let isBehind = try await readPage(
                &course.places, connection, time, block: isInPlace ? Self.block : nil)
            course.unreadable = 0
            readSoFar()
            if !isInPlace && (!isBehind || begun.duration(to: .now) > Self.catchUpLimit) {
                monitor.reading(shards, true)
                isInPlace = true
            }
        }
    }

    /// What the client, which has lost the same server, does not say: that Redis answers and refuses.
    private func tell(_ error: any Error) {
        guard let refused = error as? Refused else {
            logger.debug("The bus is not read", metadata: ["reason": "\(error)"])
            return
        }
        let isNews = state.withLock { state in
            defer { state.refusal = refused.what }
            return state.refusal != refused.what
        }
        if isNews { logger.warning("Redis refuses to let the bus be read", metadata: ["code": "\(refused.what)"]) }
    }

    /// Redis refused a command, or answered it with something else than it does.
    private struct Refused: Error {
        let what: String
    }

    private func ask(_ connection: RedisConnection, _ commands: [RedisCommand]) async throws -> [RedisValue] {
        let answers = try await connection.send(commands, within: Self.patience)
        for answer in answers {
            if let code = answer.errorCode { throw Refused(what: code) }
        }
        return answers
    }

    private func isCluster(_ connection: RedisConnection) async throws -> Bool {
        let answer = try await ask(connection, [RedisCommand("INFO", "cluster")])[0]
        return answer.text?.contains("cluster_enabled:1") ?? false
    }

    /// Redis' time beside ours, so that the age of an entry can be told whatever the nodes' clocks say.
    fileprivate struct RedisTime {
        let milliseconds: Int64
        let readAt: ContinuousClock.Instant

        var now: Int64 { milliseconds + Int64(readAt.duration(to: .now) / .milliseconds(1)) }
    }

    fileprivate func clock(_ connection: RedisConnection) async throws -> RedisTime {
        let parts = try await ask(connection, [RedisCommand("TIME")]).first?.array?.compactMap { $0.text } ?? []
        guard parts.count == 2, let seconds = Int64(parts[0]), let micros = Int64(parts[1]) else {
            throw Refused(what: "TIME")
        }
        return RedisTime(milliseconds: seconds * 1000 + micros / 1000, readAt: .now)
    }

    fileprivate func ends(of places: BusPlaces, _ connection: RedisConnection) async throws -> [String?] {
        try await ask(connection, places.ends).map { $0.array?.first.flatMap(BusPage.Item.init)?.id }
    }

    // MARK: Entries

    /// - Parameter block: `nil` to ask for what is there and not to wait.
    /// - Returns: whether there may be more already.
    private func readPage(
        _ places: inout BusPlaces?, _ connection: RedisConnection, _ time: RedisTime, block: Int?
    ) async throws -> Bool {
        guard let command = places?.read(count: Self.pageCount, block: block) else { return false }
        guard let answer = try await ask(connection, [command]).first, let page = BusPage(answer) else {
            throw Refused(what: "XREAD")
        }
        for (key, items) in page.streams {
            guard let shard = Self.keys[key], let last = items.last else { continue }
            take(items, of: shard, now: time.now)
            places?.move(shard, to: last.id)
        }
        return page.streams.contains { $0.items.count >= Self.pageCount }
    }

    private func take(_ items: [BusPage.Item], of shard: Int, now: Int64) {
        BusMetrics.entries.increment(by: items.count)
        var events: [StreamEvent] = []
        for item in items {
            guard let entry = BusEntry(fields: item.fields), entry.origin.log == origin.log else {
                BusMetrics.foreign.increment()
                continue
            }
            let isOwn = entry.origin.node == origin.node
            if isOwn { monitor.returned(entry.number, from: shard) }
            switch entry.content {
            case .event(let event):
                // Its own were handed on at the commit.
                if !isOwn { events.append(event) }
            case .live(let event):
                let verdict = EphemeralAge.judge(isOwn: isOwn, milliseconds: now - item.milliseconds)
                if verdict == .fresh { hub.show(event) } else { StreamMetrics.ephemeralDropped(verdict.rawValue) }
            case .probe:
                if isOwn { publisher.forget(item.id, in: shard) }
            }
        }
        hub.ingest(events, from: .bus)
    }
}

/// Whether an ephemeral event that comes by the bus may still be shown.
enum EphemeralAge: String {
    case fresh
    /// It was shown here when it happened.
    case own
    /// Nobody types for so long without saying so again.
    case old

    static let limit: Int64 = 10_000

    static func judge(isOwn: Bool, milliseconds: Int64) -> EphemeralAge {
        isOwn ? .own : milliseconds > limit ? .old : .fresh
    }
}
