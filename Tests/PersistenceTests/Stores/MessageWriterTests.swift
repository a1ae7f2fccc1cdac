import Domain
import Foundation
import Testing

@testable import Persistence

@Suite struct MessageWriterTests {
    @Test func `50 parallel posts with one key make one message`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            let key = UUID()
            let ids = try await withThrowingTaskGroup { group in
                for _ in 0..<50 {
                    group.addTask {
                        try await town.writer.append(
                            town.posting("hi", by: dialog.guest, in: dialog.id, of: house, key: key))
                    }
                }
                return try await group.reduce(into: [Posted]()) { $0.append($1) }
            }
            #expect(Set(ids.map(\.message.id)).count == 1)
            #expect(ids.filter { !$0.isReplay }.count == 1)
            #expect(try await town.number("SELECT count(*) FROM messages") == 1)
            #expect(try await town.holes() == 0)
        }
    }

    @Test(arguments: [1, 200])
    func `32 writers leave both numbers without a hole`(_ dialogCount: Int) async throws {
        try await Town.with { town in
            let house = try await town.house()
            var made: [(id: Dialog.ID, guest: Guest)] = []
            for _ in 0..<dialogCount { made.append(try await town.dialog(in: house)) }
            let dialogs = made
            try await withThrowingTaskGroup { group in
                for writer in 0..<32 {
                    group.addTask {
                        for step in 0..<25 {
                            let dialog = dialogs[(writer * 25 + step) % dialogs.count]
                            _ = try await town.writer.append(
                                town.posting("\(writer)-\(step)", by: dialog.guest, in: dialog.id, of: house))
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await town.number("SELECT count(*) FROM messages") == 800)
            #expect(try await town.holes() == 0)
            // What the hub is given is what the log has, in its order.
            #expect(town.sink.events.map(\.seq) == Array(1...Int64(800 + dialogCount)))
        }
    }

    @Test func `a bad one in a batch of 64 fails alone`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let dialog = try await town.dialog(in: house)
            let foreign = try await town.dialog(in: other)
            let closed = try await town.dialog(in: house)
            _ = try await town.pool.perform {
                try $0.run(Statement("test.close", "UPDATE dialogs SET status = 'closed' WHERE id = $1"), closed.id)
            }
            let reused = UUID()
            _ = try await town.writer.append(
                town.posting("first", by: dialog.guest, in: dialog.id, of: house, key: reused))
            func speaking(_ speaker: Posting.Speaker) throws -> Posting {
                Posting(
                    speaker: speaker, accountID: house.account, dialogID: dialog.id, draft: try Draft("x"),
                    clientMessageID: nil)
            }
            let bad: [(posting: Posting, refusal: Refusal?)] = [
                (try town.posting("x", by: dialog.guest, in: Identifier(1 << 40), of: house), .unknownDialog),
                (try town.posting("x", by: foreign.guest, in: foreign.id, of: house), .unknownDialog),
                (try town.posting("x", by: foreign.guest, in: dialog.id, of: house), .unknownDialog),
                (try town.posting("x", by: closed.guest, in: closed.id, of: house), .dialogClosed),
                (try town.posting("x", by: dialog.guest, in: dialog.id, of: house, key: reused), .messageKeyReused),
                (try speaking(.assistant(epoch: 9)), .epochPassed),
                // An author who is not there: PostgreSQL itself refuses the statement.
                (try speaking(.operator(Identifier(1 << 40), name: "")), nil),
            ]
            for (posting, refusal) in bad {
                let before = try await town.number("SELECT count(*) FROM messages")
                let outcomes = try await town.together(
                    try (0..<63).map { try town.posting("\($0)", by: dialog.guest, in: dialog.id, of: house) }
                        + [posting])
                #expect(outcomes.filter { $0 == nil }.count == 63)
                let failure = try #require(outcomes.lazy.compactMap { $0 }.first)
                if let refusal { #expect(failure as? Refusal == refusal) }
                if refusal == nil { #expect((failure as? PostgresError)?.sqlState == "23503") }
                #expect(try await town.number("SELECT count(*) FROM messages") == before + 63)
            }
            #expect(try await town.holes() == 0)
        }
    }

    @Test func `a repeat is answered from what is stored though the dialog was closed meanwhile`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            let posting = try town.posting("hi", by: dialog.guest, in: dialog.id, of: house, key: UUID())
            let first = try await town.writer.append(posting)
            _ = try await town.pool.perform {
                try $0.run(Statement("test.close", "UPDATE dialogs SET status = 'closed' WHERE id = $1"), dialog.id)
            }
            let second = try await town.writer.append(posting)
            #expect(second.isReplay)
            #expect(second.message == first.message)
            await #expect(throws: Refusal.dialogClosed) {
                try await town.writer.append(town.posting("new", by: dialog.guest, in: dialog.id, of: house))
            }
        }
    }
}

extension Town {
    /// Posts all at once; `nil` for each that was stored, else why not.
    func together(_ postings: [Posting]) async throws -> [(any Error)?] {
        await withTaskGroup { group in
            for posting in postings {
                group.addTask { () -> (any Error)? in
                    do {
                        _ = try await writer.append(posting)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }
}
