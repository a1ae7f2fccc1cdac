package import Domain
package import FoundationEssentials

/// Moves handoffs in the database: the account locked first, then the dialog, everything read after the locks, decided by
/// ``HandoffMachine``, written in one transaction. Since every transition in an account waits for its row, two that
/// exclude each other cannot both happen, and counting an operator's dialogs is exact.
package struct HandoffStore: Sendable {
    package enum Caller: Sendable {
        case visitor(Guest)
        case `operator`(Operator.ID)
        case assistant, detector, clock
    }

    /// What is asked for. A transfer names its target by id: who that is now is read under the locks.
    package enum Wish: Sendable {
        case request(id: UUID?, reason: Handoff.Reason)
        case takeOver, release, cancel, expire, loseOperator, idle, reset
        case transfer(to: Operator.ID)
    }

    /// How long an operator who has given no sign is still there.
    package static let presenceSeconds: Int64 = 90

    private let pool: PostgresPool
    private let sink: any EventSink

    package init(pool: PostgresPool, sink: any EventSink) {
        self.pool = pool
        self.sink = sink
    }

    /// - Returns: how it stands now; `nil` where there is no such dialog, or it is not the caller's.
    /// - Throws: ``HandoffRefusal``; nothing has changed then.
    package func perform(
        _ wish: Wish, in dialog: Dialog.ID, of account: Account.ID, by caller: Caller
    ) async throws -> Handoff? {
        let done = try await pool.transaction { connection -> (Handoff, [StreamEvent])? in
            guard let scene = try LockedDialog(dialog, of: account, for: caller, wish, on: connection) else {
                return nil
            }
            guard case .moved(let move) = try scene.decide() else { return (scene.handoff, []) }
            return (move.to, try scene.write(move, on: connection))
        }
        guard let (handoff, events) = done else { return nil }
        if !events.isEmpty { sink.ingest(events) }
        return handoff
    }

    // MARK: Presence

    /// What operators say of themselves.
    package enum Presence: String, Sendable, CaseIterable { case online, away, offline }

    package func setPresence(_ presence: Presence, of id: Operator.ID) async throws {
        _ = try await pool.perform { try $0.run(.setPresence, id, presence.rawValue) }
    }

    /// A sign of life of operators who have a stream open.
    package func see(_ ids: [Operator.ID]) async throws {
        _ = try await pool.perform { try $0.run(.see, ids.map(\.rawValue)) }
    }
}

/// A dialog under the locks, with what decides about it.
private struct LockedDialog {
    let id: Dialog.ID
    let account: Account.ID
    let handoff: Handoff
    let caller: HandoffStore.Caller
    let wish: HandoffStore.Wish
    let actor: HandoffActor
    let command: HandoffCommand
    let locale: Assistant.Locale
    let generation: Int64
    let accountSeq: Int64
    let dialogSeq: Int64
    let scene: HandoffMachine.Scene

