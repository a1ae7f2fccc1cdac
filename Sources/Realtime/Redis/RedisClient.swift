package import Logging
package import NIOCore
import ServiceLifecycle
import Synchronization

/// Keeps one connection to Redis for as long as it runs, and makes a new one when it is lost.
package final class RedisClient: Service {
    /// What finding, connecting and being let in may take.
    private static let connectLimit = Duration.seconds(2)

    private let server: RedisServer
    private let loop: any EventLoop
    private let name: String
    private let logger: Logger
    private let connection = Mutex<RedisConnection?>(nil)

    /// - Parameter name: what `CLIENT LIST` shows, without spaces.
    package init(_ server: RedisServer, on loop: any EventLoop, name: String, logger: Logger) {
        self.server = server
        self.loop = loop
        self.name = name
        var logger = logger
        logger[metadataKey: "redis"] = "\(server)"
        logger[metadataKey: "client"] = "\(name)"
        self.logger = logger
    }

    package var isConnected: Bool { current != nil }

    private var current: RedisConnection? {
        connection.withLock { $0 }.flatMap { $0.isOpen ? $0 : nil }
    }

    /// As ``RedisConnection/send(_:within:)``.
    /// - Throws: `away` at once when there is no connection: nothing was sent then.
    package func send(
        _ commands: [RedisCommand], within limit: Duration
    ) async throws(RedisFailure) -> [RedisValue] {
        guard let current else { throw .away }
        return try await current.send(commands, within: limit)
    }

    /// Leaves the connection for a new one: the server behind it is no longer the one to talk to.
    func reconnect() {
        connection.withLock { $0 }?.close()
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.stayConnected() }
    }

    /// As ``run()``, but only cancellation ends it: for an owner whose last words need the connection.
    func stayConnected() async {
        var backoff = Backoff()
        var told: RedisFailure?
        while !Task.isCancelled {
            var failure = RedisFailure.closed
            do throws(RedisFailure) {
                let connection = try await RedisConnection.connect(
                    to: server, on: loop, name: name, within: Self.connectLimit)
                told = nil
                logger.notice("Connected to Redis")
                let began = ContinuousClock.now
                self.connection.withLock { $0 = connection }
                await connection.ended()
                self.connection.withLock { $0 = nil }
                // One that takes connections only to close them is not asked more often for it.
                if began.duration(to: .now) > Backoff.longest { backoff.reset() }
            } catch {
                failure = error
            }
            guard !Task.isCancelled else { return }
            if failure.isNews(after: told) {
                logger.warning("Redis is away", metadata: ["reason": "\(failure)"])
                told = failure
            }
            try? await Task.sleep(for: backoff.next())
        }
    }
}

extension RedisFailure {
    /// Being away is told once; that the server turns us down is told also when it was away before.
    fileprivate func isNews(after told: RedisFailure?) -> Bool {
        guard let told else { return true }
        if case .refused = self { return self != told }
        return false
    }
}
