import CLibpq
package import Logging

/// One connection to PostgreSQL: an actor on a thread of its own. Its calls are synchronous inside it, so a whole
/// transaction is one closure without a suspension, and every wait ends at a deadline.
package actor PostgresConnection {
    private let thread = ConnectionThread()
    nonisolated let canceller = Canceller()
    let configuration: PostgresConfiguration
    var handle = ConnectionHandle()
    private var prepared = PreparedStatements()
    /// The BEGIN of a transaction that has sent nothing yet: it travels with the first statement.
    var unsentBegin: Command?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private init(_ configuration: PostgresConfiguration) {
        self.configuration = configuration
    }

    deinit {
        thread.stop()
    }

    /// Tries the hosts of the URL in order, each for the connect time-out.
    /// - Throws: `connectFailed`, with the last host's reason.
    package static func connect(
        _ configuration: PostgresConfiguration, logger: Logger
    ) async throws(PostgresError) -> PostgresConnection {
        let connection = PostgresConnection(configuration)
        let process = try await connection.open()
        logger.debug("Connected to PostgreSQL", metadata: ["backend": "\(process)"])
        return connection
    }

    /// Whether the connection can take statements. A connection is never opened again.
    package var isUsable: Bool { handle.isOpen }

    package var isInTransaction: Bool {
        unsentBegin != nil || (handle.isOpen && handle.transactionStatus != PQTRANS_IDLE)
    }

    /// Whether no transaction is open and the server has not ended the idle session.
    var isAliveAndIdle: Bool { handle.isQuiet && !isInTransaction }

    package func close() {
        handle.close()
        canceller.aim(nil)
        prepared.forgetAll()
        unsentBegin = nil
    }

    /// - Parameter deadline: by default the statement time-out from now. The server's own time-out is not moved by it.
    package func run(
        _ command: Command, deadline: ContinuousClock.Instant? = nil
    ) throws(PostgresError) -> Rows {
        try pipeline([command], deadline: deadline)[0]
    }

    package func run(_ statement: Statement, _ binds: (any Bindable)...) throws(PostgresError) -> Rows {
        try run(Command(statement, binds: binds))
    }

    /// Runs the commands in one round trip. Outside a transaction they are one.
    /// - Throws: the first error; what came after it was not run.
    package func pipeline(
        _ commands: [Command], deadline: ContinuousClock.Instant? = nil
    ) throws(PostgresError) -> [Rows] {
        guard !commands.isEmpty else { return [] }
        for command in commands { try check(command) }
        guard let begin = unsentBegin else { return try exchange(commands, deadline: deadline) }
        return Array(try exchange([begin] + commands, deadline: deadline).dropFirst())
    }

    /// Runs a text of several statements without binds; outside a transaction they are one.
    /// - Parameter name: what errors call it.
    package func script(_ sql: String, name: String) throws(PostgresError) {
        if let begin = unsentBegin { _ = try exchange([begin], deadline: nil) }
        try start(name)
        defer { canceller.end() }
        guard handle.sendScript(sql) else { throw drop(.connectionLost, "could not send", in: name) }
        let deadline = ContinuousClock.now + configuration.statementTimeout
        var failure: PostgresError?
        receive: while true {
            switch handle.nextArrival(until: { canceller.bringForward(deadline) }) {
            case .separator: break receive
            case .result(let result):
                if result.status == PGRES_FATAL_ERROR, failure == nil { failure = report(result.error(in: name)) }
            case .timedOut: throw dropLate(in: name)
            case .lost(let message): throw drop(.connectionLost, message, in: name)
            }
        }
        if let failure, failure.kind == .connectionLost { throw drop(.connectionLost, failure.message, in: name) }
        guard handle.endScript() else { throw drop(.connectionLost, "no end of the script", in: name) }
        if let failure { throw failure }
    }

    /// Runs `body` on the connection's own thread. Cancelling the calling task ends the running statement.
    package func perform<Result: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        // Runs when the handler below can no longer be called, so that no cancellation leaks into the next task.
        defer {
            if !canceller.settle() { close() }
            canceller.reset()
        }
        return try await withTaskCancellationHandler {
            try body(self)
        } onCancel: {
            canceller.cancel()
        }
    }

    private func open() throws(PostgresError) -> Int32 {
        var failure = PostgresError(.connectFailed, message: "no host")
        for parameters in try configuration.attempts() {
            do {
                try handle.open(parameters, until: .now + configuration.connectTimeout)
                canceller.aim(handle.makeCancelHandle())
                _ = try run(.keepDurable)
                return handle.processID
            } catch {
                failure = PostgresError(.connectFailed, message: error.message)
            }
        }
        close()
        throw failure
    }
}

// MARK: One round trip

extension PostgresConnection {
    private enum Step {
        case prepare(Int, name: String)
        case execute(Int)
    }

