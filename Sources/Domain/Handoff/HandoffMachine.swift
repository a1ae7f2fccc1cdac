import FoundationEssentials

/// Moves handoffs. Pure: what was read under the locks goes in, what is to be written comes out, or a refusal.
package struct HandoffMachine: Sendable {
    /// What beside the handoff itself decides.
    package struct Scene: Sendable, Equatable {
        package var now: Timestamp
        package var isOpen: Bool
        /// When a request made now lapses.
        package var deadline: Timestamp
        /// Whether the operator who has the dialog has been away for longer than the grace time.
        package var isOperatorLost: Bool
        /// Whether nothing was said for longer than the assistant's settings allow.
        package var isIdle: Bool

        package init(
            now: Timestamp, isOpen: Bool, deadline: Timestamp, isOperatorLost: Bool = false, isIdle: Bool = false
        ) {
            self.now = now
            self.isOpen = isOpen
            self.deadline = deadline
            self.isOperatorLost = isOperatorLost
            self.isIdle = isIdle
        }
    }

    package enum Step: Sendable, Equatable {
        /// It is so already.
        case unchanged
        case moved(Move)
    }

    /// A transition, with everything that it writes.
    package struct Move: Sendable, Equatable {
        package let from: Handoff
        package let to: Handoff
        package let command: HandoffCommand.Name
        /// What is said in the dialog; a reset says nothing.
        package let notice: HandoffNotice?
        package let event: HandoffEvent?
    }

    package let handoff: Handoff
    package let scene: Scene

    package init(_ handoff: Handoff, in scene: Scene) {
        self.handoff = handoff
        self.scene = scene
    }

    package func decide(_ command: HandoffCommand, by actor: HandoffActor) throws(HandoffRefusal) -> Step {
        do throws(HandoffRefusal.Why) {
            return try step(command, by: actor)
        } catch {
            throw HandoffRefusal(error, allowed: HandoffTable.allowed(in: handoff.status, to: actor, handoff: handoff))
        }
    }

    // MARK: Deciding

    private func step(_ command: HandoffCommand, by actor: HandoffActor) throws(HandoffRefusal.Why) -> Step {
        guard HandoffTable.mayTry(command.name, actor) else { throw .notYours }
        // The clock and an admin put in order what was left behind, also in a closed dialog.
        guard scene.isOpen || actor == .clock || command == .reset else { throw .dialogClosed }
        switch command {
        case .request(let id, let reason): return try request(id, reason)
        case .takeOver: return try takeOver(by: actor)
        case .transfer(let desk): return try transfer(to: desk, by: actor)
        case .release: return try release(by: actor)
        case .cancel:
            guard handoff.status == .requested else { throw .wrongState(handoff.status) }
            return .moved(resolve(.cancelled, .cancel, reason: nil, .cancelled, .cancelled))
        case .expire:
            guard handoff.status == .requested else { throw .wrongState(handoff.status) }
            guard let deadline = handoff.deadline, deadline <= scene.now else { throw .notYet }
            return .moved(resolve(.cancelled, .expire, reason: .timeout, .timedOut, .cancelled))
        case .loseOperator:
            guard handoff.status == .active else { throw .wrongState(handoff.status) }
            guard scene.isOperatorLost else { throw .notYet }
            return .moved(requested(.loseOperator, id: handoff.requestID, reason: .operatorOffline, .operatorLost))
        case .idle:
            guard handoff.status == .active else { throw .wrongState(handoff.status) }
            guard scene.isIdle else { throw .notYet }
            return .moved(resolve(.released, .idle, reason: .idle, .released, .released))
        case .reset:
            guard handoff.status != .none else { return .unchanged }
            return .moved(
                Move(
                    from: handoff, to: Handoff(status: .none, epoch: handoff.epoch + 1), command: .reset, notice: nil,
                    event: handoff.status == .active ? .released : handoff.status == .requested ? .cancelled : nil))
        }
    }

    private func request(_ id: UUID?, _ reason: Handoff.Reason) throws(HandoffRefusal.Why) -> Step {
        switch handoff.status {
        // The place in the queue is kept, whoever asks again and by whatever name.
        case .requested: return .unchanged
        case .active:
            // An answer that was lost: the request has been granted meanwhile.
            if let id, id == handoff.requestID { return .unchanged }
            throw handoff.assignee.map { .heldBy($0) } ?? .wrongState(.active)
        case .none, .released, .cancelled:
            // The same request that was answered already is no new one.
            if let id, id == handoff.requestID { return .unchanged }
            return .moved(requested(.request, id: id, reason: reason, .requested))
        }
    }

    private func takeOver(by actor: HandoffActor) throws(HandoffRefusal.Why) -> Step {
        guard case .operator(let desk) = actor else { throw .notYours }
        if handoff.status == .active {
            guard let assignee = handoff.assignee, assignee.id != desk.person.id else { return .unchanged }
            throw .heldBy(assignee)
        }
        try confirm(desk)
        return .moved(started(by: desk.person, .takeover, .started, .started))
    }

    private func transfer(to desk: Desk, by actor: HandoffActor) throws(HandoffRefusal.Why) -> Step {
        guard handoff.status == .active else { throw .wrongState(handoff.status) }
        try confirmHolder(actor)
        guard desk.person.id != handoff.assignee?.id else { throw .toOneself }
        try confirm(desk)
        return .moved(started(by: desk.person, .transfer, .transferred, .transferred))
    }

    private func release(by actor: HandoffActor) throws(HandoffRefusal.Why) -> Step {
        guard handoff.status == .active else { throw .wrongState(handoff.status) }
        try confirmHolder(actor)
        return .moved(resolve(.released, .release, reason: nil, .released, .released))
    }

    private func confirm(_ desk: Desk) throws(HandoffRefusal.Why) {
        guard desk.isPresent else { throw .offline }
        guard desk.hasRoom else { throw .full }
    }

    /// The one who has the dialog, or an admin.
    private func confirmHolder(_ actor: HandoffActor) throws(HandoffRefusal.Why) {
        guard case .operator(let desk) = actor else { throw .notYours }
        guard let assignee = handoff.assignee, assignee.id != desk.person.id, !desk.role.covers(.admin) else { return }
        throw .heldBy(assignee)
    }

    // MARK: Moving

    private func requested(
        _ command: HandoffCommand.Name, id: UUID?, reason: Handoff.Reason, _ notice: HandoffNotice
    ) -> Move {
        // Who lost their operator waits from when they first asked: they come first.
        let since = command == .loseOperator ? handoff.requestedAt ?? handoff.startedAt ?? scene.now : scene.now
        return Move(
            from: handoff,
            to: Handoff(
                status: .requested, epoch: handoff.epoch + 1, requestedAt: since, deadline: scene.deadline,
                reason: reason, requestID: id),
            command: command, notice: notice, event: .requested)
    }

    private func started(
        by person: Message.Author, _ command: HandoffCommand.Name, _ notice: HandoffNotice, _ event: HandoffEvent
    ) -> Move {
        var to = handoff
        to.status = .active
        to.epoch += 1
        to.assignee = person
        to.startedAt = scene.now
        to.resolvedAt = nil
        to.deadline = nil
        if handoff.status != .requested && handoff.status != .active {
            to.requestedAt = nil
            to.requestID = nil
            to.reason = .operator
        }
        return Move(from: handoff, to: to, command: command, notice: notice, event: event)
    }

    private func resolve(
        _ status: Handoff.Status, _ command: HandoffCommand.Name, reason: Handoff.Reason?, _ notice: HandoffNotice,
        _ event: HandoffEvent
    ) -> Move {
        var to = handoff
        to.status = status
        to.epoch += 1
        to.assignee = nil
        to.resolvedAt = scene.now
        to.deadline = nil
        if let reason { to.reason = reason }
        return Move(from: handoff, to: to, command: command, notice: notice, event: event)
    }
}
