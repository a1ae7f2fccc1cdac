/// Who may do what in which state, without the circumstances (presence, room, time). What the machine allows beyond that
/// it refuses for one of these; the model test holds the two against each other.
package enum HandoffTable {
    /// The kinds of actors that a command is for at all.
    package static func mayTry(_ command: HandoffCommand.Name, _ actor: HandoffActor) -> Bool {
        switch (command, actor) {
        case (.request, .visitor), (.request, .operator), (.request, .assistant), (.request, .detector): true
        case (.cancel, .visitor), (.cancel, .operator): true
        case (.takeover, .operator), (.transfer, .operator), (.release, .operator): true
        case (.reset, .operator(let desk)): desk.role.covers(.admin)
        case (.expire, .clock), (.loseOperator, .clock), (.idle, .clock): true
        default: false
        }
    }

    /// Where a command leads; `nil` where it is refused. A command that leads to where one is changes nothing, but for
    /// a transfer.
    package static func target(of command: HandoffCommand.Name, from status: Handoff.Status) -> Handoff.Status? {
        switch (command, status) {
        case (.request, .none), (.request, .requested), (.request, .released), (.request, .cancelled): .requested
        case (.takeover, _): .active
        case (.transfer, .active): .active
        case (.release, .active), (.idle, .active): .released
        case (.cancel, .requested), (.expire, .requested): .cancelled
        case (.loseOperator, .active): .requested
        case (.reset, _): Handoff.Status.none
        default: nil
        }
    }

    /// What an actor could do in a state.
    package static func allowed(
        in status: Handoff.Status, to actor: HandoffActor, handoff: Handoff
    ) -> [HandoffCommand.Name] {
        HandoffCommand.Name.allCases.filter { command in
            guard mayTry(command, actor), target(of: command, from: status) != nil else { return false }
            guard status == .active, case .operator(let desk) = actor, let assignee = handoff.assignee else {
                return true
            }
            let holds = assignee.id == desk.person.id
            switch command {
            case .takeover: return holds
            case .transfer, .release: return holds || desk.role.covers(.admin)
            default: return true
            }
        }
    }
}

extension HandoffTable {
    /// The table as docs/handoff.md has it; a test holds that page against it.
    package static var markdown: String {
        let statuses = Handoff.Status.allCases
        var lines = [
            "| command | who | " + statuses.map { "from `\($0.rawValue)`" }.joined(separator: " | ") + " |",
            "|---|---|" + String(repeating: "---|", count: statuses.count),
        ]
        for command in HandoffCommand.Name.allCases {
            let targets = statuses.map { target(of: command, from: $0).map { "→ `\($0.rawValue)`" } ?? "409" }
            lines.append(
                "| `\(command.rawValue)` | \(actors(of: command)) | " + targets.joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n")
    }

    private static func actors(of command: HandoffCommand.Name) -> String {
        func desk(_ role: Operator.Role) -> HandoffActor {
            .operator(Desk(person: .init(id: .init(1), name: ""), role: role, isPresent: true, hasRoom: true))
        }
        let kinds: [(String, HandoffActor)] = [
            ("visitor", .visitor), ("assistant", .assistant), ("detector", .detector), ("clock", .clock),
            ("operator", desk(.operator)),
        ]
        var names = kinds.filter { mayTry(command, $0.1) }.map(\.0)
        if !names.contains("operator") && mayTry(command, desk(.admin)) { names.append("admin") }
        return names.joined(separator: ", ")
    }
}