    /// - Parameter isCancellable: false for what ends a transaction: its outcome must be known.
    func exchange(
        _ commands: [Command], deadline: ContinuousClock.Instant?, isCancellable: Bool = true
    ) throws(PostgresError) -> [Rows] {
        let last = commands[commands.count - 1].statement
        if isCancellable { try start(last.name) } else { try checkOpen(last.name) }
        defer { canceller.end() }
        let deadline = deadline ?? .now + configuration.statementTimeout
        let steps = try send(commands)
        unsentBegin = nil

        var rows: [Rows] = []
        var failure: PostgresError?
        var next = 0
        var separators = 0
        while true {
            switch handle.nextArrival(until: { isCancellable ? canceller.bringForward(deadline) : deadline }) {
            case .separator:
                separators += 1
                guard separators <= steps.count else { throw drop(.connectionLost, "out of step", in: last.name) }
            case .timedOut:
                throw dropLate(in: last.name)
            case .lost(let message):
                throw drop(.connectionLost, message, in: last.name)
            case .result(let result):
                if result.status == PGRES_PIPELINE_SYNC {
                    if let failure { throw failure }
                    return rows
                }
                guard next < steps.count else { throw drop(.connectionLost, "out of step", in: last.name) }
                let step = steps[next]
                next += 1
                switch (result.status, step) {
                case (PGRES_COMMAND_OK, .prepare(let index, let name)):
                    prepared.insert(commands[index].statement, as: name)
                case (PGRES_COMMAND_OK, .execute(let index)), (PGRES_TUPLES_OK, .execute(let index)),
                    (PGRES_EMPTY_QUERY, .execute(let index)):
                    rows.append(result.rows(of: commands[index].statement.name))
                case (PGRES_PIPELINE_ABORTED, _):
                    break
                case (PGRES_FATAL_ERROR, .prepare(let index, _)), (PGRES_FATAL_ERROR, .execute(let index)):
                    let statement = commands[index].statement
                    let error = report(result.error(in: statement.name))
                    if error.kind == .connectionLost { throw drop(.connectionLost, error.message, in: statement.name) }
                    if error.isStalePlan { prepared.forget(statement) }
                    if failure == nil { failure = error }
                default:
                    throw drop(.unexpectedValue, "a kind of result that is not supported", in: last.name)
                }
            }
        }
    }

    private func send(_ commands: [Command]) throws(PostgresError) -> [Step] {
        var steps: [Step] = []
        steps.reserveCapacity(commands.count)
        var underWay: [String: String] = [:]
        var isSent = true
        for (index, command) in commands.enumerated() where isSent {
            let statement = command.statement
            let known = prepared.name(of: statement) ?? underWay[statement.name]
            let name = known ?? prepared.newName(for: statement)
            if known == nil {
                underWay[statement.name] = name
                steps.append(.prepare(index, name: name))
                isSent = handle.sendPrepare(statement.text, as: name)
            }
            steps.append(.execute(index))
            isSent = isSent && handle.sendExecute(command, as: name)
        }
        guard isSent, handle.sendSync() else {
            throw drop(.connectionLost, "could not send", in: commands[commands.count - 1].statement.name)
        }
        return steps
    }

    func check(_ command: Command) throws(PostgresError) {
        if let position = command.unusable {
            throw PostgresError(.unusableBind, statement: command.statement.name, message: "$\(position) holds a NUL")
        }
        // The protocol counts them in 16 bits.
        guard command.offsets.count <= Int(UInt16.max) else {
            throw PostgresError(.unusableBind, statement: command.statement.name, message: "too many values")
        }
    }

    private func checkOpen(_ statement: String) throws(PostgresError) {
        guard handle.isOpen else {
            throw PostgresError(.closed, statement: statement, message: "the connection is closed")
        }
    }

    private func start(_ statement: String) throws(PostgresError) {
        try checkOpen(statement)
        guard canceller.begin() else {
            throw PostgresError(.cancelled, statement: statement, message: "the task was cancelled")
        }
    }

    /// `query_canceled` has two reasons, and only this side knows which.
    private func report(_ error: PostgresError) -> PostgresError {
        guard error.sqlState == "57014" else { return error }
        return PostgresError(
            canceller.requested == nil ? .timedOut : .cancelled, statement: error.statement, message: error.message)
    }

    private func dropLate(in statement: String) -> PostgresError {
        drop(canceller.requested == nil ? .timedOut : .cancelled, "no answer in time", in: statement)
    }

    /// Closes the connection, whose state is not known any more.
    private func drop(_ kind: PostgresError.Kind, _ message: String, in statement: String) -> PostgresError {
        close()
        return PostgresError(kind, statement: statement, message: message)
    }
}

extension Canceller {
    /// The deadline, nearer when the task was cancelled.
    func bringForward(_ deadline: ContinuousClock.Instant) -> ContinuousClock.Instant {
        requested.map { min(deadline, $0 + Self.patience) } ?? deadline
    }
}

extension Statement {
    /// A commit that was answered must survive a crash. Stronger settings than `on` are left alone.
    fileprivate static let keepDurable = Statement(
        "connection.keep_durable",
        """
        SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off'
        """)
}
