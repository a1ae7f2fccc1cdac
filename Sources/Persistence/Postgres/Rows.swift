/// The rows of one result, copied out of libpq's memory. Keeping one row keeps the bytes of all.
package struct Rows: RandomAccessCollection, Sendable {
    /// How many rows the statement wrote, or returned for a SELECT.
    package let affected: Int
    package let startIndex = 0
    package let endIndex: Int

    let cells: Cells

    package subscript(position: Int) -> Row {
        precondition(indices.contains(position), "Row out of range")
        return Row(cells: cells, first: position * cells.columns)
    }

    init(cells: Cells, count: Int, affected: Int) {
        self.cells = cells
        self.endIndex = count
        self.affected = affected
    }
}

/// One row; columns count from 0.
package struct Row: Sendable {
    let cells: Cells
    let first: Int

    /// - Throws: `unexpectedValue` when the column's text is not a `V`, when it is NULL and `V` is not optional,
    ///   or when there is no such column.
    package func get<V: Readable>(_ column: Int, as type: V.Type = V.self) throws(PostgresError) -> V {
        guard column >= 0, column < cells.columns else {
            throw unexpected("no column \(column)")
        }
        guard let value = V.read(cells[first + column]) else {
            throw unexpected("column \(column) is no \(V.self)")
        }
        return value
    }

    private func unexpected(_ what: String) -> PostgresError {
        PostgresError(.unexpectedValue, statement: cells.statement, message: what)
    }
}

/// The texts of a result's fields, row by row.
struct Cells: Sendable {
    let statement: String
    let columns: Int
    let bytes: [UInt8]
    /// Where each field's text stands in `bytes`; nil is NULL.
    let ranges: [Range<Int>?]

    subscript(field: Int) -> ArraySlice<UInt8>? {
        ranges[field].map { bytes[$0] }
    }
}
