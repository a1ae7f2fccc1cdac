import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import Persistence

/// What a bridge asks about its bots.
struct BridgeRoutes {
    let access: Access
    let bots: BotStore
    let box: SecretBox

    func add(to router: RouterGroup<ChatContext>) {
        router.get("bot/bots", use: list)
        router.put("bot/bots/:id/lease", use: lease)
    }

    private struct Body: Encodable {
        let id: Bot.ID
        let assistantID: Assistant.ID
        let name: String
        let platform: Bot.Platform
        let platformToken: String
    }

    private struct List: Encodable {
        let items: [Body]
        let hasMore = false
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let key = try await access.bridge(request)
        let items = try await bots.bots(of: key).compactMap { bot, sealed -> Body? in
            guard let token = try? box.open(sealed, for: .platformToken(bot.accountID)) else {
                // A secret was dropped too early; the other bots go on.
                context.logger.error("A platform token cannot be opened", metadata: ["bot": "\(bot.id)"])
                return nil
            }
            return Body(
                id: bot.id, assistantID: bot.assistantID, name: bot.name, platform: bot.platform,
                platformToken: token)
        }
        return .json(List(items: items))
    }

    private struct LeaseRequest: Decodable {
        let holder: String?
        let ttlSeconds: Int?

        enum CodingKeys: String, CodingKey {
            case holder
            case ttlSeconds = "ttl_seconds"
        }
    }

    private struct Leased: Encodable {
        let holder: String
        let expiresAt: Timestamp
    }

    /// One poller a bot, among however many processes.
    @Sendable func lease(_ request: Request, context: ChatContext) async throws -> Response {
        let key = try await access.bridge(request)
        let id: Bot.ID = try context.id("id")
        let body = try await request.json(LeaseRequest.self)
        let holder = try Name(body.holder, field: "holder", limit: 100).text
        guard let seconds = body.ttlSeconds, (5...300).contains(seconds) else {
            throw Problem.invalid("ttl_seconds", "5 to 300 seconds.")
        }
        guard key.botIDs.contains(id) else { throw Problem.notFound }
        switch try await bots.lease(id, of: key.accountID, for: holder, seconds: seconds) {
        case .held(let holder, let until): return .json(Leased(holder: holder, expiresAt: until))
        case .taken: throw Problem(.conflict, "lease_held", "Another process polls this bot.")
        case nil: throw Problem.notFound
        }
    }
}
