import Domain
import Foundation
import Synchronization
import Testing

@testable import Persistence

@Suite struct HandoffStoreTests {
    /// Somebody else who works for the house, online and just seen.
    private func colleague(_ town: Town, _ house: Town.House, capacity: Int = 1000) async throws -> Operator.ID {
        let id: Operator.ID = try await town.pool.perform {
            try $0.run(
                Statement(
                    "test.colleague",
                    """
                    INSERT INTO operators (account_id, email, first_name, password_hash, role, seen_at, web_capacity)
                    VALUES ($1, $2, 'Bob', '-', 'operator', now(), $3) RETURNING id
                    """), house.account, "\(UUID().uuidString)@example.com", capacity)[0].get(0)
        }
        return id
    }

    /// What is wrong with what stands in the database, by rows: epochs that do not rise by one, transitions that differ
    /// from their events or from their system messages, an assistant's word while an operator spoke.
    private func defects(_ town: Town) async throws -> Int64 {
        try await town.number(
            """
            SELECT (SELECT count(*) FROM (SELECT epoch, row_number() OVER (PARTITION BY dialog_id ORDER BY epoch) AS n
                                          FROM handoff_audit) a WHERE epoch <> n)
                 + (SELECT count(*) FROM dialogs d
                    WHERE handoff_epoch <> (SELECT count(*) FROM handoff_audit a WHERE a.dialog_id = d.id)
                       OR (handoff_status = 'active') <> (assigned_operator_id IS NOT NULL)
                       OR (SELECT count(*) FROM handoff_audit a
                           WHERE a.dialog_id = d.id AND NOT (command = 'force_reset'
                                 AND from_status IN ('released', 'cancelled')))
                          <> (SELECT count(*) FROM events e WHERE e.dialog_id = d.id AND e.type LIKE 'handoff\\_%')
                       OR (SELECT count(*) FROM handoff_audit a WHERE a.dialog_id = d.id AND command <> 'force_reset')
                          <> (SELECT count(*) FROM messages m WHERE m.dialog_id = d.id AND m.sender = 'system'))
                 + (SELECT count(*) FROM messages m JOIN dialogs d ON d.id = m.dialog_id
                    WHERE m.sender = 'assistant' AND EXISTS (
                        SELECT FROM handoff_audit a WHERE a.dialog_id = d.id AND a.to_status IN ('requested', 'active')
                          AND a.created_at < m.created_at
                          AND NOT EXISTS (SELECT FROM handoff_audit b WHERE b.dialog_id = d.id AND b.epoch > a.epoch
                                          AND b.created_at < m.created_at)))
            """)
    }

