/// Whom an assistant lets in, as the database has it at one moment.
package struct Entrance: Sendable, Equatable {
    package enum Refusal: Error, Equatable, Sendable {
        /// The assistant is switched off or put away.
        case closed
        /// The token's version was revoked.
        case revoked
        /// Nobody comes in by the number alone.
        case numberOff
        case blocked
    }

    package var isOpen: Bool
    package var tokenVersion: Int
    /// Whether tokens of the version before are still good.
    package var takesPreviousVersion: Bool
    package var guestAccess: Bool
    package var blocked: Set<GuestMark>

    package init(
        isOpen: Bool, tokenVersion: Int, takesPreviousVersion: Bool, guestAccess: Bool, blocked: Set<GuestMark>
    ) {
        self.isOpen = isOpen
        self.tokenVersion = tokenVersion
        self.takesPreviousVersion = takesPreviousVersion
        self.guestAccess = guestAccess
        self.blocked = blocked
    }

    package func admit(_ pass: VisitorPass) throws(Refusal) {
        guard isOpen else { throw .closed }
        switch pass.door {
        case .site(let version):
            guard version == tokenVersion || (takesPreviousVersion && version == tokenVersion - 1) else {
                throw .revoked
            }
        case .number:
            guard guestAccess else { throw .numberOff }
        }
        if let guest = pass.guest, blocked.contains(guest) { throw .blocked }
    }
}
