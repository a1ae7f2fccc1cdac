import Domain
import FoundationEssentials

/// One batch of postings as one transaction: rows locked in the one order, everything read after the locks, decided by
/// ``PostingBatch``, written in bulk.
enum PostingTransaction {
    enum Locking {
        /// Leaves accounts that somebody else holds.
        case skippingBusy
        /// Waits for them, so many milliseconds at most.
        case waiting(milliseconds: Int)
    }

    static func run(
        _ postings: [Posting], locking: Locking, on connection: isolated PostgresConnection
    ) throws -> PostingBatch {
        try connection.transaction { connection in
            let batch = PostingBatch(postings, on: try ground(for: postings, locking, on: connection))
            if !batch.messages.isEmpty { try connection.commit(with: writes(of: batch)) }
            return batch
        }
    }

    /// Locks and reads in one round trip. Each statement begins when the one before it has ended, so what is read after
    /// the locks is what was committed before they were had.
    private static func ground(
        for postings: [Posting], _ locking: Locking, on connection: isolated PostgresConnection
    ) throws -> PostingBatch.Ground {
        let accounts = Array(Set(postings.map(\.accountID.rawValue)))
        let dialogs = Array(Set(postings.map(\.dialogID.rawValue)))
        let keys = postings.map(\.uniqueKey)
        var commands: [Command]
        switch locking {
        case .skippingBusy:
            commands = [Command(.lockFreeAccounts, accounts)]
        case .waiting(let milliseconds):
            commands = [Command(.lockTimeout, "\(max(milliseconds, 1))ms"), Command(.lockAccounts, accounts)]
        }
        commands += [
            Command(.lockDialogs, dialogs, accounts),
            Command(
                .knownMessages, keys.map(\.dialogID.rawValue), keys.map(\.clientMessageID), keys.map(\.principal)),
            Command(.newMessageIDs, postings.count),
        ]
        let results = try connection.pipeline(commands).suffix(4).map { $0 }

        var ground = PostingBatch.Ground(
            generation: try results[0].first?.get(2) ?? 0, now: Timestamp(microseconds: 0), accounts: [:],
            dialogs: [:], known: [:], messageIDs: try results[3].map { try $0.get(0) })
        for row in results[0] { ground.accounts[try row.get(0)] = try row.get(1) }
        for row in results[1] {
            let locked = try PostingBatch.DialogRow(row: row)
            ground.dialogs[locked.dialog.id] = locked
        }
        for row in results[2] {
            let message = try Message(row: row)
            let key = MessageKey(
                dialogID: message.dialogID, principal: try row.get(Message.columnCount),
                clientMessageID: message.clientMessageID)
            ground.known[key] = message
        }
        if let row = results[3].first { ground.now = try row.get(1) }
        return ground
    }

    private static func writes(of batch: PostingBatch) -> [Command] {
        let messages = batch.messages
        let events = batch.events
        let dialogs = Array(batch.dialogs.values)
        let moment = messages[0].message.timestamp.microseconds
        return [
            Command(
                .insertMessages,
                messages.map(\.message.id.rawValue), messages.map(\.accountID.rawValue),
                messages.map(\.message.dialogID.rawValue), messages.map(\.message.seq),
                messages.map(\.message.sender.rawValue), messages.map(\.message.text),
                messages.map(\.message.kind), messages.map(\.message.systemType), messages.map(\.principal),
                messages.map(\.message.clientMessageID), messages.map(\.message.author?.id.rawValue), moment),
            Command(
                .insertEvents,
                events.map(\.accountID.rawValue), events.map(\.seq), events.map(\.dialog?.dialogID.rawValue),
                events.map(\.dialog?.seq), events.map(\.type), events.map(\.payload), moment),
            Command(.updateAccounts, batch.accounts.keys.map(\.rawValue), Array(batch.accounts.values)),
            Command(
                .updateDialogs,
                dialogs.map(\.dialog.id.rawValue), dialogs.map(\.dialog.lastSeq),
                dialogs.map { $0.dialog.lastMessage?.id.rawValue }, moment),
        ]
    }
}

