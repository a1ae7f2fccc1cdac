/// What a client can follow. Both kinds count their own events without a hole.
package enum StreamKey: Hashable, Sendable {
    /// Everything that happens in an account.
    case account(Account.ID)
    /// The public events of one dialog; the account is named because its log is where they come from.
    case dialog(Dialog.ID, of: Account.ID)

    package var accountID: Account.ID {
        switch self {
        case .account(let id), .dialog(_, of: let id): id
        }
    }
}
