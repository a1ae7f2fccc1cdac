import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence

/// Dialogs as an account's operators read and answer them.
struct OperatorDialogRoutes {
    let access: Access
    let dialogs: DialogStore
    let messages: MessageStore
    let writer: MessageWriter
    let entrances: EntranceStore

    func add(to router: RouterGroup<ChatContext>) {
        router.get("dialogs", use: list)
        router.get("dialogs/:id", use: read)
        router.get("dialogs/:id/messages", use: history)
        router.post("dialogs/:id/messages", use: send)
        router.post("dialogs/:id/block", use: block)
        router.delete("dialogs/:id/block", use: unblock)
        router.post("stream-tokens", use: streamToken)
    }

    // MARK: Reading

    @Sendable func list(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let limit = try request.number("limit", in: 1...100, default: 50)
        guard let listing = try await dialogs.list(in: caller.accountID, try request.dialogFilter(), limit: limit)
        else {
            throw Problem.notFound
        }
        let last = listing.hasMore ? listing.dialogs.last?.lastMessage : nil
        var body = JSONObject()
        body.add("items", listing.dialogs)
        body.add(ifPresent: "next_cursor", last.map { "\($0.id)" })
        body.add("has_more", listing.hasMore)
        body.add("cursor", listing.cursor)
        return .json(written: body.finished())
    }

    @Sendable func read(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        guard let found = try await dialogs.find(try context.id("id"), in: caller.accountID) else {
            throw Problem.notFound
        }
        var body = found.dialog.object()
        body.add("cursor", found.accountCursor)
        body.add("dialog_cursor", found.dialogCursor)
        return .json(written: body.finished())
    }

    @Sendable func history(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let page = try await messages.page(
            of: try context.id("id"), for: .operator(of: caller.accountID), try request.messageWindow(),
            limit: try request.number("limit", in: 1...100, default: 50))
        guard let page else { throw Problem.notFound }
        var body = JSONObject()
        body.add("items", page.messages)
        body.add("has_more", page.hasMore)
        body.add("cursor", page.accountCursor)
        body.add("dialog_cursor", page.dialogCursor)
        return .json(written: body.finished())
    }

    // MARK: Writing

    private struct SendBody: StrictBody {
        typealias CodingKeys = MessageBody.CodingKeys
        let message: MessageBody

        init(from decoder: any Decoder) throws {
            message = try MessageBody(from: decoder)
        }
    }

    @Sendable func send(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        let id: Dialog.ID = try context.id("id")
        let body = try await request.strictJSON(SendBody.self).message
        let posted = try await writer.append(
            Posting(
                speaker: .operator(caller.id, name: caller.displayName), accountID: caller.accountID, dialogID: id,
                draft: try body.draft(), clientMessageID: try body.key()))
        var response = Response.json(written: posted.message.json)
        response.markReplay(posted)
        return response
    }

    // MARK: Blocking

    @Sendable func block(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        switch try await entrances.block(try context.id("id"), by: caller, from: context.address) {
        case .done: return Response(status: .noContent)
        case .unknown: throw Problem.notFound
        case .tooMany:
            throw Problem(
                .conflict, "too_many_blocked", "An assistant keeps at most \(EntranceStore.blockedLimit) visitors out.")
        }
    }

    @Sendable func unblock(_ request: Request, context: ChatContext) async throws -> Response {
        let caller = try await access.operatorCaller(request)
        guard try await entrances.unblock(try context.id("id"), by: caller, from: context.address) else {
            throw Problem.notFound
        }
        return Response(status: .noContent)
    }

    // MARK: Stream tokens

    private struct StreamTokenRequest: StrictBody {
        let dialogID: Int64?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case dialogID = "dialog_id"
        }
    }

    private struct StreamTokenBody: Encodable {
        let streamToken: String
        let expiresIn: Int
    }

    @Sendable func streamToken(_ request: Request, context: ChatContext) async throws -> Response {
        let session = try await access.operatorSession(request)
        let caller = session.caller
        let dialog = try await request.strictJSON(StreamTokenRequest.self).dialogID.map { Dialog.ID($0) }
        if let dialog, try await dialogs.find(dialog, in: caller.accountID) == nil { throw Problem.notFound }
        let made = try await access.streamToken(for: session, dialog: dialog)
        return .json(StreamTokenBody(streamToken: made.token, expiresIn: made.expiresIn), status: .created)
    }
}

extension Request {
    fileprivate func dialogFilter() throws -> DialogStore.Filter {
        var filter = DialogStore.Filter()
        if let text = query("status") {
            guard let status = Dialog.Status(rawValue: text) else { throw Problem.invalid("status", "open or closed.") }
            filter.status = status
        }
        if let text = query("channel") {
            guard let channel = Dialog.Channel(rawValue: text) else {
                throw Problem.invalid("channel", "web or telegram.")
            }
            filter.channel = channel
        }
        if let text = query("assistant_id") {
            guard let id = Int64(text) else { throw Problem.invalid("assistant_id", "An assistant's id.") }
            filter.assistantID = Identifier(id)
        }
        if let text = query("cursor") {
            guard let id = Int64(text) else { throw Problem.invalid("cursor", "The next_cursor of an earlier page.") }
            filter.beforeMessage = Identifier(id)
        }
        return filter
    }
}
