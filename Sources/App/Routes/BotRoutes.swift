import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Bots as an account's operators set them up.
struct BotRoutes {
    let access: Access
    let bots: BotStore
    let box: SecretBox

    func add(to router: RouterGroup<ChatContext>) {
        router.get("bot-instances", use: list)
        router.post("bot-instances", use: create)
        router.patch("bot-instances/:id", use: change)
        router.delete("bot-instances/:id", use: delete)
    }

    private struct Body: Encodable {
        let id: Bot.ID
        let assistantID: Assistant.ID
        let name: String
        let platform: Bot.Platform
        let isActive: Bool
        let createdAt: Timestamp

        init(_ bot: Bot) {
            id = bot.id
            assistantID = bot.assistantID
            name = bot.name
            platform = bot.platform
            isActive = bot.isActive
            createdAt = bot.createdAt
        }
    }

    private struct List: Encodable {
        let items: [Body]
        let nextCursor: String?
        let hasMore: Bool
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let page = try request.page(Bot.self)
        let found = try await bots.list(in: caller.accountID, after: page.after, limit: page.limit + 1)
        let items = found.prefix(page.limit).map(Body.init)
        let hasMore = found.count > page.limit
        return .json(List(items: items, nextCursor: hasMore ? items.last.map { "\($0.id)" } : nil, hasMore: hasMore))
    }

    private struct NewBot: StrictBody {
        let assistantID: Int64?
        let name: String?
        let platform: String?
        let platformToken: String?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case assistantID = "assistant_id"
            case name, platform
            case platformToken = "platform_token"
        }
    }

    @Sendable func create(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let body = try await request.strictJSON(NewBot.self)
        guard let assistant = body.assistantID else {
            throw Problem.invalid("assistant_id", "The assistant that answers first.")
        }
        guard let platform = Bot.Platform(rawValue: body.platform ?? "") else {
            throw Problem.invalid("platform", "One of: telegram.")
        }
        let bot = try await bots.create(
            try Name(body.name, field: "name").text, on: platform, for: Assistant.ID(assistant),
            platformToken: try sealed(body.platformToken, caller.accountID), by: caller, from: context.address)
        guard let bot else { throw Problem.notFound }
        return .json(Body(bot), status: .created)
    }

    private struct Change: StrictBody {
        let name: String?
        let isActive: Bool?
        let platformToken: String?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case name
            case isActive = "is_active"
            case platformToken = "platform_token"
        }
    }

    @Sendable func change(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let body = try await request.strictJSON(Change.self)
        let change = BotStore.Change(
            name: try body.name.map { try Name($0, field: "name").text }, isActive: body.isActive,
            platformToken: try body.platformToken.map { try sealed($0, caller.accountID) })
        guard let bot = try await bots.change(try context.id("id"), change, by: caller, from: context.address) else {
            throw Problem.notFound
        }
        return .json(Body(bot))
    }

    @Sendable func delete(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        guard try await bots.delete(try context.id("id"), by: caller, from: context.address) else {
            throw Problem.notFound
        }
        return Response(status: .noContent)
    }

    /// It stands in the platform's URLs: nothing but what needs no escaping there.
    private func sealed(_ token: String?, _ account: Account.ID) throws -> [UInt8] {
        guard let token, (8...200).contains(token.utf8.count),
            token.utf8.allSatisfy({ $0 > 32 && $0 < 127 && !"/?#%\\\"".utf8.contains($0) })
        else { throw Problem.invalid("platform_token", "The token that the platform gave for the bot.") }
        return try box.seal(token, for: .platformToken(account))
    }
}
