import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// That somebody is writing, told to those who follow the dialog or the account at this moment.
struct TypingRoutes {
    let access: Access
    let dialogs: DialogStore
    let sink: any EphemeralSink

    func add(to router: RouterGroup<ChatContext>) {
        for door in VisitorDoor.allCases {
            router.group(RouterPath(stringLiteral: door.rawValue)).post("dialogs/:id/typing") { request, context in
                try await visitorTypes(request, context: context, at: door)
            }
        }
        router.post("dialogs/:id/typing", use: operatorTypes)
    }

    private func visitorTypes(_ request: Request, context: ChatContext, at door: VisitorDoor) async throws -> Response {
        let caller = try await access.visitors.caller(request, at: door, context)
        let id: Dialog.ID = try context.id("id")
        let isTyping = try await request.json(Body.self).value()
        guard try await dialogs.find(id, of: caller.guest) != nil else { throw Problem.notFound }
        return show(isTyping, by: .user, in: id, of: caller.assistant.accountID)
    }

    @Sendable func operatorTypes(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let id: Dialog.ID = try context.id("id")
        let isTyping = try await request.strictJSON(StrictTypingBody.self).body.value()
        guard try await dialogs.find(id, in: caller.accountID) != nil else { throw Problem.notFound }
        return show(isTyping, by: .manager, in: id, of: caller.accountID)
    }

    private func show(
        _ isTyping: Bool, by sender: Message.Sender, in dialog: Dialog.ID, of account: Account.ID
    ) -> Response {
        var payload = JSONObject()
        payload.add("sender", sender)
        sink.show(
            EphemeralEvent(
                isTyping ? .typingStart : .typingStop, accountID: account, dialogID: dialog,
                payload: payload.finished(),
                at: Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000))))
        return Response(status: .noContent)
    }

    private struct Body: Decodable {
        let typing: Bool?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case typing
        }

        func value() throws -> Bool {
            guard let typing else { throw Problem.invalid("typing", "true or false.") }
            return typing
        }
    }

    private struct StrictTypingBody: StrictBody {
        typealias CodingKeys = Body.CodingKeys
        let body: Body

        init(from decoder: any Decoder) throws {
            body = try Body(from: decoder)
        }
    }
}
