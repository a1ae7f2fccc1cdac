import CoreMetrics
import Domain
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import Persistence
import Realtime

extension Node {
    /// The composition root: the one place where the layers meet. Touches nothing outside yet.
    /// - Parameters:
    ///   - setupCode: lets the first account be made.
    ///   - logIdentity: which database the log is in.
    static func build(
        _ settings: Settings, setupCode: String, logIdentity: String, registry: PrometheusRegistry, logger: Logger
    ) async throws -> Node {
        let loops = MultiThreadedEventLoopGroup.singleton
        let hub = EventHub(loops: loops, settings: settings.streams)
        let pool = PostgresPool(
            try settings.postgres("replyx"), size: settings.poolSize, onConnect: LogGeneration.confirm, logger: logger)
        let log = PostgresEventLog(pool: pool)
        let bus = try settings.redis().map {
            Bus($0, log: logIdentity, hub: hub, loops: loops, logger: logger)
        }
        let broadcast = Broadcast(hub: hub, bus: bus)
        let writer = MessageWriter(
            configuration: try settings.postgres("replyx writer"), sink: broadcast,
            afterCommit: FaultPoints.afterCommit,
            logger: logger)
        let accounts = AccountStore(pool: pool)
        let secrets = try settings.secrets()
        let tokens = await Tokens(secrets: secrets)
        let box = SecretBox(secrets: secrets)
        let assistants = AssistantStore(pool: pool)
        let entrances = EntranceStore(pool: pool)
        let origins = Origins(publicURL: settings.publicURL)
        let sessions = OperatorSessions(
            store: SessionStore(pool: pool), tokens: tokens,
            cookie: PanelCookie(publicURL: settings.publicURL, origins: origins))
        let limitsRedis = try settings.redis().map {
            RedisClient($0, on: loops.next(), name: "replyx-limits", logger: logger)
        }
        let limits = Limits(
            settings: settings.limits, rates: RateLimiter(limitsRedis, secret: "limits:\(secrets[0])", logger: logger),
            streams: StreamCounts(limitsRedis, secret: "limits:\(secrets[0])", logger: logger))
        let routes = Routes(
            access: Access(
                tokens: tokens, sessions: sessions,
                visitors: VisitorAccess(
                    tokens: tokens, directory: AssistantDirectory(store: assistants, entrances: entrances),
                    assistants: assistants, origins: origins, box: box,
                    limits: limits),
                keys: APIKeyStore(pool: pool), origins: origins),
            limits: limits, gate: LoginGate(rates: limits.rates, isOn: settings.limits.isOn, secrets: secrets),
            box: box,
            accounts: accounts, operators: OperatorStore(pool: pool), sessions: sessions, assistants: assistants,
            entrances: entrances, bots: BotStore(pool: pool),
            dialogs: DialogStore(pool: pool),
            messages: MessageStore(pool: pool), writer: writer, sink: broadcast, hub: hub,
            poll: StreamPoll(hub: hub, log: log),
            tokens: tokens, passwords: Passwords(pool: .passwords()), health: Health(pool: pool, bus: bus),
            setupCode: setupCode, settings: settings, logger: logger)

        let responder = routes.router().buildResponder()
        let streams = StreamResponder(
            router: responder, hub: hub, opener: StreamOpener(hub: hub, log: log, logger: logger), logger: logger)
        let executors = LoopExecutors(loops)
        let server = Application(
            responder: responder,
            server: HTTPServerBuilder { responder in
                ChatChannel(responder: responder, streams: streams, executors: executors, limits: .init())
            },
            configuration: ApplicationConfiguration(
                address: .hostname(settings.host, port: settings.port), backlog: 4096,
                availableConnectionsDelegate: MaximumAvailableConnections(settings.connectionLimit)),
            eventLoopGroupProvider: .shared(loops), logger: logger)
        let management = Application(
            responder: routes.managementRouter(registry).buildResponder(),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: settings.managementPort)),
            eventLoopGroupProvider: .shared(loops), logger: logger)
        return Node(
            settings: settings, logger: logger, routes: routes, pool: pool, writer: writer,
            writerExecutor: executors[loops.next()], hub: hub,
            bus: bus, limitsRedis: limitsRedis, streamCounts: limits.streams,
            credentials: CredentialWatch(
                hub: hub, check: StreamCredentials(sessions: sessions.store, entrances: entrances), logger: logger),
            auditor: Auditor(
                hub: hub, log: log, busDelivers: { bus?.status.isHealthy ?? false }, logger: logger), server: server,
            management: management)
    }
}

extension NIOThreadPool {
    /// One password at a time, so that logins never take both cores.
    fileprivate static func passwords() -> NIOThreadPool {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        return pool
    }
}
