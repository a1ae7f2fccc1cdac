/// What went wrong between this process and PostgreSQL. It never carries a bound value: not the server's
/// DETAIL, and of a data exception (class 22), whose message quotes the value, not the message either.
package struct PostgresError: Error, Sendable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The server refused the statement.
        case server(sqlState: String)
        /// The connection went away under a statement; what the statement did is unknown.
        case connectionLost
        /// No connection could be made, or the pool is not trying at the moment because the last tries failed.
        case connectFailed
        /// No answer until the deadline (the connection was dropped), or the server's own statement time-out.
        case timedOut
        /// The calling task was cancelled.
        case cancelled
        /// No connection of the pool became free in time.
        case poolExhausted
        /// The connection or the pool had been closed.
        case closed
        /// A value that PostgreSQL's text form cannot carry (it holds a NUL), or too many values.
        case unusableBind
        /// A column held something else than the reader asked for.
        case unexpectedValue
    }

    package let kind: Kind
    /// The name of the statement, where there is one.
    package let statement: String?
    /// For people; the server's primary message at most.
    package let message: String
    /// The violated constraint, where there is one.
    package let constraint: String?
    /// Whether a transaction may have been committed or not: its COMMIT was sent and not answered.
    package internal(set) var isOutcomeUnknown = false

    package init(_ kind: Kind, statement: String? = nil, message: String, constraint: String? = nil) {
        self.kind = kind
        self.statement = statement
        self.message = message
        self.constraint = constraint
    }

    package var sqlState: String? {
        if case .server(let sqlState) = kind { sqlState } else { nil }
    }

    package var description: String {
        "PostgreSQL: \(kind)\(statement.map { " in \($0)" } ?? ""): \(message)"
    }

    /// Whether the connection is gone, or there never was one.
    package var isConnectionFailure: Bool {
        switch kind {
        case .connectionLost, .connectFailed, .closed: true
        default: false
        }
    }

    /// Whether trying later may help: what a client should get a 503 for.
    package var isUnavailable: Bool {
        switch kind {
        case .connectionLost, .connectFailed, .timedOut, .poolExhausted, .closed: true
        case .server(let sqlState):
            // Connection, resources, operator intervention, system error; a standby or a demoted primary;
            // a lock not had in time; a conflict that outlived its retries.
            ["08", "53", "57", "58"].contains(String(sqlState.prefix(2)))
                || ["25006", "55P03", "40001", "40P01"].contains(sqlState)
        case .cancelled, .unusableBind, .unexpectedValue: false
        }
    }

    /// Whether the transaction lost against another one and may win when run again.
    package var isSerializationFailure: Bool {
        sqlState == "40001" || sqlState == "40P01"
    }

    /// - Parameter constraint: only this one; nil for any.
    package func isUniqueViolation(_ constraint: String? = nil) -> Bool {
        sqlState == "23505" && (constraint == nil || constraint == self.constraint)
    }

    /// Whether the connection has to prepare the statement again: it was deallocated, or a migration changed
    /// what it returns. That shares its code with what is not supported at all, and only a translated message
    /// tells them apart.
    var isStalePlan: Bool {
        sqlState == "26000" || sqlState == "0A000"
    }

    func inCommit() -> PostgresError {
        var error = self
        error.isOutcomeUnknown = kind == .connectionLost || kind == .timedOut || kind == .cancelled
        return error
    }
}
