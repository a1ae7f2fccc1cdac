/// A static SQL text with a name of its own: the name is what PostgreSQL prepares it under and what errors
/// and logs call it. Two texts under one name are a bug and stop the process.
package struct Statement: Sendable {
    package let name: String
    package let text: String

    /// - Parameter name: at most 56 bytes: PostgreSQL tells prepared statements apart by 63, and the connection may
    ///   append a number.
    package init(_ name: String, _ text: String) {
        precondition(name.utf8.count <= 56, "The statement's name is too long: \(name)")
        self.name = name
        self.text = text
    }
}

/// A statement with its values, already in the form that goes over the wire.
package struct Command: Sendable {
    package let statement: Statement
    /// Every value's text, each ended by a NUL, one after another.
    let wire: [UInt8]
    /// Where each value begins in `wire`; nil is NULL.
    let offsets: [Int?]
    /// The number ($n) of the first value that PostgreSQL's text form cannot carry.
    let unusable: Int?

    package init(_ statement: Statement, _ binds: (any Bindable)...) {
        self.init(statement, binds: binds)
    }

    package init(_ statement: Statement, binds: [any Bindable]) {
        var wire: [UInt8] = []
        var offsets: [Int?] = []
        var unusable: Int?
        offsets.reserveCapacity(binds.count)
        for (index, bind) in binds.enumerated() {
            let start = wire.count
            if bind.appendText(to: &wire) {
                offsets.append(start)
                // A NUL would end the value early, and PostgreSQL's text cannot hold one.
                if unusable == nil, wire[start...].contains(0) { unusable = index + 1 }
                wire.append(0)
            } else {
                offsets.append(nil)
            }
        }
        self.statement = statement
        self.wire = wire
        self.offsets = offsets
        self.unusable = unusable
    }
}
