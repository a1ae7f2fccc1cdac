import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence
import Realtime

/// Whether this node lives, whether it should be sent anybody, and what it streams.
struct HealthRoutes {
    let hub: EventHub
    let health: Health

    func add(to router: some RouterMethods<ChatContext>) {
        router.get("livez") { _, _ in Response(status: .noContent) }
        router.get("readyz", use: ready)
        router.get("health", use: ready)
    }

    func addStreamHealth(to router: RouterGroup<ChatContext>) {
        router.get("sse/health", use: streams)
    }

    private struct Readiness: Encodable {
        let status: String
        let checks: [String: String]
    }

    @Sendable func ready(_ request: Request, context: ChatContext) async throws -> Response {
        var checks = await health.checks()
        if hub.isDraining { checks["node"] = "draining" }
        let isReady = checks.values.allSatisfy { $0 == "ok" }
        return .json(
            Readiness(status: isReady ? "ok" : "unavailable", checks: checks),
            status: isReady ? .ok : .serviceUnavailable)
    }

    private struct StreamHealth: Encodable {
        let service = "sse"
        let status: String
        let redisStatus: String
        let activeConnections: Int
        let timestamp: String
    }

    @Sendable func streams(_ request: Request, context: ChatContext) async throws -> Response {
        .json(
            StreamHealth(
                status: hub.isDraining ? "draining" : "healthy", redisStatus: "not_configured",
                activeConnections: hub.streamCount,
                timestamp: Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)).rfc3339))
    }
}

/// What this node needs in order to serve. That its migrations are applied was seen before it began.
struct Health: Sendable {
    let pool: PostgresPool

    /// `ok`, or in a word what is wrong, by what was checked.
    func checks() async -> [String: String] {
        do {
            _ = try await pool.perform { try $0.run(Statement.ping) }
            return ["postgres": "ok", "migrations": "ok"]
        } catch {
            return ["postgres": "unreachable", "migrations": "ok"]
        }
    }
}

extension Statement {
    fileprivate static let ping = Statement("health.ping", "SELECT 1")
}
