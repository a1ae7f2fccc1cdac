package import NIOCore
import NIOPosix

extension RedisConnection {
    /// Finds the server, connects, verifies its certificate, and is let in: what a later command could only fail at
    /// fails here.
    /// - Parameters:
    ///   - name: what `CLIENT LIST` shows, without spaces.
    ///   - limit: what the whole of it may take.
    /// - Throws: `away` when there is no such host or nobody listens, `refused` when the server does not let us in or is
    ///   still loading, `timedOut`, `closed`.
    package static func connect(
        to server: RedisServer, on loop: any EventLoop, name: String, within limit: Duration
    ) async throws(RedisFailure) -> RedisConnection {
        let began = ContinuousClock.now
        let greeting = server.greeting(as: name)
        let connection = try await reach(server, on: loop, within: limit, greeting: greeting.map(\.isSecret))
        do throws(RedisFailure) {
            let left = limit - began.duration(to: .now)
            _ = try await connection.send(greeting.map(\.command), within: max(.zero, left))
            return connection
        } catch {
            connection.close()
            throw error
        }
    }

    private static func reach(
        _ server: RedisServer, on loop: any EventLoop, within limit: Duration, greeting: [Bool]
    ) async throws(RedisFailure) -> RedisConnection {
        // On the loop, or the connection could come and go before anybody looks after it.
        let attempt = loop.flatSubmit { Self.attempt(server, on: loop, within: limit, greeting: greeting) }
        // The attempt itself cannot be called off: who gives it up lets it end by itself.
        let outcome = loop.makePromise(of: RedisConnection.self)
        attempt.cascade(to: outcome)
        do {
            return try await withTaskCancellationHandler {
                try await outcome.futureResult.get()
            } onCancel: {
                outcome.fail(CancellationError())
            }
        } catch {
            attempt.whenSuccess { $0.close() }
            switch error {
            case is CancellationError: throw .closed
            case ChannelError.connectTimeout: throw .timedOut
            default: throw .away
            }
        }
    }

    private static func attempt(
        _ server: RedisServer, on loop: any EventLoop, within limit: Duration, greeting: [Bool]
    ) -> EventLoopFuture<RedisConnection> {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(limit))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = server.tls, case .host(let host, _) = server.address {
                        try tls.protect(channel, to: host)
                    }
                    try channel.pipeline.syncOperations.addHandler(RedisHandler(greeting: greeting))
                }
            }
        let channel =
            switch server.address {
            case .host(let host, let port): bootstrap.keepingAlive().connect(host: host, port: port)
            case .socket(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        return channel.flatMapThrowing { channel in
            RedisConnection(channel, handler: try channel.pipeline.syncOperations.handler(type: RedisHandler.self))
        }
    }
}

extension ClientBootstrap {
    /// A peer that vanished without a word is noticed on an idle connection too. TCP_NODELAY is NIO's default.
    fileprivate func keepingAlive() -> ClientBootstrap {
        // TCP_KEEPIDLE, TCP_KEEPINTVL in seconds, TCP_KEEPCNT (tcp(7)).
        channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.init(rawValue: 4)), value: 10)
            .channelOption(.tcpOption(.init(rawValue: 5)), value: 5)
            .channelOption(.tcpOption(.init(rawValue: 6)), value: 3)
    }
}

extension RedisServer {
    /// The commands that come first, and whether they hold a secret.
    fileprivate func greeting(as name: String) -> [(command: RedisCommand, isSecret: Bool)] {
        var greeting: [(RedisCommand, Bool)] = []
        if let credentials {
            let arguments = [credentials.user, credentials.password].compactMap(\.self)
            greeting.append((RedisCommand(["AUTH"] + arguments), true))
        }
        if database != 0 { greeting.append((RedisCommand("SELECT", "\(database)"), false)) }
        greeting.append((RedisCommand("CLIENT", "SETNAME", name), false))
        greeting.append((RedisCommand("PING"), false))
        return greeting
    }

    /// A server that does not know AUTH quotes the arguments: only what is known to be harmless is kept whole.
    static func withoutSecrets(_ message: String) -> String {
        let harmless = ["WRONGPASS ", "ERR AUTH <password> called without any password configured"]
        if harmless.contains(where: message.hasPrefix) { return message }
        return "AUTH: \(RedisValue.error(message).errorCode ?? "")"
    }
}
