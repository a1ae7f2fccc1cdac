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
        var needed = await health.needed()
        if hub.isDraining { needed["node"] = "draining" }
        let helping = health.helping()
        let isReady = needed.values.allSatisfy { $0 == "ok" }
        let isWhole = helping.values.allSatisfy { $0 == "ok" || $0 == Health.notConfigured }
        return .json(
            Readiness(
                status: isReady ? isWhole ? "ok" : "degraded" : "unavailable",
                checks: needed.merging(helping) { $1 }),
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
                status: hub.isDraining ? "draining" : "healthy", redisStatus: health.redis,
                activeConnections: hub.streamCount,
                timestamp: Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)).rfc3339))
    }
}

/// What this node needs in order to serve, and what helps it. That its migrations are applied was seen before it began.
struct Health: Sendable {
    static let notConfigured = "not_configured"

    let pool: PostgresPool
    let bus: Bus?

    /// `ok`, or in a word what is wrong, by what was checked: without these nobody should be sent here.
    func needed() async -> [String: String] {
        do {
            _ = try await pool.perform { try $0.run(Statement.ping) }
            return ["postgres": "ok", "migrations": "ok"]
        } catch {
            return ["postgres": "unreachable", "migrations": "ok"]
        }
    }

    /// The same of what the node can do without: then other nodes' events come from the log, a little later. Taking it
    /// out for that would take all of them out at once.
    func helping() -> [String: String] {
        guard let status = bus?.status else { return ["redis": Self.notConfigured, "bus": Self.notConfigured] }
        return ["redis": status.isConnected ? "ok" : "unreachable", "bus": status.isHealthy ? "ok" : "degraded"]
    }

    var redis: String {
        bus.map { $0.status.isConnected ? "connected" : "disconnected" } ?? Self.notConfigured
    }
}

extension Statement {
    fileprivate static let ping = Statement("health.ping", "SELECT 1")
}
