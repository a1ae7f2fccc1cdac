package import Logging
import ServiceLifecycle
import Synchronization

/// A bounded set of connections, opened when needed. Whoever finds none free waits in order, for a bounded time;
/// while the server is away callers fail at once instead of queueing up behind connection attempts.
package final class PostgresPool: Service {
    typealias State = PoolState<PostgresConnection, Waiter>

    /// A caller in the queue, with the task that ends its wait.
    struct Waiter: Sendable {
        let continuation: CheckedContinuation<State.Request, Never>
        let timer: Task<Void, Never>
    }

    private let configuration: PostgresConfiguration
    private let size: Int
    private let acquireTimeout: Duration
    private let onConnect: (@Sendable (isolated PostgresConnection) throws -> Void)?
    private let logger: Logger
    private let state: Mutex<State>
    private let nextWaiter = Atomic<UInt64>(0)
    private let metrics: PoolMetrics

    /// - Parameters:
    ///   - name: what metrics call it.
    ///   - size: the most connections open at a time.
    ///   - acquireTimeout: how long a caller waits for one.
    ///   - onConnect: runs first on every new connection; when it throws, connecting has failed.
    package init(
        _ configuration: PostgresConfiguration,
        name: String = "general",
        size: Int = 8,
        acquireTimeout: Duration = .seconds(2),
        onConnect: (@Sendable (isolated PostgresConnection) throws -> Void)? = nil,
        logger: Logger
    ) {
        precondition(size > 0, "A pool without connections")
        self.configuration = configuration
        self.metrics = PoolMetrics(pool: name)
        self.size = size
        self.acquireTimeout = acquireTimeout
        self.onConnect = onConnect
        self.logger = logger
        self.state = Mutex(State(size: size, idleLimit: .seconds(300)))
    }

    /// Takes a connection, runs `body` on its thread and gives it back. A connection that is not usable afterwards,
    /// or still in a transaction, is dropped. Cancelling the calling task ends the running statement.
    /// - Throws: what `body` throws; `poolExhausted`, `connectFailed`, `closed` or `cancelled` before it began.
    package func perform<Result: Sendable>(
        _ body: @escaping @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        // One dead connection for each place at most; a server that ends fresh ones as well is not worth more tries.
        for _ in 0...size {
            let connection = try await acquire()
            switch await connection.lend(to: body) {
            case .stale:
                // The server ended it while it was idle; nothing of `body` has run.
                giveBack(nil)
            case .done(let result, let isReusable):
                giveBack(isReusable ? connection : nil)
                return try result.get()
            }
        }
        throw PostgresError(.connectionLost, message: "the server ends every connection")
    }

    /// Runs `body` as a transaction on a connection of its own, up to three times when it loses against another one.
    package func transaction<Result: Sendable>(
        _ isolation: Isolation = .readCommitted,
        _ body: @escaping @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        var attempt = 1
        while true {
            do {
                return try await perform { connection in try connection.transaction(isolation, body) }
            } catch let error as PostgresError where attempt < 3 && (error.isSerializationFailure || error.isStalePlan)
            {
                logger.debug("Transaction runs again", metadata: ["error": "\(error.kind)", "attempt": "\(attempt)"])
                // Apart, so that the same two do not meet again.
                try await Task.sleep(for: .milliseconds(Int.random(in: 1...(10 << attempt))))
                attempt += 1
            }
        }
    }

    /// Keeps the pool open until the graceful shutdown.
    package func run() async throws {
        try? await gracefulShutdown()
        await shutdown()
    }

    /// Refuses new callers and those who wait, closes what is idle, and waits for the rest to be given back: at most
    /// the statement time-out.
    package func shutdown() async {
        settle(state.withLock { $0.close() })
        let deadline = ContinuousClock.now + configuration.statementTimeout
        while state.withLock({ $0.taken }) > 0, .now < deadline, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    // MARK: Taking

    private func acquire() async throws(PostgresError) -> PostgresConnection {
        let request = state.withLock { $0.request(at: .now) }
        report()
        switch request {
        case .wait: return try await follow(wait())
        case .use, .open, .refuse: return try await follow(request)
        }
    }

    private func follow(_ request: State.Request) async throws(PostgresError) -> PostgresConnection {
        switch request {
        case .use(let connection): connection
        case .open: try await open()
        case .refuse(let error): throw error
        case .wait: preconditionFailure("A wait has ended with a wait")
        }
    }

    private func wait() async -> State.Request {
        let id = nextWaiter.wrappingAdd(1, ordering: .relaxed).oldValue
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let timer = Task { [self, acquireTimeout] in
                    guard (try? await Task.sleep(for: acquireTimeout)) != nil else { return }
                    metrics.timedOut()
                    giveUp(id, .poolExhausted, "no connection became free in time")
                }
                // Between the request and now a connection may have come back, and nobody would hand it over.
                let request = state.withLock { state -> State.Request in
                    let request = state.request(at: .now)
                    if case .wait = request { state.wait(Waiter(continuation: continuation, timer: timer), id: id) }
                    return request
                }
                report()
                if case .wait = request {
                    // The cancellation may have come before there was anything to give up.
                    if Task.isCancelled { giveUp(id, .cancelled, "the task was cancelled") }
                } else {
                    timer.cancel()
                    continuation.resume(returning: request)
                }
            }
        } onCancel: {
            giveUp(id, .cancelled, "the task was cancelled")
        }
    }

    private func giveUp(_ id: UInt64, _ kind: PostgresError.Kind, _ message: String) {
        guard let waiter = state.withLock({ $0.giveUp(id) }) else { return }
        report()
        waiter.timer.cancel()
        waiter.continuation.resume(returning: .refuse(PostgresError(kind, message: message)))
    }

    private func open() async throws(PostgresError) -> PostgresConnection {
        do {
            let connection = try await PostgresConnection.connect(configuration, logger: logger)
            if let onConnect { try await connection.perform(onConnect) }
            metrics.connected(true)
            state.withLock { $0.opened() }
            return connection
        } catch {
            let failure = error as? PostgresError ?? PostgresError(.connectFailed, message: "\(type(of: error))")
            metrics.connected(false)
            logger.warning("No connection to PostgreSQL", metadata: ["error": "\(failure)"])
            settle(state.withLock { $0.failed(failure, at: .now, until: Self.pause) })
            throw failure
        }
    }

    /// Doubled with each failure in a row up to 2 s, and spread, so that nodes do not come back in step.
    private static func pause(afterFailures count: Int) -> ContinuousClock.Instant {
        let longest = min(2000, 50 << min(count, 6))
        return .now + .milliseconds(Int.random(in: longest / 2...longest))
    }

    // MARK: Giving back

    private func giveBack(_ connection: PostgresConnection?) {
        settle(state.withLock { $0.release(connection, at: .now) })
    }

    /// Outside the lock: what is resumed or closed may come back to it.
    private func settle(_ release: State.Release) {
        report()
        for (waiter, request) in release.granted {
            waiter.timer.cancel()
            waiter.continuation.resume(returning: request)
        }
        for connection in release.surplus {
            Task { await connection.close() }
        }
    }

    private func report() {
        let (taken, waiting) = state.withLock { ($0.taken, $0.waiting) }
        metrics.report(inUse: taken, waiting: waiting)
    }
}

extension PostgresConnection {
    enum Loan<Result: Sendable>: Sendable {
        /// The connection was dead before anything was run on it.
        case stale
        case done(Swift.Result<Result, any Error>, isReusable: Bool)
    }

    /// One visit to the connection's thread: the check before, the work, and the check after.
    fileprivate func lend<Result: Sendable>(
        to body: @Sendable (isolated PostgresConnection) throws -> Result
    ) async -> Loan<Result> {
        guard isAliveAndIdle else {
            close()
            return .stale
        }
        let result: Swift.Result<Result, any Error>
        do {
            result = .success(try await perform(body))
        } catch {
            result = .failure(error)
        }
        let isReusable = isUsable && !isInTransaction
        if !isReusable { close() }
        return .done(result, isReusable: isReusable)
    }
}
