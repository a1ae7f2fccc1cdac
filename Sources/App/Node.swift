import Hummingbird
import Logging
import NIOPosix
import Persistence
import Realtime
import ServiceLifecycle
import UnixSignals

/// One running server: everything it is made of, joined in `Node+build.swift`.
struct Node {
    let settings: Settings
    let logger: Logger
    let routes: Routes
    let pool: PostgresPool
    let writer: MessageWriter
    let writerExecutor: LoopExecutor?
    let hub: EventHub
    let bus: Bus?
    let limitsRedis: RedisClient?
    let streamCounts: StreamCounts
    let credentials: CredentialWatch
    let auditor: Auditor
    let server: Application<RouterResponder<ChatContext>>
    let management: Application<RouterResponder<ChatContext>>

    /// Serves until SIGTERM or SIGINT.
    func run() async throws {
        // Told to stop in the reverse order: first the streams end, then the servers, then what they stand on.
        let services: [any Service] =
            [pool] + (bus.map { [$0] } ?? []) + (limitsRedis.map { [$0] } ?? []) + [
                streamCounts, LoopService(base: writer, executor: writerExecutor), auditor, credentials, management,
                server, StreamDrain(hub: hub, logger: logger),
            ]
        let group = ServiceGroup(
            configuration: .init(
                services: services.map { .init(service: $0) },
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger))
        try await group.run()
    }
}
