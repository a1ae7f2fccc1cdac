import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Bridges' keys as an account's operators give them out.
struct APIKeyRoutes {
    let access: Access
    let keys: APIKeyStore

    func add(to router: RouterGroup<ChatContext>) {
        router.get("api-keys", use: list)
        router.post("api-keys", use: create)
        router.delete("api-keys/:id", use: revoke)
    }

    /// A key on the wire; its text only in the answer to the call that made it.
    private static func body(_ key: APIKey, text: String? = nil) -> Written {
        var object = JSONObject()
        object.add("id", key.id)
        object.add("name", key.name)
        object.add("bot_ids", key.botIDs)
        object.add("created_at", key.createdAt)
        object.add("last_used_at", key.lastUsedAt)
        object.add("revoked_at", key.revokedAt)
        object.add(ifPresent: "key", text)
        return Written(object.finished())
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let page = try request.page(APIKey.self)
        let found = try await keys.list(in: caller.accountID, after: page.after, limit: page.limit + 1)
        let items = found.prefix(page.limit)
        let hasMore = found.count > page.limit
        var body = JSONObject()
        body.add("items", items.map { Self.body($0) })
        body.add(ifPresent: "next_cursor", hasMore ? items.last.map { "\($0.id)" } : nil)
        body.add("has_more", hasMore)
        return .json(written: body.finished())
    }

    private struct NewKey: StrictBody {
        let name: String?
        let botIDs: [Int64]?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case name
            case botIDs = "bot_ids"
        }
    }

    @Sendable func create(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        let body = try await request.strictJSON(NewKey.self)
        guard let bots = body.botIDs, (1...1000).contains(bots.count) else {
            throw Problem.invalid("bot_ids", "The bots that the key is for, 1 to 1000.")
        }
        let token = OpaqueToken.mint(Access.keyPrefix)
        let key = try await keys.create(
            try Name(body.name, field: "name").text, for: bots.map { Bot.ID($0) }, tokenHash: token.hash, by: caller,
            from: context.address)
        guard let key else { throw Problem.notFound }
        return .json(written: Self.body(key, text: token.text).json, status: .created)
    }

    @Sendable func revoke(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request, atLeast: .admin)
        guard try await keys.revoke(try context.id("id"), by: caller, from: context.address) else {
            throw Problem.notFound
        }
        return Response(status: .noContent)
    }
}
