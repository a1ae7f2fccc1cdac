import CLibpq

/// How much of other transactions' work a transaction sees.
package enum Isolation: Sendable {
    /// Each statement sees what was committed before it began.
    case readCommitted
    /// All statements see the same moment, and none writes.
    case snapshot
}

extension PostgresConnection {
    /// Runs `body` as a transaction: committed when it returns, rolled back when it throws, its error thrown on.
    /// A body that runs nothing costs nothing: BEGIN goes out with the first statement.
    /// - Throws: what `body` throws, or COMMIT's error. If its `isOutcomeUnknown` is set, the transaction may or may
    ///   not have been committed. `server("25P02")` when `body` swallowed an error, after which nothing can commit.
    package func transaction<Result>(
        _ isolation: Isolation = .readCommitted, _ body: (isolated PostgresConnection) throws -> Result
    ) throws -> Result {
        precondition(!isInTransaction, "A transaction is open on this connection")
        unsentBegin = isolation == .snapshot ? .beginSnapshot : .begin
        let result: Result
        do {
            result = try body(self)
            guard unsentBegin == nil else {
                unsentBegin = nil
                return result
            }
            // Committed by ``commit(with:)``.
            guard handle.transactionStatus != PQTRANS_IDLE else { return result }
            guard handle.transactionStatus != PQTRANS_INERROR else {
                throw PostgresError(
                    .server(sqlState: "25P02"), statement: Command.commit.statement.name,
                    message: "a statement of the transaction had failed")
            }
            // From here on the outcome has to be waited for.
            if canceller.requested != nil {
                throw PostgresError(.cancelled, message: "the task was cancelled before the commit")
            }
        } catch {
            rollBack()
            throw error
        }
        do {
            _ = try exchange([.commit], deadline: nil, isCancellable: false)
        } catch {
            throw error.inCommit()
        }
        return result
    }

    /// Ends the transaction from within: its last commands and COMMIT, in one round trip instead of two.
    /// - Throws: the first command's error, after which nothing is committed; or COMMIT's, as ``transaction(_:_:)`` has it.
    package func commit(with commands: [Command]) throws(PostgresError) {
        precondition(isInTransaction && unsentBegin == nil, "There is no transaction to end")
        for command in commands { try check(command) }
        do {
            _ = try exchange(commands + [.commit], deadline: nil, isCancellable: false)
        } catch {
            throw error.inCommit()
        }
    }

    private func rollBack() {
        unsentBegin = nil
        guard handle.isOpen, handle.transactionStatus != PQTRANS_IDLE else { return }
        // A cancel request that is still under way would hit the ROLLBACK.
        guard canceller.settle() else { return close() }
        do {
            _ = try exchange([.rollback], deadline: nil, isCancellable: false)
        } catch {
            // Without the connection the server rolls back by itself.
            close()
        }
    }
}

extension Command {
    fileprivate static let begin = Command(Statement("transaction.begin", "BEGIN"))
    fileprivate static let beginSnapshot = Command(
        Statement("transaction.begin_snapshot", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    fileprivate static let commit = Command(Statement("transaction.commit", "COMMIT"))
    fileprivate static let rollback = Command(Statement("transaction.rollback", "ROLLBACK"))
}
