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
        let guestID: String?
        let created: Bool
        let status: Dialog.Status
        let cursor: String
        let streamToken: String
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
                id: opened.dialog.id, guestID: given == nil ? secret.text : nil, created: opened.isNew,
                status: opened.dialog.status, cursor: "\(opened.cursor)",
                streamToken: try await access.streamToken(for: caller, dialog: opened.dialog.id).token,
                handoff: opened.dialog.handoff))
    }

    private struct ListBody: Encodable {
        struct Item: Encodable {
            let id: Dialog.ID
            let status: Dialog.Status
            let handoff: Handoff
            let cursor: String
            let lastMessage: Message?
            let createdAt: Timestamp
            let updatedAt: Timestamp
            let closedAt: Timestamp?
        }

        let items: [Item]
        let hasMore: Bool
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitor(request, at: door)
        let limit = try request.number("limit", in: 1...100, default: 50)
        let found = try await dialogs.list(of: caller.guest, limit: limit + 1)
        let items = found.prefix(limit).map { opened in
            ListBody.Item(
                id: opened.dialog.id, status: opened.dialog.status, handoff: opened.dialog.handoff,
                cursor: "\(opened.cursor)", lastMessage: opened.dialog.lastMessage,
                createdAt: opened.dialog.createdAt, updatedAt: opened.dialog.updatedAt,
                closedAt: opened.dialog.closedAt)
        }
        return .json(ListBody(items: items, hasMore: found.count > limit))
    }

    // MARK: Messages

    private struct HistoryBody: Encodable {
        let items: [Message]
        let cursor: String
        let hasMore: Bool
        let streamToken: String
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
                items: page.messages, cursor: "\(page.dialogCursor)", hasMore: page.hasMore,
                streamToken: try await access.streamToken(for: caller, dialog: id).token))
    }

    private struct SentBody: Encodable {
        let userMessage: Message
        let assistantMessage: Message?
        let handoffStatus: Handoff.Status
        let head: String

        private enum CodingKeys: CodingKey { case userMessage, assistantMessage, handoffStatus, head }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(userMessage, forKey: .userMessage)
            // The answer comes by the stream; the field stands for clients of the system this one replaces.
            try container.encode(assistantMessage, forKey: .assistantMessage)
            try container.encode(handoffStatus, forKey: .handoffStatus)
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
                userMessage: posted.message, assistantMessage: nil, handoffStatus: posted.handoff,
                head: "\(posted.head)"))
        response.markReplay(posted)
        return response
    }
}

/// A message as clients send it. Whoever sends a `sender` is not asked for one.
struct MessageBody: Decodable {
    let text: String?
    let clientMessageID: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case text
        case clientMessageID = "client_message_id"
    }

    func draft() throws -> Draft {
        guard let text else { throw Refusal.textMissing }
        return try Draft(text)
    }

    func key() throws -> UUID? {
        guard let clientMessageID else { return nil }
        guard let key = UUID(uuidString: clientMessageID) else {
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
