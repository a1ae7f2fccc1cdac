import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Dialogs as a visitor opens, reads and writes them. The same handlers behind both doors.
struct VisitorRoutes {
    let door: VisitorDoor
    let access: Access
    let limits: Limits
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

    @Sendable func open(_ request: Request, context: ChatContext) async throws -> Response {
        let given = try access.visitors.guestSecret(request)
        let secret = given ?? .mint()
        let caller = try await access.visitors.caller(request, at: door, as: secret, context)
        let identity = try await access.visitors.identity(request, at: caller.assistant)
        let opened = try await self.opened(for: caller, isKnown: given != nil, context)
        if let identity, identity != opened.dialog.visitor {
            try await dialogs.identify(identity, in: opened.dialog.id)
        }
        var body = JSONObject()
        body.add("id", opened.dialog.id)
        if given == nil { body.add("guest_id", secret.text) }
        body.add("created", opened.isNew)
        body.add("status", opened.dialog.status)
        body.add("cursor", opened.cursor)
        body.add("stream_token", try await access.streamToken(for: caller, dialog: opened.dialog.id).token)
        body.add("handoff", opened.dialog.handoff)
        return .json(written: body.finished())
    }

    /// Only a new dialog counts against the address: who comes back to theirs is let in.
    private func opened(
        for caller: VisitorCaller, isKnown: Bool, _ context: ChatContext
    ) async throws -> DialogStore.Opened {
        if isKnown, let found = try await dialogs.findOpen(caller.guest) { return found }
        let receipt = try await limits.newDialog(context)
        let opened = try await dialogs.open(caller.guest, in: caller.assistant.accountID)
        if !opened.isNew { await limits.giveBack(receipt) }
        return opened
    }

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitors.caller(request, at: door, context)
        let limit = try request.number("limit", in: 1...100, default: 50)
        let found = try await dialogs.list(of: caller.guest, limit: limit + 1)
        var body = JSONObject()
        body.add("items", found.prefix(limit).map(VisitorsDialog.init))
        body.add("has_more", found.count > limit)
        return .json(written: body.finished())
    }

    /// What a visitor sees of a dialog: nothing that only operators should.
    private struct VisitorsDialog: JSONWritable {
        let opened: DialogStore.Opened

        func write(to json: inout String) {
            let dialog = opened.dialog
            var object = JSONObject()
            object.add("id", dialog.id)
            object.add("status", dialog.status)
            object.add("handoff", dialog.handoff)
            object.add("cursor", opened.cursor)
            object.add("last_message", dialog.lastMessage)
            object.add("created_at", dialog.createdAt)
            object.add("updated_at", dialog.updatedAt)
            object.add("closed_at", dialog.closedAt)
            json += object.finished()
        }
    }

    // MARK: Messages

    @Sendable func history(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitors.caller(request, at: door, context)
        let id: Dialog.ID = try context.id("id")
        let page = try await messages.page(
            of: id, for: .visitor(caller.guest), try request.messageWindow(),
            limit: try request.number("limit", in: 1...100, default: 50))
        guard let page else { throw Problem.notFound }
        var body = JSONObject()
        body.add("items", page.messages)
        body.add("cursor", page.dialogCursor)
        body.add("has_more", page.hasMore)
        body.add("stream_token", try await access.streamToken(for: caller, dialog: id).token)
        return .json(written: body.finished())
    }

    @Sendable func send(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.visitors.caller(request, at: door, context)
        let id: Dialog.ID = try context.id("id")
        let body = try await request.json(MessageBody.self)
        let posting = Posting(
            speaker: .visitor(caller.guest), accountID: caller.assistant.accountID, dialogID: id,
            draft: try body.draft(), clientMessageID: try body.key())
        let receipt = try await limits.message(of: caller, context)
        let posted: Posted
        do {
            posted = try await writer.append(posting)
        } catch let refusal as Refusal {
            await limits.giveBack(receipt)
            throw refusal
        }
        if posted.isReplay { await limits.giveBack(receipt) }
        var answer = JSONObject()
        answer.add("user_message", posted.message)
        // The answer comes by the stream; the field stands for clients of the system this one replaces.
        answer.add("assistant_message", Message?.none)
        answer.add("handoff_status", posted.handoff)
        answer.add("head", posted.head)
        var response = Response.json(written: answer.finished())
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
