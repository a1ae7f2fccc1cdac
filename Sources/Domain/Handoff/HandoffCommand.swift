package import FoundationEssentials

/// An operator as a handoff needs one, as the database has them under the locks.
package struct Desk: Sendable, Equatable {
    package var person: Message.Author
    package var role: Operator.Role
    /// Online by their own word, and seen lately.
    package var isPresent: Bool
    /// Has fewer active dialogs of this channel than they take.
    package var hasRoom: Bool

    package init(person: Message.Author, role: Operator.Role, isPresent: Bool, hasRoom: Bool) {
        self.person = person
        self.role = role
        self.isPresent = isPresent
        self.hasRoom = hasRoom
    }
}

/// Who moves a handoff.
package enum HandoffActor: Sendable, Equatable {
    case visitor
    case `operator`(Desk)
    /// By its tool call, or because it could not answer.
    case assistant
    /// The wish for a human, heard in a visitor's message.
    case detector
    /// Time, by PostgreSQL's clock.
    case clock
}

package enum HandoffCommand: Sendable, Equatable {
    /// Asks for an operator. The same request again changes nothing.
    case request(id: UUID?, reason: Handoff.Reason)
    case takeOver
    case transfer(to: Desk)
    case release
    case cancel
    /// The deadline of a request has passed.
    case expire
    /// The operator has been away for longer than the grace time.
    case loseOperator
    /// Nothing was said for too long.
    case idle
    case reset

    package enum Name: String, JSONWritable, Sendable, CaseIterable {
        case request, takeover, transfer, release, cancel, expire
        case loseOperator = "lose_operator"
        case idle
        case reset = "force_reset"
    }

    package var name: Name {
        switch self {
        case .request: .request
        case .takeOver: .takeover
        case .transfer: .transfer
        case .release: .release
        case .cancel: .cancel
        case .expire: .expire
        case .loseOperator: .loseOperator
        case .idle: .idle
        case .reset: .reset
        }
    }
}

/// Why a command changes nothing. `allowed` is what the same actor could do instead.
package struct HandoffRefusal: Error, Equatable, Sendable {
    package enum Why: Error, Equatable {
        case dialogClosed
        /// Not from this state.
        case wrongState(Handoff.Status)
        /// Another operator has it.
        case heldBy(Message.Author)
        /// Not this actor's to do.
        case notYours
        /// The one who would speak is not there.
        case offline
        /// The one who would speak has as many dialogs as they take.
        case full
        case toOneself
        /// Its time has not come: it was moved meanwhile.
        case notYet
    }

    package let why: Why
    package let allowed: [HandoffCommand.Name]

    package init(_ why: Why, allowed: [HandoffCommand.Name]) {
        self.why = why
        self.allowed = allowed
    }
}