    init?(
        _ id: Dialog.ID, of account: Account.ID, for caller: HandoffStore.Caller, _ wish: HandoffStore.Wish,
        on connection: isolated PostgresConnection
    ) throws {
        guard let head = try connection.run(.lockAccount, account).first,
            let row = try connection.run(.lockDialog, id, account).first
        else { return nil }
        if case .visitor(let guest) = caller {
            let hash: [UInt8] = try row.get(1)
            guard try row.get(0, as: Assistant.ID.self) == guest.assistantID, hash == guest.hash else { return nil }
        }
        self.id = id
        self.account = account
        self.caller = caller
        self.wish = wish
        accountSeq = try head.get(0)
        generation = try head.get(1)
        dialogSeq = try row.get(4)
        let assignee: Operator.ID? = try row.get(7)
        var wanted = assignee.map { [$0] } ?? []
        if case .operator(let id) = caller { wanted.append(id) }
        if case .transfer(let id) = wish { wanted.append(id) }
        let channel: String = try row.get(2)
        // A statement after the locks: it sees what those who held them before have committed.
        var desks: [Operator.ID: Desk] = [:]
        for row in try connection.run(
            .desks, wanted.map(\.rawValue), account, channel, HandoffStore.presenceSeconds)
        {
            let id: Operator.ID = try row.get(0)
            desks[id] = Desk(
                person: Message.Author(id: id, name: Operator.displayName(firstName: try row.get(1), id: id)),
                role: try row.get(2), isPresent: try row.get(3), hasRoom: try row.get(4))
        }
        let settings = try connection.run(.settings, try row.get(0, as: Assistant.ID.self))[0]
        locale = try settings.get(0)
        let now: Timestamp = try settings.get(1)
        handoff = Handoff(
            status: try row.get(5), epoch: try row.get(6),
            assignee: assignee.map { desks[$0]?.person ?? Message.Author(id: $0, name: "") },
            requestedAt: try row.get(8), startedAt: try row.get(9), resolvedAt: try row.get(10),
            deadline: try row.get(11), reason: try row.get(12), requestID: try row.get(13))
        scene = HandoffMachine.Scene(
            now: now, isOpen: try row.get(3, as: Dialog.Status.self) == .open,
            deadline: Timestamp(microseconds: now.microseconds + (try settings.get(2, as: Int64.self)) * 1_000_000),
            isOperatorLost: assignee.map { desks[$0]?.isPresent != true } ?? false)
        switch caller {
        case .visitor: actor = .visitor
        case .assistant: actor = .assistant
        case .detector: actor = .detector
        case .clock: actor = .clock
        case .operator(let id):
            guard let desk = desks[id] else { return nil }
            actor = .operator(desk)
        }
        switch wish {
        case .request(let id, let reason): command = .request(id: id, reason: reason)
        case .takeOver: command = .takeOver
        case .release: command = .release
        case .cancel: command = .cancel
        case .expire: command = .expire
        case .loseOperator: command = .loseOperator
        case .idle: command = .idle
        case .reset: command = .reset
        case .transfer(let id):
            guard let desk = desks[id] else { return nil }
            command = .transfer(to: desk)
        }
    }

    func decide() throws(HandoffRefusal) -> HandoffMachine.Step {
        try HandoffMachine(handoff, in: scene).decide(command, by: actor)
    }

    // MARK: Writing

    /// - Returns: what is to be told.
    func write(_ move: HandoffMachine.Move, on connection: isolated PostgresConnection) throws -> [StreamEvent] {
        var events: [StreamEvent] = []
        var lastMessage: Message?
        func announce(_ type: String, _ fill: (inout JSONObject) -> Void) {
            var payload = JSONObject()
            fill(&payload)
            let number = Int64(events.count + 1)
            events.append(
                StreamEvent(
                    generation: generation, accountID: account, seq: accountSeq + number,
                    dialog: StreamEvent.Place(dialogID: id, seq: dialogSeq + number), type: type,
                    payload: payload.finished(), at: scene.now))
        }
        if let event = move.event {
            announce(event.rawValue) { payload in
                payload.add("status", move.to.status)
                payload.add("epoch", move.to.epoch)
                payload.add(ifPresent: "reason", move.to.reason)
                payload.add(ifPresent: "manager", move.to.assignee)
            }
        }
        if let notice = move.notice {
            let message = Message(
                id: try connection.run(.newMessageID)[0].get(0), dialogID: id,
                seq: dialogSeq + Int64(events.count + 1), sender: .system, text: notice.text(in: locale),
                timestamp: scene.now, systemType: notice.rawValue, clientMessageID: UUID())
            announce("message:new") { $0.add("message", message) }
            lastMessage = message
        }
        let now = scene.now.microseconds
        if let message = lastMessage {
            _ = try connection.run(
                .insertMessage, message.id, account, id, message.seq, message.text, message.systemType,
                message.clientMessageID, now)
        }
        _ = try connection.run(
            .insertAudit, id, move.to.epoch, account, move.command.rawValue, move.from.status.rawValue,
            move.to.status.rawValue, actorName, move.to.assignee?.id, move.to.reason?.rawValue, now)
        for event in events {
            _ = try connection.run(
                .insertEvent, account, event.seq, id, event.dialog?.seq, event.type, event.payload, now)
        }
        let to = move.to
        _ = try connection.run(
            .updateDialog, id, to.status.rawValue, to.epoch, to.assignee?.id, to.requestedAt?.microseconds,
            to.startedAt?.microseconds, to.resolvedAt?.microseconds, to.deadline?.microseconds, to.reason?.rawValue,
            to.requestID, dialogSeq + Int64(events.count), lastMessage?.id, now)
        _ = try connection.run(.updateAccount, account, accountSeq + Int64(events.count))
        return events
    }

