/// The pool's books, without locks, clocks or connections of their own: what a caller may do is the answer to its
/// question. `Connection` and `Waiter` are opaque here.
struct PoolState<Connection: Sendable, Waiter: Sendable> {
    enum Request {
        case use(Connection)
        /// Open a connection; the place for it is taken.
        case open
        case wait
        case refuse(PostgresError)
    }

    /// What the end of a use leads to.
    struct Release {
        /// Waiters who may go on, with what they get.
        var granted: [(waiter: Waiter, request: Request)] = []
        /// Connections that are to be closed.
        var surplus: [Connection] = []
    }

    private let size: Int
    private let idleLimit: Duration
    /// The one used last is used next, so that surplus ones grow old.
    private var idle: [(connection: Connection, since: ContinuousClock.Instant)] = []
    private var waiters: [(id: UInt64, waiter: Waiter)] = []
    /// Connections in use or being opened.
    private(set) var taken = 0
    private(set) var isClosed = false
    private var failure: (error: PostgresError, count: Int, until: ContinuousClock.Instant)?
    private var isProbing = false

    var waiting: Int { waiters.count }

    init(size: Int, idleLimit: Duration) {
        self.size = size
        self.idleLimit = idleLimit
    }

    mutating func request(at now: ContinuousClock.Instant) -> Request {
        if isClosed { return .refuse(.poolClosed) }
        // Not past those who wait already.
        if waiters.isEmpty {
            if let (connection, _) = idle.popLast() {
                taken += 1
                return .use(connection)
            }
            if let refusal = refusal(at: now) {
                // While something is in use, waiting for it is the better chance.
                if taken == 0 || isProbing && taken == 1 { return .refuse(refusal) }
            } else if taken < size {
                return place()
            }
        }
        return .wait
    }

    mutating func wait(_ waiter: Waiter, id: UInt64) {
        waiters.append((id, waiter))
    }

    /// - Returns: the waiter, unless it was granted something meanwhile.
    mutating func giveUp(_ id: UInt64) -> Waiter? {
        guard let index = waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return waiters.remove(at: index).waiter
    }

    mutating func opened() {
        failure = nil
        isProbing = false
    }

    /// Frees the place of a connection that could not be opened and lets nobody try until `until(count)`, the count
    /// of failures in a row.
    mutating func failed(
        _ error: PostgresError, at now: ContinuousClock.Instant, until: (Int) -> ContinuousClock.Instant
    ) -> Release {
        taken -= 1
        isProbing = false
        let count = (failure?.count ?? 0) + 1
        failure = (error, count, until(count))
        return taken == 0 ? refuseAll(error) : Release()
    }

    /// For when nothing is left that could serve those who wait.
    private mutating func refuseAll(_ error: PostgresError) -> Release {
        defer { waiters.removeAll() }
        return Release(granted: waiters.map { ($0.waiter, .refuse(error)) })
    }

    /// - Parameter connection: nil when it is not usable any more.
    mutating func release(_ connection: Connection?, at now: ContinuousClock.Instant) -> Release {
        taken -= 1
        var release = Release()
        if isClosed {
            if let connection { release.surplus.append(connection) }
            return release
        }
        if let connection {
            if waiters.isEmpty {
                idle.append((connection, now))
            } else {
                taken += 1
                release.granted.append((waiters.removeFirst().waiter, .use(connection)))
            }
        } else if let refusal = refusal(at: now) {
            if taken == 0 { release = refuseAll(refusal) }
        } else if !waiters.isEmpty {
            release.granted.append((waiters.removeFirst().waiter, place()))
        }
        while let oldest = idle.first, oldest.since + idleLimit < now {
            release.surplus.append(idle.removeFirst().connection)
        }
        return release
    }

    mutating func close() -> Release {
        isClosed = true
        var release = refuseAll(.poolClosed)
        release.surplus = idle.map(\.connection)
        idle.removeAll()
        return release
    }

    private mutating func place() -> Request {
        taken += 1
        isProbing = failure != nil
        return .open
    }

    /// Why nobody should try to connect now: the last try failed a moment ago, or one is under way after failures.
    private func refusal(at now: ContinuousClock.Instant) -> PostgresError? {
        guard let failure, isProbing || now < failure.until else { return nil }
        return failure.error
    }
}

extension PostgresError {
    fileprivate static var poolClosed: PostgresError { PostgresError(.closed, message: "the pool is closed") }
}
