import Domain
import Logging
import ServiceLifecycle
import Synchronization
import Testing

@testable import Realtime

/// A node as far as its limits go: a connection of its own, and what counts over it.
struct LimitNode: Sendable {
    let client: RedisClient?
    let limiter: RateLimiter
    let streams: StreamCounts

    /// - Parameters:
    ///   - redis: nil for a node without one.
    ///   - patience: long, as these are not tests of how fast a busy machine is.
    init(
        _ redis: TestRedis?, patience: Duration = .seconds(5), timing: StreamCounts.Timing = .init(),
        logger: Logger = .silent
    ) throws {
        client = try redis.map {
            RedisClient(try RedisServer($0.url), on: TestRedis.loop, name: "limits", logger: .silent)
        }
        var timing = timing
        timing.patience = patience
        limiter = RateLimiter(client, secret: "of the tests", patience: patience, logger: logger)
        streams = StreamCounts(client, secret: "of the tests", timing: timing, logger: logger)
    }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let client { group.addTask { try await client.run() } }
            group.addTask { try await streams.run() }
            try await group.waitForAll()
        }
    }

    /// Runs the nodes until the body is done.
    static func run(_ nodes: [LimitNode], _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes { group.addTask { try await node.run() } }
            do {
                for node in nodes { try await node.isConnected() }
                try await body()
            } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
        }
    }

    func isConnected() async throws {
        guard let client else { return }
        let isConnected = try await eventually { client.isConnected }
        #expect(isConnected)
    }

    /// Whether all the charges were taken.
    func takes(_ charges: Charge...) async -> Bool {
        if case .allowed = await limiter.take(charges) { true } else { false }
    }

    func waits(_ charge: Charge) async -> Duration? {
        if case .allowed(let wait, _) = await limiter.take([charge]) { wait } else { nil }
    }
}

/// Who decides: the behaviour is the same.
enum Decider: CaseIterable, Sendable {
    case redis, node

    /// Runs a node that has that decider.
    func run(_ body: (LimitNode) async throws -> Void) async throws {
        switch self {
        case .node:
            let node = try LimitNode(nil)
            try await LimitNode.run([node]) { try await body(node) }
        case .redis:
            let warnings = Warnings()
            try await TestRedis.with { redis in
                let node = try LimitNode(redis, logger: warnings.logger)
                try await LimitNode.run([node]) { try await body(node) }
            }
            // Or it was not Redis who decided.
            #expect(warnings.messages == [])
        }
    }
}

extension Charge {
    /// Refills so slowly that it does not, while a test runs.
    static func sample(
        _ name: LimitName = .visitorMessages, of subject: String = "visitor", count: Int = 3, cost: Int = 1
    ) -> Charge {
        Charge(key: LimitKey(name, of: subject), rate: Rate(count: count, per: .seconds(86_400)), cost: cost)
    }
}

/// Keeps what is said as a warning.
final class Warnings: Sendable {
    private let book = Mutex<[String]>([])

    var messages: [String] { book.withLock { $0 } }

    var logger: Logger { Logger(label: "limits") { _ in Handler(warnings: self) } }

    private struct Handler: LogHandler {
        let warnings: Warnings
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.warning

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            warnings.book.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") }
        }
    }
}
