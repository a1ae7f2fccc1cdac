import Domain
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Persistence
import Realtime

/// Everything that routes are made of, and the routers made of it.
struct Routes {
    let access: Access
    let limits: Limits
    let gate: LoginGate
    let box: SecretBox
    let accounts: AccountStore
    let operators: OperatorStore
    let sessions: OperatorSessions
    let assistants: AssistantStore
    let entrances: EntranceStore
    let bots: BotStore
    let dialogs: DialogStore
    let messages: MessageStore
    let writer: MessageWriter
    let sink: any EphemeralSink
    let hub: EventHub
    let poll: StreamPoll
    let tokens: Tokens
    let passwords: Passwords
    let health: Health
    let setupCode: String
    let settings: Settings
    let logger: Logger

    /// What the world sees.
    func router() -> Router<ChatContext> {
        let router = Router(context: ChatContext.self)
        router.add(middleware: BrowserMiddleware(ancestors: ancestors, isSecure: settings.isSecure))
        router.add(middleware: AnswerMiddleware(proxies: settings.trustedProxies))
        router.add(middleware: PreflightMiddleware())
        router.add(
            middleware: FileMiddleware(
                settings.publicDirectory, searchForIndexHtml: true,
                logger: logger))
        let healthRoutes = HealthRoutes(hub: hub, health: health)
        healthRoutes.add(to: router)
        let api = router.group("api")
        healthRoutes.addStreamHealth(to: api)
        AccountRoutes(
            access: access, accounts: accounts, passwords: passwords, sessions: sessions, gate: gate,
            limits: limits, setupCode: setupCode
        ).add(to: api)
        OperatorRoutes(
            access: access, operators: operators, accounts: accounts, passwords: passwords, gate: gate,
            limits: limits, publicURL: settings.publicURL
        ).add(to: api)
        AssistantRoutes(
            access: access, assistants: assistants, tokens: tokens, box: box, publicURL: settings.publicURL
        ).add(to: api)
        BotRoutes(access: access, bots: bots, box: box).add(to: api)
        APIKeyRoutes(access: access, keys: access.keys).add(to: api)
        BridgeRoutes(access: access, bots: bots, box: box).add(to: api)
        OperatorDialogRoutes(
            access: access, dialogs: dialogs, messages: messages, writer: writer, entrances: entrances
        ).add(to: api)
        for door in VisitorDoor.allCases {
            VisitorRoutes(
                door: door, access: access, limits: limits, dialogs: dialogs, messages: messages, writer: writer
            ).add(to: api)
        }
        TypingRoutes(access: access, dialogs: dialogs, sink: sink).add(to: api)
        StreamRoutes(access: access, limits: limits, dialogs: dialogs, hub: hub, poll: poll).add(to: api)
        let openAPI = try? String(contentsOfFile: settings.openAPIFile, encoding: .utf8)
        router.get("openapi.yaml") { _, _ in
            guard let text = openAPI else { throw Problem.notFound }
            return Response(
                status: .ok, headers: [.contentType: "application/yaml; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
        }
        return router
    }

    /// Which pages may frame the chat of a site token.
    @Sendable private func ancestors(_ request: Request) async -> String {
        guard let token = request.query("site_token"),
            let assistant = try? await access.visitors.assistant(siteToken: token)
        else { return "'self'" }
        return Origins.ancestors(assistant.profile.allowedDomains)
    }

    /// What only the machine itself sees.
    func managementRouter(_ registry: PrometheusRegistry) -> Router<ChatContext> {
        let router = Router(context: ChatContext.self)
        router.add(middleware: AnswerMiddleware(proxies: settings.trustedProxies))
        HealthRoutes(hub: hub, health: health).add(to: router)
        router.get("metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: registry.text())))
        }
        return router
    }
}
