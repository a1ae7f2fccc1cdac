import Domain
import Foundation
import Testing

@testable import Persistence

@Suite struct EntranceStoreTests {
    @Test func `a blocked visitor stands at the entrance until they are let in again`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            let store = EntranceStore(pool: town.pool)
            for _ in 0..<2 {
                #expect(try await store.block(dialog.id, by: house.owner, from: "192.0.2.1") == .done)
            }
            #expect(try await store.entrance(of: house.assistant)?.blocked == [dialog.guest.mark])
            #expect(try await store.unblock(dialog.id, by: house.owner, from: ""))
            #expect(try await store.entrance(of: house.assistant)?.blocked == [])
        }
    }

    @Test func `another account's dialog is not there to be blocked`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let dialog = try await town.dialog(in: house)
            let store = EntranceStore(pool: town.pool)
            #expect(try await store.block(dialog.id, by: other.owner, from: "") == .unknown)
            #expect(try await !store.unblock(dialog.id, by: other.owner, from: ""))
            #expect(try await store.entrance(of: house.assistant)?.blocked == [])
        }
    }

    @Test func `what streams stand on ends with the session, the token's version, the access by number and the block`()
        async throws
    {
        try await Town.with { town in
            let house = try await town.house()
            let sessions = SessionStore(pool: town.pool)
            let entrances = EntranceStore(pool: town.pool)
            let assistants = AssistantStore(pool: town.pool)
            let check = StreamCredentials(sessions: sessions, entrances: entrances)
            let dialog = try await town.dialog(in: house)
            _ = try await assistants.change(house.assistant, by: house.owner, from: "") { $0.guestAccess = true }
            let kept = StreamCredential.session(
                try #require(
                    try await sessions.begin(.program, of: house.owner.id, tokenHash: nil, checkedAgainst: nil)))
            let left = try #require(
                try await sessions.begin(.program, of: house.owner.id, tokenHash: nil, checkedAgainst: nil))
            func pass(_ door: VisitorPass.Door, _ guest: GuestMark?) -> StreamCredential {
                .visitor(VisitorPass(assistantID: house.assistant, door: door, guest: guest))
            }
            let byToken = pass(.site(version: 1), nil)
            let byNumber = pass(.number, nil)
            let guests = pass(.number, dialog.guest.mark)
            let nowhere = StreamCredential.visitor(
                VisitorPass(assistantID: .init(999_999), door: .number, guest: nil))
            let all: Set = [kept, .session(left), byToken, byNumber, guests]
            #expect(try await check.ended(of: all).isEmpty)
            #expect(try await check.ended(of: [nowhere]) == [nowhere])

            try await sessions.end(left)
            #expect(try await check.ended(of: all) == [.session(left)])
            _ = try await entrances.block(dialog.id, by: house.owner, from: "")
            #expect(try await check.ended(of: all) == [.session(left), guests])
            _ = try await assistants.revokeTokens(of: house.assistant, graceHours: 1, by: house.owner, from: "")
            #expect(try await check.ended(of: all) == [.session(left), guests])
            _ = try await assistants.revokeTokens(of: house.assistant, graceHours: 0, by: house.owner, from: "")
            #expect(try await check.ended(of: all) == [.session(left), guests, byToken])
            _ = try await assistants.change(house.assistant, by: house.owner, from: "") { $0.guestAccess = false }
            #expect(try await check.ended(of: all) == [.session(left), guests, byToken, byNumber])
            #expect(try await assistants.delete(house.assistant, by: house.owner, from: ""))
            #expect(try await check.ended(of: [kept, byNumber]) == [byNumber])
        }
    }

    @Test func `only the account's own assistants are changed`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let store = AssistantStore(pool: town.pool)
            #expect(try await store.change(house.assistant, by: other.owner, from: "") { $0.name = "X" } == nil)
            #expect(try await !store.delete(house.assistant, by: other.owner, from: ""))
            #expect(try await store.revokeTokens(of: house.assistant, graceHours: 0, by: other.owner, from: "") == nil)
            #expect(try await !store.setIdentitySecret([1], of: house.assistant, by: other.owner, from: ""))
            let untouched = try #require(try await store.find(house.assistant))
            #expect(untouched.profile.name == "A" && untouched.tokenVersion == 1)
        }
    }

    @Test func `an assistant's answers of a day are counted to their number and not beyond`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let budget = AnswerBudget(pool: town.pool)
            let assistants = AssistantStore(pool: town.pool)
            func taken(_ tries: Int) async throws -> Int {
                try await withThrowingTaskGroup { group in
                    for _ in 0..<tries { group.addTask { try await budget.take(for: house.assistant) } }
                    return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
            }
            #expect(try await taken(20) == 20)
            _ = try await assistants.change(house.assistant, by: house.owner, from: "") { $0.dailyAnswers = 27 }
            #expect(try await taken(20) == 7)
            _ = try await assistants.change(house.assistant, by: house.owner, from: "") { $0.dailyAnswers = 0 }
            #expect(try await taken(3) == 0)
            _ = try await town.pool.perform {
                try $0.run(Statement("test.yesterday", "UPDATE answer_counts SET day = day - 1"))
            }
            #expect(try await taken(1) == 0)
            _ = try await assistants.change(house.assistant, by: house.owner, from: "") { $0.dailyAnswers = 1 }
            #expect(try await taken(5) == 1)
        }
    }
}
