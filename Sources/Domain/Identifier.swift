/// The number of one row, typed by what it numbers, so that a dialog's id cannot stand where an account's is meant.
package struct Identifier<Subject>: Hashable, Sendable, Comparable {
    package let rawValue: Int64

    package init(_ rawValue: Int64) {
        self.rawValue = rawValue
    }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension Identifier: CustomStringConvertible {
    package var description: String { String(rawValue) }
}

extension Identifier: Codable {
    package init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// One customer: the owner of assistants, operators, dialogs and of one log of events.
package enum Account {
    package typealias ID = Identifier<Account>
}
