import Domain
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

@testable import Persistence

/// Accounts, assistants and dialogs in a database of their own, and a writer that runs.
struct Town: Sendable {
    let database: TestDatabase
    let pool: PostgresPool
    let writer: MessageWriter
    let sink: Sink

    final class Sink: EventSink {
        private let ingested = Mutex<[StreamEvent]>([])
        var events: [StreamEvent] { ingested.withLock { $0 } }
        func ingest(_ events: [StreamEvent]) { ingested.withLock { $0 += events } }
    }

    static func with(
        settings: MessageWriter.Settings = MessageWriter.Settings(),
        statementTimeout: Duration = .seconds(4), _ body: (Town) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            var configuration = database.configuration
            configuration.statementTimeout = statementTimeout
            let sink = Sink()
            let writer = MessageWriter(configuration: configuration, sink: sink, settings: settings, logger: .quiet)
            let town = Town(database: database, pool: database.pool(size: 4), writer: writer, sink: sink)
            let group = ServiceGroup(
                configuration: .init(services: [.init(service: writer)], logger: .quiet))
            try await withThrowingTaskGroup { tasks in
                tasks.addTask { try await group.run() }
                do {
                    try await body(town)
                } catch {
                    await group.triggerGracefulShutdown()
                    throw error
                }
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
            }
            await town.pool.shutdown()
        }
    }

    /// One account with one assistant.
    struct House: Sendable {
        let account: Account.ID
        let assistant: Assistant.ID
        let owner: Operator
    }

    func house() async throws -> House {
        let owner = try await AccountStore(pool: pool).create(
            name: "House", email: "\(UUID().uuidString)@example.com", firstName: "Ann", passwordHash: "-",
            onlyFirst: false)!
        let assistant = try await AssistantStore(pool: pool).create(.init(name: "A"), in: owner.accountID)
        return House(account: owner.accountID, assistant: assistant.id, owner: owner)
    }

    func guest(of house: House) -> Guest {
        Guest(assistantID: house.assistant, hash: (0..<32).map { _ in UInt8.random(in: .min ... .max) })
    }

    /// A new visitor's dialog.
    func dialog(in house: House) async throws -> (id: Dialog.ID, guest: Guest) {
        let guest = guest(of: house)
        return (try await DialogStore(pool: pool).open(guest, in: house.account).dialog.id, guest)
    }

    func posting(
        _ text: String, by guest: Guest, in dialog: Dialog.ID, of house: House, key: UUID? = nil
    ) throws -> Posting {
        Posting(
            speaker: .visitor(guest), accountID: house.account, dialogID: dialog, draft: try Draft(text),
            clientMessageID: key)
    }

    func number(_ sql: String) async throws -> Int64 {
        try await pool.perform { try $0.run(Statement("test.\(sql.hashValue)", sql))[0].get(0) }
    }

    /// How many places in the log are not the last one + 1, or do not agree with the rows that give the numbers out.
    func holes() async throws -> Int64 {
        try await number(
            """
            SELECT (SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY account_id ORDER BY seq) AS n
                                          FROM events) s WHERE seq <> n)
                 + (SELECT count(*) FROM (SELECT dialog_seq AS seq,
                                                 row_number() OVER (PARTITION BY dialog_id ORDER BY dialog_seq) AS n
                                          FROM events WHERE dialog_seq IS NOT NULL) s WHERE seq <> n)
                 + (SELECT count(*) FROM accounts a
                    WHERE last_seq <> (SELECT count(*) FROM events e WHERE e.account_id = a.id))
                 + (SELECT count(*) FROM dialogs d
                    WHERE last_seq <> (SELECT count(*) FROM events e WHERE e.dialog_id = d.id AND dialog_seq > 0))
            """)
    }
}
