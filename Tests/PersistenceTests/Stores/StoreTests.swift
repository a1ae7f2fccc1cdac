import Domain
import Foundation
import Testing

@testable import Persistence

@Suite struct StoreTests {
    @Test func `a visitor has one open dialog with an assistant however often it is opened`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let guest = town.guest(of: house)
            let opened = try await withThrowingTaskGroup { group in
                for _ in 0..<20 {
                    group.addTask { try await DialogStore(pool: town.pool).open(guest, in: house.account) }
                }
                return try await group.reduce(into: [DialogStore.Opened]()) { $0.append($1) }
            }
            #expect(Set(opened.map(\.dialog.id)).count == 1)
            #expect(opened.filter(\.isNew).count == 1)
        }
    }

    @Test func `a closed dialog makes room for the next`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let first = try await town.dialog(in: house)
            _ = try await town.pool.perform {
                try $0.run(Statement("test.close", "UPDATE dialogs SET status = 'closed'"))
            }
            let second = try await DialogStore(pool: town.pool).open(first.guest, in: house.account)
            #expect(second.isNew)
            #expect(second.dialog.id != first.id)
            let all = try await DialogStore(pool: town.pool).list(of: first.guest, limit: 10)
            #expect(all.map(\.dialog.id) == [second.dialog.id, first.id])
        }
    }

    @Test func `pages of a history meet without a hole in both directions`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            for number in 1...25 {
                _ = try await town.writer.append(
                    town.posting("\(number)", by: dialog.guest, in: dialog.id, of: house))
            }
            let store = MessageStore(pool: town.pool)
            let reader = MessageStore.Reader.visitor(dialog.guest)
            let newest = try #require(try await store.page(of: dialog.id, for: reader, .newest, limit: 10))
            #expect(newest.messages.map(\.text) == (16...25).map(String.init))
            #expect(newest.hasMore)
            #expect(newest.dialogCursor.number == 25)
            #expect(newest.accountCursor.number == 26)
            let before = try #require(
                try await store.page(of: dialog.id, for: reader, .before(newest.messages[0].id), limit: 20))
            #expect(before.messages.map(\.text) == (1...15).map(String.init))
            #expect(!before.hasMore)
            let after = try #require(
                try await store.page(of: dialog.id, for: reader, .after(before.messages[14].id), limit: 4))
            #expect(after.messages.map(\.text) == ["16", "17", "18", "19"])
            #expect(after.hasMore)
        }
    }

    @Test func `a neighbour's dialog is not there`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let dialog = try await town.dialog(in: house)
            let stranger = town.guest(of: house)
            let messages = MessageStore(pool: town.pool)
            let dialogs = DialogStore(pool: town.pool)
            #expect(try await messages.page(of: dialog.id, for: .visitor(stranger), .newest, limit: 5) == nil)
            #expect(try await messages.page(of: dialog.id, for: .operator(of: other.account), .newest, limit: 5) == nil)
            #expect(try await dialogs.find(dialog.id, of: stranger) == nil)
            #expect(try await dialogs.find(dialog.id, in: other.account) == nil)
            #expect(try await PostgresEventLog(pool: town.pool).head(of: .dialog(dialog.id, of: other.account)) == nil)
        }
    }

    @Test func `an account's list shows dialogs from their first message on`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let silent = try await town.dialog(in: house)
            var spoken: [Dialog.ID] = []
            for number in 0..<5 {
                let dialog = try await town.dialog(in: house)
                _ = try await town.writer.append(
                    town.posting("\(number)", by: dialog.guest, in: dialog.id, of: house))
                spoken.append(dialog.id)
            }
            var filter = DialogStore.Filter()
            let store = DialogStore(pool: town.pool)
            let first = try #require(try await store.list(in: house.account, filter, limit: 3))
            filter.beforeMessage = first.dialogs.last?.lastMessage?.id
            let rest = try #require(try await store.list(in: house.account, filter, limit: 3))
            #expect((first.dialogs + rest.dialogs).map(\.id) == spoken.reversed())
            #expect(first.hasMore && !rest.hasMore)
            #expect(first.cursor.number == 10)
            #expect(!spoken.contains(silent.id))
        }
    }

    @Test func `only one of two first registrations makes an account`() async throws {
        try await Town.with { town in
            let accounts = AccountStore(pool: town.pool)
            let made = try await withThrowingTaskGroup { group in
                for number in 0..<5 {
                    group.addTask {
                        try await accounts.create(
                            name: "x", email: "\(number)@example.com", firstName: "", passwordHash: "-", onlyFirst: true
                        )
                    }
                }
                return try await group.reduce(into: [Operator?]()) { $0.append($1) }
            }
            #expect(made.count { $0 != nil } == 1)
        }
    }

    @Test func `a page of the log is bounded in bytes and never empty before its end`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            let long = String(repeating: "\u{1}", count: 9_999)
            for _ in 0..<20 {
                _ = try await town.writer.append(
                    town.posting("x" + long.dropLast() + "x", by: dialog.guest, in: dialog.id, of: house))
            }
            let log = PostgresEventLog(pool: town.pool)
            for stream in [StreamKey.account(house.account), .dialog(dialog.id, of: house.account)] {
                let end = try #require(try await log.head(of: stream)?.cursor(in: stream)?.number)
                var seen: [Int64] = []
                while true {
                    let page = try await log.events(in: stream, after: seen.last ?? 0, limit: 200)
                    if page.isEmpty { break }
                    #expect(page.dropLast().reduce(0) { $0 + $1.payload.utf8.count } <= 256 * 1024)
                    seen += page.compactMap { $0.number(in: stream) }
                }
                #expect(seen == Array(1...end))
            }
        }
    }

    @Test func `a writer that meets another server raises the generation before it writes`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            let connection = try await town.database.connect()
            try await connection.perform { try LogGeneration.confirm(on: $0) }
            try await connection.script("UPDATE log_generation SET timeline = timeline + 1", name: "move")
            // The writer's first connection is made by its first batch.
            let posted = try await town.writer.append(
                town.posting("hi", by: dialog.guest, in: dialog.id, of: house))
            #expect(posted.head == Cursor(generation: 2, number: 1))
        }
    }

    @Test func `the generation rises when the server is another one and not otherwise`() async throws {
        try await Town.with { town in
            func generation() async throws -> Int64 {
                try await town.number("SELECT generation FROM log_generation")
            }
            let connection = try await town.database.connect()
            try await connection.perform { try LogGeneration.confirm(on: $0) }
            #expect(try await generation() == 1)
            try await connection.perform { try LogGeneration.confirm(on: $0) }
            #expect(try await generation() == 1)
            // As a restore from a copy, or a promotion, would have it.
            try await connection.script("UPDATE log_generation SET timeline = timeline + 1", name: "move")
            try await connection.perform { try LogGeneration.confirm(on: $0) }
            #expect(try await generation() == 2)
            try await connection.perform { try LogGeneration.confirm(on: $0) }
            #expect(try await generation() == 2)
        }
    }
}
