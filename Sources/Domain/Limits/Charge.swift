/// What is limited. A small closed set: these are the values of a metric's label.
package enum LimitName: String, Sendable, CaseIterable {
    case visitorMessages = "visitor_messages"
    case visitorStreams = "visitor_streams"
    case addressMessages = "address_messages"
    case addressStreams = "address_streams"
    case visitorRequests = "visitor_requests"
    case addressRequests = "address_requests"
    case addressDialogs = "address_dialogs"
    case addressAttempts = "address_attempts"
    case passwords
}

/// Whose limit: each subject of each limit has a bucket of its own.
package struct LimitKey: Sendable, Hashable {
    package let name: LimitName
    /// A visitor, an address, an account with an address: whatever tells them apart.
    package let subject: String

    package init(_ name: LimitName, of subject: String) {
        self.name = name
        self.subject = subject
    }
}

/// What one attempt costs one bucket.
package struct Charge: Sendable, Equatable {
    package let key: LimitKey
    package let rate: Rate
    /// The longest that the attempt may be made to wait for its turn.
    package let maximumWait: Duration
    package let cost: Int

    /// - Parameters:
    ///   - maximumWait: above zero the turn may be taken in advance, and ``LimitVerdict`` tells how long to wait for it.
    ///     Of five in ten seconds with a wait of ten, five are free, the next five come every two seconds, and what
    ///     would come later is refused.
    ///   - cost: 1 to the rate's count; more could never be paid.
    package init(key: LimitKey, rate: Rate, maximumWait: Duration = .zero, cost: Int = 1) {
        precondition((1...rate.count).contains(cost) && maximumWait >= .zero, "A charge that can never be paid")
        self.key = key
        self.rate = rate
        self.maximumWait = maximumWait
        self.cost = cost
    }

    /// How far the charge moves its bucket's theoretical arrival time.
    package var increment: Microseconds { rate.interval * Int64(cost) }
    /// How far ahead of now that may lie afterwards.
    package var ceiling: Microseconds { rate.burst + Microseconds(maximumWait) }
}