    @Test func `of two who take over at once one has it and the other is told who`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let store = HandoffStore(pool: town.pool, sink: town.sink)
            let people = [try await colleague(town, house), try await colleague(town, house)]
            for _ in 0..<50 {
                let dialog = try await town.dialog(in: house).id
                let results = await withTaskGroup { group in
                    for person in people {
                        group.addTask { () -> Result<Handoff?, any Error> in
                            do {
                                return .success(
                                    try await store.perform(
                                        .takeOver, in: dialog, of: house.account, by: .operator(person)))
                            } catch {
                                return .failure(error)
                            }
                        }
                    }
                    return await group.reduce(into: [Result<Handoff?, any Error>]()) { $0.append($1) }
                }
                let winners = results.compactMap { try? $0.get()?.assignee }
                let refusals = results.compactMap { result -> HandoffRefusal? in
                    if case .failure(let error) = result { error as? HandoffRefusal } else { nil }
                }
                #expect(winners.count == 1 && refusals.map(\.why) == winners.map { .heldBy($0) })
            }
            #expect(try await defects(town) == 0)
            #expect(try await town.holes() == 0)
            #expect(town.sink.events.filter { $0.type == "handoff_started" }.count == 50)
        }
    }

    @Test func `nobody has more dialogs than they take however many are offered at once`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let store = HandoffStore(pool: town.pool, sink: town.sink)
            let person = try await colleague(town, house, capacity: 3)
            let taken = try await withThrowingTaskGroup { group in
                for _ in 0..<12 {
                    let dialog = try await town.dialog(in: house).id
                    group.addTask { () -> Bool in
                        do {
                            return try await store.perform(
                                .takeOver, in: dialog, of: house.account, by: .operator(person)) != nil
                        } catch let refusal as HandoffRefusal where refusal.why == .full {
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(taken == 3)
            #expect(try await town.number("SELECT count(*) FROM dialogs WHERE handoff_status = 'active'") == 3)
        }
    }

    @Test func `who gave no sign for a minute and a half is not there`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let store = HandoffStore(pool: town.pool, sink: town.sink)
            let person = try await colleague(town, house)
            func takes() async throws -> HandoffRefusal.Why? {
                let dialog = try await town.dialog(in: house).id
                do {
                    _ = try await store.perform(.takeOver, in: dialog, of: house.account, by: .operator(person))
                    return nil
                } catch let refusal as HandoffRefusal {
                    return refusal.why
                }
            }
            #expect(try await takes() == nil)
            _ = try await town.pool.perform {
                try $0.run(Statement("test.gone", "UPDATE operators SET seen_at = now() - interval '91 s'"))
            }
            #expect(try await takes() == .offline)
            try await store.see([person])
            #expect(try await takes() == nil)
            try await store.setPresence(.away, of: person)
            #expect(try await takes() == .offline)
            try await store.setPresence(.online, of: person)
            _ = try await town.pool.perform {
                try $0.run(Statement("test.off", "UPDATE operators SET is_active = false WHERE id = $1"), person)
            }
            #expect(try await takes() == .offline)
        }
    }

    @Test func `a request lapses by the database's clock and not before`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let store = HandoffStore(pool: town.pool, sink: town.sink)
            let dialog = try await town.dialog(in: house)
            let asked = try #require(
                try await store.perform(
                    .request(id: UUID(), reason: .visitor), in: dialog.id, of: house.account,
                    by: .visitor(dialog.guest)))
            #expect(asked.status == .requested && asked.deadline != nil && asked.epoch == 1)
            await #expect(throws: HandoffRefusal.self) {
                try await store.perform(.expire, in: dialog.id, of: house.account, by: .clock)
            }
            _ = try await town.pool.perform {
                try $0.run(Statement("test.lapse", "UPDATE dialogs SET handoff_deadline = now()"))
            }
            let over = try #require(try await store.perform(.expire, in: dialog.id, of: house.account, by: .clock))
            #expect(over.status == .cancelled && over.reason == .timeout && over.epoch == 2)
            let texts = try await town.pool.perform {
                try $0.run(Statement("test.texts", "SELECT text FROM messages ORDER BY id")).map {
                    try $0.get(0, as: String.self)
                }
            }
            #expect(texts == [HandoffNotice.requested, .timedOut].map { $0.text(in: .russian) })
            #expect(try await defects(town) == 0)
        }
    }

    @Test func `a stranger's and another account's dialog is not there`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let store = HandoffStore(pool: town.pool, sink: town.sink)
            let dialog = try await town.dialog(in: house)
            let wish = HandoffStore.Wish.request(id: nil, reason: .visitor)
            #expect(
                try await store.perform(wish, in: dialog.id, of: house.account, by: .visitor(town.guest(of: house)))
                    == nil)
            #expect(try await store.perform(wish, in: dialog.id, of: other.account, by: .visitor(dialog.guest)) == nil)
            #expect(
                try await store.perform(.takeOver, in: dialog.id, of: house.account, by: .operator(other.owner.id))
                    == nil)
            #expect(try await town.number("SELECT count(*) FROM handoff_audit") == 0)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `after thousands of random steps at once everything still agrees`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let store = HandoffStore(pool: town.pool, sink: town.sink)
            var people: [Operator.ID] = []
            for _ in 0..<3 { people.append(try await colleague(town, house, capacity: 4)) }
            var dialogs: [(id: Dialog.ID, guest: Guest)] = []
            for _ in 0..<12 { dialogs.append(try await town.dialog(in: house)) }
            let operators = people
            let rooms = dialogs
            let worst = Worst()
            try await withThrowingTaskGroup { group in
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<600 {
                            let dialog = rooms.randomElement()!
                            do {
                                try await Self.step(town, store, house, dialog, operators)
                            } catch is HandoffRefusal {
                            } catch is Refusal {
                            }
                        }
                    }
                }
                group.addTask {
                    for _ in 0..<40 {
                        let most = try await town.number(
                            """
                            SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM dialogs
                            WHERE handoff_status = 'active' GROUP BY assigned_operator_id) c
                            """)
                        worst.note(most)
                    }
                }
                try await group.waitForAll()
            }
            #expect(worst.value <= 4)
            #expect(try await defects(town) == 0)
            #expect(try await town.holes() == 0)
            #expect(try await town.number("SELECT count(*) FROM handoff_audit") > 200)
            #expect(try await town.number("SELECT count(*) FROM messages WHERE sender = 'assistant'") > 20)
        }
    }

    private final class Worst: Sendable {
        private let most = Mutex(Int64(0))
        var value: Int64 { most.withLock { $0 } }
        func note(_ value: Int64) { most.withLock { $0 = max($0, value) } }
    }

    private static func step(
        _ town: Town, _ store: HandoffStore, _ house: Town.House, _ dialog: (id: Dialog.ID, guest: Guest),
        _ operators: [Operator.ID]
    ) async throws {
        let person = operators.randomElement()!
        func perform(_ wish: HandoffStore.Wish, by caller: HandoffStore.Caller) async throws {
            _ = try await store.perform(wish, in: dialog.id, of: house.account, by: caller)
        }
        switch Int.random(in: 0..<11) {
        case 0: _ = try await town.writer.append(town.posting("hello", by: dialog.guest, in: dialog.id, of: house))
        case 1, 2:
            // As an assistant does: begun in the epoch of the moment, finished a little later.
            let handoff = try await DialogStore(pool: town.pool).find(dialog.id, of: dialog.guest)!.dialog.handoff
            guard handoff.status != .requested && handoff.status != .active else { return }
            try await Task.sleep(for: .milliseconds(.random(in: 0...4)))
            _ = try await town.writer.append(
                Posting(
                    speaker: .assistant(epoch: handoff.epoch), accountID: house.account, dialogID: dialog.id,
                    draft: try Draft("an answer"), clientMessageID: nil))
        case 3: try await perform(.request(id: UUID(), reason: .visitor), by: .visitor(dialog.guest))
        case 4, 5: try await perform(.takeOver, by: .operator(person))
        case 6: try await perform(.release, by: .operator(person))
        case 7: try await perform(.transfer(to: operators.randomElement()!), by: .operator(person))
        case 8: try await perform(.cancel, by: .visitor(dialog.guest))
        case 9:
            _ = try await town.pool.perform {
                try $0.run(
                    Statement("test.lapse_one", "UPDATE dialogs SET handoff_deadline = now() WHERE id = $1"), dialog.id)
            }
            try await perform(.expire, by: .clock)
        default: try await perform(.loseOperator, by: .clock)
        }
    }
}
