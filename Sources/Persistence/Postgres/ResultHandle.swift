import CLibpq

/// Owns a `PGresult`: cleared exactly once, unreachable after. What leaves it is a copy.
struct ResultHandle: ~Copyable {
    private let raw: OpaquePointer

    init(_ raw: OpaquePointer) {
        self.raw = raw
    }

    deinit {
        PQclear(raw)
    }

    var status: ExecStatusType { PQresultStatus(raw) }

    /// What was really done: "ROLLBACK" is the answer to the COMMIT of a transaction that had failed.
    var tag: String { String(cString: PQcmdStatus(raw)) }

    func rows(of statement: String) -> Rows {
        let count = Int(PQntuples(raw))
        let columns = Int(PQnfields(raw))
        var bytes: [UInt8] = []
        var ranges: [Range<Int>?] = []
        ranges.reserveCapacity(count * columns)
        for row in 0..<Int32(count) {
            for column in 0..<Int32(columns) {
                guard PQgetisnull(raw, row, column) == 0, let text = PQgetvalue(raw, row, column) else {
                    ranges.append(nil)
                    continue
                }
                let start = bytes.count
                bytes.append(contentsOf: UnsafeRawBufferPointer(start: text, count: Int(PQgetlength(raw, row, column))))
                ranges.append(start..<bytes.count)
            }
        }
        return Rows(
            cells: Cells(statement: statement, columns: columns, bytes: bytes, ranges: ranges),
            count: count,
            affected: Int(String(cString: PQcmdTuples(raw))) ?? 0
        )
    }

    /// The failure that this result reports. FATAL ones end the session, whatever their code is.
    func error(in statement: String) -> PostgresError {
        let sqlState = field("C") ?? ""
        let constraint = field("n")
        let message = field("M") ?? "no message"
        let severity = field("V") ?? ""
        if severity == "FATAL" || severity == "PANIC" || sqlState.isEmpty {
            return PostgresError(.connectionLost, statement: statement, message: message)
        }
        if sqlState.hasPrefix("22") {
            return PostgresError(.server(sqlState: sqlState), statement: statement, message: "a value was refused")
        }
        return PostgresError(
            .server(sqlState: sqlState), statement: statement, message: message, constraint: constraint)
    }

    /// - Parameter code: one of libpq's `PG_DIAG_…`, which are characters.
    private func field(_ code: Unicode.Scalar) -> String? {
        PQresultErrorField(raw, Int32(code.value)).map { String(cString: $0) }
    }
}
