/// Which statements a connection has prepared, and under which names.
struct PreparedStatements {
    private var known: [String: (text: String, name: String)] = [:]
    private var forgotten = 0

    /// The name to execute the statement under, or nil when it has to be prepared first.
    func name(of statement: Statement) -> String? {
        guard let entry = known[statement.name] else { return nil }
        precondition(entry.text == statement.text, "Two statements are named \(statement.name)")
        return entry.name
    }

    /// The name to prepare the statement under. One that was forgotten may still exist on the server, so from then
    /// on names are new ones.
    func newName(for statement: Statement) -> String {
        forgotten == 0 ? statement.name : "\(statement.name)#\(forgotten)"
    }

    mutating func insert(_ statement: Statement, as name: String) {
        known[statement.name] = (statement.text, name)
    }

    mutating func forget(_ statement: Statement) {
        guard known.removeValue(forKey: statement.name) != nil else { return }
        forgotten += 1
    }

    mutating func forgetAll() {
        known.removeAll()
        forgotten = 0
    }
}
