import Domain
import Foundation
import Testing

@testable import Persistence

@Suite struct BridgeStoreTests {
    private func bot(_ town: Town, _ house: Town.House) async throws -> Bot {
        try #require(
            try await BotStore(pool: town.pool).create(
                "Bot", on: .telegram, for: house.assistant, platformToken: [1, 2, 3], by: house.owner, from: ""))
    }

    private func hash() -> [UInt8] { (0..<32).map { _ in UInt8.random(in: .min ... .max) } }

    @Test func `a bot is made for an assistant of the same account only`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let store = BotStore(pool: town.pool)
            #expect(
                try await store.create(
                    "Bot", on: .telegram, for: other.assistant, platformToken: [1], by: house.owner, from: "") == nil)
            let bot = try await bot(town, house)
            #expect(try await store.list(in: other.account, after: nil, limit: 10).isEmpty)
            let change = BotStore.Change(name: "X", isActive: nil, platformToken: nil)
            #expect(try await store.change(bot.id, change, by: other.owner, from: "") == nil)
            #expect(try await !store.delete(bot.id, by: other.owner, from: ""))
        }
    }

    @Test func `a key is for its bots, and none of another account's can be among them`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let other = try await town.house()
            let own = try await bot(town, house)
            let second = try await bot(town, house)
            let foreign = try await bot(town, other)
            let keys = APIKeyStore(pool: town.pool)
            #expect(
                try await keys.create(
                    "K", for: [own.id, foreign.id], tokenHash: hash(), by: house.owner, from: "") == nil)
            let token = hash()
            let made = try #require(
                try await keys.create("K", for: [own.id], tokenHash: token, by: house.owner, from: ""))
            let used = try #require(try await keys.use(tokenHash: token))
            #expect(used.botIDs == [own.id] && used.id == made.id)
            #expect(try await BotStore(pool: town.pool).bots(of: used).map(\.bot.id) == [own.id])
            #expect(second.id != own.id)
            #expect(try await keys.use(tokenHash: hash()) == nil)
            #expect(try await !keys.revoke(made.id, by: other.owner, from: ""))
            #expect(try await keys.revoke(made.id, by: house.owner, from: ""))
            #expect(try await keys.use(tokenHash: token) == nil)
        }
    }

    @Test func `of many who ask for a lease at once one gets it`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let bot = try await bot(town, house)
            let store = BotStore(pool: town.pool)
            let leases = try await withThrowingTaskGroup { group in
                for number in 0..<8 {
                    group.addTask { try await store.lease(bot.id, of: house.account, for: "p\(number)", seconds: 60) }
                }
                return try await group.reduce(into: [BotStore.Lease?]()) { $0.append($1) }
            }
            #expect(leases.filter { $0 == .taken }.count == 7)
            var holders: [String] = []
            for case .held(let holder, _)? in leases { holders.append(holder) }
            let holder = try #require(holders.first)
            guard case .held = try await store.lease(bot.id, of: house.account, for: holder, seconds: 60) else {
                Issue.record("its holder renews it")
                return
            }
            _ = try await town.pool.perform {
                try $0.run(Statement("test.lapse", "UPDATE bot_instances SET lease_until = now()"))
            }
            guard case .held = try await store.lease(bot.id, of: house.account, for: "late", seconds: 60) else {
                Issue.record("one that has lapsed is free")
                return
            }
            #expect(try await store.lease(bot.id, of: .init(999_999), for: "p", seconds: 60) == nil)
        }
    }
}
