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
    let accounts: AccountStore
    let operators: OperatorStore
    let sessions: OperatorSessions
    let assistants: AssistantStore
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
        router.add(middleware: AnswerMiddleware())
        router.add(
            middleware: FileMiddleware(
                settings.publicDirectory, searchForIndexHtml: true,
                logger: logger))
        let healthRoutes = HealthRoutes(hub: hub, health: health)
        healthRoutes.add(to: router)
        let api = router.group("api")
        healthRoutes.addStreamHealth(to: api)
        AccountRoutes(
            access: access, accounts: accounts, passwords: passwords, sessions: sessions, setupCode: setupCode
        ).add(to: api)
        OperatorRoutes(
            access: access, operators: operators, accounts: accounts, passwords: passwords,
            publicURL: settings.publicURL
        ).add(to: api)
        AssistantRoutes(access: access, assistants: assistants, tokens: tokens, publicURL: settings.publicURL)
            .add(to: api)
        OperatorDialogRoutes(access: access, dialogs: dialogs, messages: messages, writer: writer).add(to: api)
        for door in VisitorDoor.allCases {
            VisitorRoutes(door: door, access: access, dialogs: dialogs, messages: messages, writer: writer)
                .add(to: api)
        }
        TypingRoutes(access: access, dialogs: dialogs, sink: sink).add(to: api)
        StreamRoutes(access: access, dialogs: dialogs, hub: hub, poll: poll).add(to: api)
        let openAPI = try? String(contentsOfFile: settings.openAPIFile, encoding: .utf8)
        router.get("openapi.yaml") { _, _ in
            guard let text = openAPI else { throw Problem.notFound }
            return Response(
                status: .ok, headers: [.contentType: "application/yaml; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
        }
        return router
    }

    /// What only the machine itself sees.
    func managementRouter(_ registry: PrometheusRegistry) -> Router<ChatContext> {
        let router = Router(context: ChatContext.self)
        router.add(middleware: AnswerMiddleware())
        HealthRoutes(hub: hub, health: health).add(to: router)
        router.get("metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: registry.text())))
        }
        return router
    }
}