    private var actorName: String {
        switch caller {
        case .visitor: "visitor"
        case .assistant: "assistant"
        case .detector: "detector"
        case .clock: "clock"
        case .operator(let id): "operator:\(id)"
        }
    }
}

extension Handoff.Reason: Readable {}

private func moment(_ parameter: String) -> String {
    "timestamptz 'epoch' + \(parameter)::bigint * interval '1 microsecond'"
}

private func microseconds(_ column: String) -> String { "(extract(epoch FROM \(column)) * 1000000)::bigint" }

extension Statement {
    fileprivate static let lockAccount = Statement(
        "handoff.lock_account",
        """
        SELECT a.last_seq, g.generation FROM accounts a, log_generation g WHERE a.id = $1 FOR NO KEY UPDATE OF a
        """)

    fileprivate static let lockDialog = Statement(
        "handoff.lock_dialog",
        """
        SELECT assistant_id, guest_hash, channel, status, last_seq, handoff_status, handoff_epoch,
               assigned_operator_id, \(microseconds("handoff_requested_at")), \(microseconds("handoff_started_at")),
               \(microseconds("handoff_resolved_at")), \(microseconds("handoff_deadline")), handoff_reason,
               handoff_request_id
        FROM dialogs WHERE id = $1 AND account_id = $2 FOR NO KEY UPDATE
        """)

    fileprivate static let desks = Statement(
        "handoff.desks",
        """
        SELECT o.id, o.first_name, o.role,
               o.is_active AND o.presence = 'online'
                   AND coalesce(o.seen_at > clock_timestamp() - make_interval(secs => $4::bigint), false),
               (SELECT count(*) FROM dialogs d
                WHERE d.assigned_operator_id = o.id AND d.handoff_status = 'active' AND d.channel = $3)
                   < CASE $3 WHEN 'telegram' THEN o.telegram_capacity ELSE o.web_capacity END
        FROM operators o WHERE o.id = ANY ($1::bigint[]) AND o.account_id = $2
        """)

    fileprivate static let settings = Statement(
        "handoff.settings",
        """
        SELECT locale, \(microseconds("clock_timestamp()")), handoff_deadline_seconds FROM assistants WHERE id = $1
        """)

    fileprivate static let newMessageID = Statement("handoff.new_message_id", "SELECT nextval('messages_id_seq')")

    fileprivate static let insertMessage = Statement(
        "handoff.insert_message",
        """
        INSERT INTO messages (id, account_id, dialog_id, seq, sender, text, message_kind, system_type, principal,
                              client_message_id, created_at)
        OVERRIDING SYSTEM VALUE
        VALUES ($1, $2, $3, $4, 'system', $5, 'text', $6, 'system', $7, \(moment("$8")))
        """)

    fileprivate static let insertAudit = Statement(
        "handoff.insert_audit",
        """
        INSERT INTO handoff_audit (dialog_id, epoch, account_id, command, from_status, to_status, actor, operator_id,
                                   reason, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \(moment("$10")))
        """)

    fileprivate static let insertEvent = Statement(
        "handoff.insert_event",
        """
        INSERT INTO events (account_id, seq, dialog_id, dialog_seq, type, payload, created_at)
        VALUES ($1, $2, $3, $4, $5, $6::json, \(moment("$7")))
        """)

    fileprivate static let updateDialog = Statement(
        "handoff.update_dialog",
        """
        UPDATE dialogs
        SET handoff_status = $2, handoff_epoch = $3, assigned_operator_id = $4,
            handoff_requested_at = \(moment("$5")), handoff_started_at = \(moment("$6")),
            handoff_resolved_at = \(moment("$7")), handoff_deadline = \(moment("$8")), handoff_reason = $9,
            handoff_request_id = $10, last_seq = $11, last_message_id = coalesce($12, last_message_id),
            updated_at = \(moment("$13"))
        WHERE id = $1
        """)

    fileprivate static let updateAccount = Statement(
        "handoff.update_account", "UPDATE accounts SET last_seq = $2 WHERE id = $1")

    fileprivate static let setPresence = Statement(
        "operators.set_presence", "UPDATE operators SET presence = $2, seen_at = clock_timestamp() WHERE id = $1")

    fileprivate static let see = Statement(
        "operators.see", "UPDATE operators SET seen_at = clock_timestamp() WHERE id = ANY ($1::bigint[])")
}
