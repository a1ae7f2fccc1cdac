/// A visitor as open streams and stream tokens name one: the beginning of the hash of their secret, in hexadecimal. It
/// tells nothing of the secret and opens nothing by itself.
package struct GuestMark: Hashable, Sendable {
    package let text: String

    package init(text: String) {
        self.text = text
    }
}

extension Guest {
    package var mark: GuestMark {
        let digits = Array("0123456789abcdef")
        return GuestMark(
            text: hash.prefix(16).reduce(into: "") { $0 += "\(digits[Int($1 >> 4)])\(digits[Int($1 & 15)])" })
    }
}

/// What a visitor came in with.
package struct VisitorPass: Hashable, Sendable {
    package enum Door: Hashable, Sendable {
        /// By a site token of this version.
        case site(version: Int)
        /// By the assistant's number.
        case number
    }

    package let assistantID: Assistant.ID
    package let door: Door
    /// `nil` for somebody who has not said yet which guest they are.
    package let guest: GuestMark?

    package init(assistantID: Assistant.ID, door: Door, guest: GuestMark?) {
        self.assistantID = assistantID
        self.door = door
        self.guest = guest
    }
}

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
