package import FoundationEssentials

/// Who speaks for the account in a dialog: the assistant, or an operator. ``HandoffMachine`` moves it and nothing else.
package struct Handoff: Sendable, Equatable {
    package enum Status: String, JSONWritable, Sendable, CaseIterable {
        /// Nobody was ever asked for, or an admin has reset it. Exits: request → ``requested``, take over → ``active``.
        case none
        /// Somebody waits for an operator, and the assistant is silent. Exits: take over → ``active``; cancel, expire →
        /// ``cancelled``; reset → ``none``.
        case requested
        /// An operator speaks, and the assistant is silent. Exits: release, idle → ``released``; operator lost →
        /// ``requested``; transfer → ``active`` with another operator; reset → ``none``.
        case active
        /// An operator has handed back. Exits: those of ``none``; reset → ``none``.
        case released
        /// The visitor or an operator did without, or nobody came in time. Exits: those of ``none``; reset → ``none``.
        case cancelled
    }

    /// Why a state was entered.
    package enum Reason: String, JSONWritable, Sendable, CaseIterable {
        /// Who asked for an operator.
        case visitor, `operator`, assistant
        /// The wish was heard in the visitor's words.
        case detector
        /// The assistant could not answer.
        case fallback
        /// Nobody came before the deadline.
        case timeout
        /// The operator who had the dialog is gone.
        case operatorOffline = "operator_offline"
        /// Nothing was said for as long as the assistant's settings allow.
        case idle
    }

    package var status: Status
    /// Raised by every transition; an assistant's message names the one it was begun in.
    package var epoch: Int64
    /// Who speaks, while ``Status/active``.
    package var assignee: Message.Author?
    package var requestedAt: Timestamp?
    package var startedAt: Timestamp?
    package var resolvedAt: Timestamp?
    /// When a request lapses.
    package var deadline: Timestamp?
    package var reason: Reason?
    /// What makes a repeated request the same one.
    package var requestID: UUID?

    package init(
        status: Status, epoch: Int64, assignee: Message.Author? = nil, requestedAt: Timestamp? = nil,
        startedAt: Timestamp? = nil, resolvedAt: Timestamp? = nil, deadline: Timestamp? = nil, reason: Reason? = nil,
        requestID: UUID? = nil
    ) {
        self.status = status
        self.epoch = epoch
        self.assignee = assignee
        self.requestedAt = requestedAt
        self.startedAt = startedAt
        self.resolvedAt = resolvedAt
        self.deadline = deadline
        self.reason = reason
        self.requestID = requestID
    }
}

extension Handoff: JSONWritable {
    package func write(to json: inout String) {
        var object = JSONObject()
        object.add("status", status)
        object.add("epoch", epoch)
        json += object.finished()
    }
}
