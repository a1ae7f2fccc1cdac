import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Dialogs as a visitor opens, reads and writes them. The same handlers behind both doors.
struct VisitorRoutes {
    let door: VisitorDoor
    let access: Access
    let dialogs: DialogStore
    let messages: MessageStore
    let writer: MessageWriter

    func add(to router: RouterGroup<ChatContext>) {
        let group = router.group(RouterPath(stringLiteral: door.rawValue))
        group.post("dialogs", use: open)
        group.get("dialogs", use: list)
        group.get("dialogs/:id/messages", use: history)
        group.post("dialogs/:id/messages", use: send)
    }

    // MARK: Opening

    private struct OpenedBody: Encodable {
        let id: Dialog.ID
        let guest_id: String?
        let created: Bool
        let status: Dialog.Status
        let cursor: String
        let stream_token: String
        let handoff: Handoff
    }

    @Sendable func open(_ request: Request, context: ChatContext) async throws -> Response {
        let assistant = try await access.assistant(request, at: door)
        let given = try access.guestSecret(request)
        let secret = given ?? .mint()
        let caller = VisitorCaller(assistant: assistant, guest: secret.guest(of: assistant.id))
        let opened = try await dialogs.open(caller.guest, in: assistant.accountID)
        return .json(
            OpenedBody(
                id: opened.dialog.id, guest_id: given == nil ? secret.text : nil, created: opened.isNew,
                status: opened.dialog.status, cursor: "\(opened.cursor)",
                stream_token: try await access.streamToken(for: caller, dialog: opened.dialog.id).token,
                handoff: opened.dialog.handoff))
    }

    private struct ListBody: Encodable {
        struct Item: Encodable {
            let id: Dialog.ID
            let status: Dialog.Status
            let handoff: Handoff
            let cursor: String
            let last_message: Message?
            let created_at: Timestamp
            let updated_at: Timestamp
            let closed_at: Timestamp?
        }

        let items: [Item]
        let has_more: Bool
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitor(request, at: door)
        let limit = try request.number("limit", in: 1...100, default: 50)
        let found = try await dialogs.list(of: caller.guest, limit: limit + 1)
        let items = found.prefix(limit).map { opened in
            ListBody.Item(
                id: opened.dialog.id, status: opened.dialog.status, handoff: opened.dialog.handoff,
                cursor: "\(opened.cursor)", last_message: opened.dialog.lastMessage,
                created_at: opened.dialog.createdAt, updated_at: opened.dialog.updatedAt,
                closed_at: opened.dialog.closedAt)
        }
        return .json(ListBody(items: items, has_more: found.count > limit))
    }

    // MARK: Messages

    private struct HistoryBody: Encodable {
        let items: [Message]
        let cursor: String
        let has_more: Bool
        let stream_token: String
    }

    @Sendable func history(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitor(request, at: door)
        let id: Dialog.ID = try context.id("id")
        let page = try await messages.page(
            of: id, for: .visitor(caller.guest), try request.messageWindow(),
            limit: try request.number("limit", in: 1...100, default: 50))
        guard let page else { throw Problem.notFound }
        return .json(
            HistoryBody(
                items: page.messages, cursor: "\(page.dialogCursor)", has_more: page.hasMore,
                stream_token: try await access.streamToken(for: caller, dialog: id).token))
    }

    private struct SentBody: Encodable {
        let user_message: Message
        let assistant_message: Message?
        let handoff_status: Handoff.Status
        let head: String

        private enum CodingKeys: CodingKey { case user_message, assistant_message, handoff_status, head }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(user_message, forKey: .user_message)
            // The answer comes by the stream; the field stands for clients of the system this one replaces.
            try container.encode(assistant_message, forKey: .assistant_message)
            try container.encode(handoff_status, forKey: .handoff_status)
            try container.encode(head, forKey: .head)
        }
    }

    @Sendable func send(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitor(request, at: door)
        let id: Dialog.ID = try context.id("id")
        let body = try await request.json(MessageBody.self)
        let posted = try await writer.append(
            Posting(
                speaker: .visitor(caller.guest), accountID: caller.assistant.accountID, dialogID: id,
                draft: try body.draft(), clientMessageID: try body.key()))
        var response = Response.json(
            SentBody(
                user_message: posted.message, assistant_message: nil, handoff_status: posted.handoff,
                head: "\(posted.head)"))
        response.markReplay(posted)
        return response
    }
}

/// A message as clients send it. Whoever sends a `sender` is not asked for one.
struct MessageBody: Decodable {
    let text: String?
    let client_message_id: String?

    func draft() throws -> Draft {
        guard let text else { throw Refusal.textMissing }
        return try Draft(text)
    }

    func key() throws -> UUID? {
        guard let client_message_id else { return nil }
        guard let key = UUID(uuidString: client_message_id) else {
            throw Problem.invalid("client_message_id", "A UUID is needed.")
        }
        return key
    }
}

extension Request {
    /// `before_id` or `after_id`, at most one of them.
    func messageWindow() throws -> MessageStore.Window {
        func id(_ name: String) throws -> Message.ID? {
            guard let text = query(name) else { return nil }
            guard let value = Int64(text), value >= 0 else { throw Problem.invalid(name, "A message's id is needed.") }
            return Identifier(value)
        }
        switch (try id("before_id"), try id("after_id")) {
        case (nil, nil): return .newest
        case (let before?, nil): return .before(before)
        case (nil, let after?): return .after(after)
        case (_?, _?): throw Problem.invalid("after_id", "Either before_id or after_id.")
        }
    }
}

extension Response {
    mutating func markReplay(_ posted: Posted) {
        if posted.isReplay { headers[.idempotentReplayed] = "true" }
    }
}

extension HTTPField.Name {
    static let idempotentReplayed = HTTPField.Name("Idempotent-Replayed")!
}
