/// A human who works for an account.
package struct Operator: Sendable, Equatable {
    package typealias ID = Identifier<Operator>

    package enum Role: String, Codable, Sendable, CaseIterable {
        case owner, admin, `operator`
    }

    package var id: ID
    package var accountID: Account.ID
    package var email: String
    package var firstName: String
    package var role: Role
    package var createdAt: Timestamp

    package init(
        id: ID, accountID: Account.ID, email: String, firstName: String, role: Role, createdAt: Timestamp
    ) {
        self.id = id
        self.accountID = accountID
        self.email = email
        self.firstName = firstName
        self.role = role
        self.createdAt = createdAt
    }

    /// The name that visitors and colleagues read: never the address.
    package var displayName: String { Self.displayName(firstName: firstName, id: id) }

    package static func displayName(firstName: String, id: ID) -> String {
        firstName.isEmpty ? "Operator \(id)" : firstName
    }
}
