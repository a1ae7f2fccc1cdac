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
        GuestMark(text: hash.prefix(16).hexadecimal)
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
