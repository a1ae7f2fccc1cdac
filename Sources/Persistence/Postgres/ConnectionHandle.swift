import CLibpq
import Foundation

/// Owns a `PGconn`: finished exactly once, unreachable after. Every wait in it has a deadline; only the resolving
/// of a host's name, which libpq does itself, has none.
struct ConnectionHandle: ~Copyable {
    private var raw: OpaquePointer?

    deinit {
        if let raw { PQfinish(raw) }
    }

    mutating func close() {
        if let raw { PQfinish(raw) }
        raw = nil
    }

    var isOpen: Bool { raw != nil && PQstatus(raw) == CONNECTION_OK }

    /// `PQTRANS_UNKNOWN` when there is no connection.
    var transactionStatus: PGTransactionStatusType { PQtransactionStatus(raw) }

    var processID: Int32 { PQbackendPID(raw) }

    func makeCancelHandle() -> CancelHandle? {
        raw.flatMap { CancelHandle(of: $0) }
    }

    /// Connects and goes over to pipeline mode, with writes that do not block.
    mutating func open(
        _ parameters: [(keyword: String, value: String)], until deadline: ContinuousClock.Instant
    ) throws(PostgresError) {
        close()
        raw = withCStrings(parameters.map(\.keyword)) { keywords in
            withCStrings(parameters.map(\.value)) { values in PQconnectStartParams(keywords, values, 0) }
        }
        guard raw != nil else { throw PostgresError(.connectFailed, message: "out of memory") }
        // libpq would write the server's notices to stderr.
        PQsetNoticeProcessor(raw, { _, _ in }, nil)
        var wanted = PGRES_POLLING_WRITING
        while PQstatus(raw) != CONNECTION_BAD, wanted != PGRES_POLLING_FAILED {
            if wanted == PGRES_POLLING_OK {
                guard PQsetnonblocking(raw, 1) == 0, PQenterPipelineMode(raw) == 1 else { break }
                return
            }
            guard wait(for: wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, until: deadline) != 0 else {
                close()
                throw PostgresError(.connectFailed, message: "no answer in time")
            }
            wanted = PQconnectPoll(raw)
        }
        let complaint = lastComplaint
        close()
        throw PostgresError(.connectFailed, message: complaint)
    }

    /// Whether the server has kept the idle connection. It has nothing to say on one, except that it ends it; for the
    /// rare other notice a connection is given up too many.
    var isQuiet: Bool { isOpen && wait(for: POLLIN, until: .now) == 0 }

    // MARK: Sending: what is queued goes out while results are awaited

    func sendPrepare(_ text: String, as name: String) -> Bool {
        PQsendPrepare(raw, name, text, 0, nil) == 1
    }

    func sendExecute(_ command: Command, as name: String) -> Bool {
        command.wire.withUnsafeBufferPointer { wire in
            wire.withMemoryRebound(to: CChar.self) { wire in
                let values = command.offsets.map { offset in
                    offset.flatMap { offset in wire.baseAddress.map { UnsafePointer($0 + offset) } }
                }
                return PQsendQueryPrepared(raw, name, Int32(values.count), values, nil, nil, 0) == 1
            }
        }
    }

    func sendSync() -> Bool {
        PQpipelineSync(raw) == 1
    }

    /// Several statements in one text, outside pipeline mode.
    func sendScript(_ sql: String) -> Bool {
        PQexitPipelineMode(raw) == 1 && PQsendQuery(raw, sql) == 1
    }

    func endScript() -> Bool {
        PQenterPipelineMode(raw) == 1
    }

    // MARK: Receiving

    /// What has become of a wait for the next result.
    enum Arrival: ~Copyable {
        case result(ResultHandle)
        /// The end of one statement's results.
        case separator
        case timedOut
        case lost(String)
    }

    /// - Parameter deadline: asked again at least ten times a second, as a cancellation brings it forward.
    func nextArrival(until deadline: () -> ContinuousClock.Instant) -> Arrival {
        while true {
            let unsent = PQflush(raw)
            guard unsent >= 0 else { return .lost(lastComplaint) }
            if PQisBusy(raw) == 0 { break }
            let now = ContinuousClock.now
            let deadline = deadline()
            guard now < deadline else { return .timedOut }
            let wanted = unsent == 1 ? POLLIN | POLLOUT : POLLIN
            let events = wait(for: wanted, until: min(deadline, now + .milliseconds(100)))
            // What arrived before the end is still to be read: it may say why.
            if events & ~POLLOUT != 0, PQconsumeInput(raw) == 0, PQisBusy(raw) == 1 { return .lost(lastComplaint) }
        }
        if let result = PQgetResult(raw) { return .result(ResultHandle(result)) }
        return isOpen ? .separator : .lost(lastComplaint)
    }

    /// - Returns: the events that happened, 0 when the deadline came first.
    private func wait(for events: Int32, until deadline: ContinuousClock.Instant) -> Int32 {
        var descriptor = pollfd(fd: PQsocket(raw), events: Int16(events), revents: 0)
        while true {
            let left = max(.zero, ContinuousClock.now.duration(to: deadline))
            let count = poll(&descriptor, 1, left.milliseconds)
            if count > 0 { return Int32(descriptor.revents) }
            if count == 0 { return 0 }
            // A signal, mostly; anything else shows as an error event.
            guard errno == EINTR else { return POLLERR }
        }
    }

    private var lastComplaint: String {
        let text = PQerrorMessage(raw).map { String(cString: $0) } ?? ""
        return text.split(separator: "\n").first.map(String.init) ?? "the connection was lost"
    }
}

/// The strings as C strings, ended by a null pointer; valid within `body`.
private func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> Result
) -> Result {
    var text: [CChar] = []
    var offsets: [Int] = []
    for string in strings {
        offsets.append(text.count)
        text.append(contentsOf: string.utf8CString)
    }
    return text.withUnsafeBufferPointer { text in
        body(offsets.map { offset in text.baseAddress.map { $0 + offset } } + [nil])
    }
}