extension PostingBatch.DialogRow {
    fileprivate init(row: Row) throws {
        let dialog = Dialog(
            id: try row.get(0), accountID: try row.get(1), assistantID: try row.get(2), channel: try row.get(3),
            visitor: Visitor(name: try row.get(13), externalID: try row.get(14)), status: try row.get(5),
            handoff: Handoff(status: try row.get(8), epoch: try row.get(9)),
            lastMessage: nil, lastSeq: try row.get(6), createdAt: try row.get(10), updatedAt: try row.get(11),
            closedAt: try row.get(12))
        self.init(
            dialog: dialog, guest: Guest(assistantID: dialog.assistantID, hash: try row.get(4)),
            hasMessages: try row.get(7))
    }
}

extension Statement {
    fileprivate static let lockTimeout = Statement(
        "posting.lock_timeout", "SELECT set_config('lock_timeout', $1, true)")

    fileprivate static let lockFreeAccounts = Statement(
        "posting.lock_free_accounts",
        """
        SELECT a.id, a.last_seq, g.generation FROM accounts a, log_generation g
        WHERE a.id = ANY ($1::bigint[])
        ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
        """)

    fileprivate static let lockAccounts = Statement(
        "posting.lock_accounts",
        """
        SELECT a.id, a.last_seq, g.generation FROM accounts a, log_generation g
        WHERE a.id = ANY ($1::bigint[])
        ORDER BY a.id FOR NO KEY UPDATE OF a
        """)

    /// Only dialogs whose account this transaction holds, whatever a posting claims: the accounts are asked for again,
    /// without waiting, which for those that are held already changes nothing.
    fileprivate static let lockDialogs = Statement(
        "posting.lock_dialogs",
        """
        WITH held AS MATERIALIZED (
            SELECT id FROM accounts WHERE id = ANY ($2::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        SELECT id, account_id, assistant_id, channel, guest_hash, status, last_seq, last_message_id IS NOT NULL,
               handoff_status, handoff_epoch, (extract(epoch FROM created_at) * 1000000)::bigint,
               (extract(epoch FROM updated_at) * 1000000)::bigint, (extract(epoch FROM closed_at) * 1000000)::bigint,
               visitor_name, visitor_external_id
        FROM dialogs d
        WHERE id = ANY ($1::bigint[]) AND account_id IN (SELECT id FROM held)
        ORDER BY id FOR NO KEY UPDATE OF d
        """)

    /// A statement of its own after the locks: under READ COMMITTED it sees what was committed before they were had.
    fileprivate static let knownMessages = Statement(
        "posting.known_messages",
        """
        SELECT \(Message.columns), m.principal
        FROM unnest($1::bigint[], $2::uuid[], $3::text[]) AS k (dialog_id, client_message_id, principal)
        JOIN messages m USING (dialog_id, client_message_id, principal)
        LEFT JOIN operators o ON o.id = m.author_id
        """)

    fileprivate static let newMessageIDs = Statement(
        "posting.new_message_ids",
        """
        SELECT nextval('messages_id_seq'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
        FROM generate_series(1, $1)
        """)

    fileprivate static let insertMessages = Statement(
        "posting.insert_messages",
        """
        INSERT INTO messages (id, account_id, dialog_id, seq, sender, text, message_kind, system_type, principal,
                              client_message_id, author_id, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT r.*, timestamptz 'epoch' + $12::bigint * interval '1 microsecond'
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                    $8::text[], $9::text[], $10::uuid[], $11::bigint[]) AS r
        """)

    fileprivate static let insertEvents = Statement(
        "posting.insert_events",
        """
        INSERT INTO events (account_id, seq, dialog_id, dialog_seq, type, payload, created_at)
        SELECT r.*, timestamptz 'epoch' + $7::bigint * interval '1 microsecond'
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::json[]) AS r
        """)

    fileprivate static let updateAccounts = Statement(
        "posting.update_accounts",
        """
        UPDATE accounts a SET last_seq = r.seq
        FROM unnest($1::bigint[], $2::bigint[]) AS r (id, seq)
        WHERE a.id = r.id
        """)

    fileprivate static let updateDialogs = Statement(
        "posting.update_dialogs",
        """
        UPDATE dialogs d
        SET last_seq = r.seq, last_message_id = r.message_id,
            updated_at = timestamptz 'epoch' + $4::bigint * interval '1 microsecond'
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (id, seq, message_id)
        WHERE d.id = r.id
        """)
}
