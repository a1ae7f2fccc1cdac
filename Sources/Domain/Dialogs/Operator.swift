/// A human who works for an account.
package struct Operator: Sendable, Equatable {
    package typealias ID = Identifier<Operator>

    package enum Role: String, Codable, Sendable, CaseIterable {
        case owner, admin, `operator`

        /// Whether this role may do what another needs.
        package func covers(_ needed: Role) -> Bool { rank >= needed.rank }

        /// Whether who has this role may make, change or remove somebody of another: owners everybody, admins operators.
        package func mayManage(_ other: Role) -> Bool {
            self == .owner || (self == .admin && other == .operator)
        }

        private var rank: Int {
            switch self {
            case .operator: 0
            case .admin: 1
            case .owner: 2
            }
        }
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
