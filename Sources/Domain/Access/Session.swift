package import FoundationEssentials

/// A login that lasts until it is ended.
package struct Session: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        /// The operators' panel: an opaque cookie that slides.
        case panel
        /// A program: refresh tokens, each used once.
        case program

        /// How long a session lasts without being used.
        package var lifetime: Duration {
            switch self {
            case .panel: .seconds(12 * 3600)
            case .program: .seconds(30 * 24 * 3600)
            }
        }
    }

    package let id: UUID
    package let kind: Kind
    package let caller: Operator

    package init(id: UUID, kind: Kind, caller: Operator) {
        self.id = id
        self.kind = kind
        self.caller = caller
    }
}

/// What a refresh token that was shown comes to (RFC 9700, section 4.14.2). Tokens of a session are numbered; the
/// newest is good, and the one before it for a moment more, because an answer may be lost and tabs may ask at once.
package enum RefreshVerdict: Equatable, Sendable {
    /// It is the newest: the next one becomes it.
    case rotate
    /// It was the newest a moment ago: the same successor again.
    case again
    /// It was used long ago: somebody has a copy. The session ends.
    case reused
    /// No token of this session has this number yet.
    case unknown

    package static let grace = Duration.seconds(30)

    /// - Parameter age: how long `newest` has been the newest.
    package init(shown: Int64, newest: Int64, age: Duration) {
        if shown > newest {
            self = .unknown
        } else if shown == newest {
            self = .rotate
        } else if shown == newest - 1 && age <= Self.grace {
            self = .again
        } else {
            self = .reused
        }
    }
}
