import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Persistence
import Realtime

/// The streams, and the same as pages of JSON. A path decides what is followed and by whom; the rest is one way.
struct StreamRoutes {
    let access: Access
    let limits: Limits
    let dialogs: DialogStore
    let hub: EventHub
    let poll: StreamPoll

    func add(to router: RouterGroup<ChatContext>) {
        for door in VisitorDoor.allCases {
            router.get("\(door.rawValue)/dialogs/:id/events") { request, context in
                try await follow(request, context, doors: [door], operators: false)
            }
        }
        router.get("dialogs/:id/events") { request, context in
            try await follow(request, context, doors: VisitorDoor.allCases, operators: true)
        }
        router.get("admin/events") { request, context in
            try await follow(request, context, doors: [], operators: true)
        }
    }

    @Sendable private func follow(
        _ request: Request, _ context: ChatContext, doors: [VisitorDoor], operators: Bool
    ) async throws -> Response {
        let dialog: Dialog.ID? = context.parameters.get("id") == nil ? nil : try context.id("id")
        let isJSON = context.offer == nil
        do {
            let caller = try await access.streamCaller(request, context, doors: doors, operators: operators)
            let stream = try await self.stream(of: dialog, for: caller)
            guard case .taken(let leave) = await limits.stream(of: caller.credential, context) else {
                throw Problem.rateLimited(.seconds(5), nil)
            }
            guard !isJSON else {
                defer { leave() }
                let answer = try await page(of: stream, request)
                // It may have waited long for what it shows now.
                _ = try await access.streamCaller(request, context, doors: doors, operators: operators)
                return answer
            }
            context.offer?.take(
                StreamPlan(
                    stream: stream, requestedCursor: request.streamCursor, expiresAt: caller.until,
                    credential: caller.credential, atEnd: leave))
            return Response(status: .ok, headers: .eventStream)
        } catch Tokens.Failure.expired where !isJSON {
            // Once ours: the client is told to come back with a new one, and is not sent away for good by a 401.
            return Response.goodbye(.expired, retryMilliseconds: hub.retry(after: .expired))
        } catch is Tokens.Failure {
            throw Problem.unauthorized
        }
    }

    /// What the caller may follow here.
    /// - Throws: 404 for a dialog that is not there or not theirs.
    private func stream(
        of dialog: Dialog.ID?, for caller: Access.StreamCaller
    ) async throws -> StreamKey {
        switch (caller.reach, dialog) {
        case (.account(let account), nil):
            return .account(account)
        case (.account(let account), let dialog?):
            guard try await dialogs.find(dialog, in: account) != nil else { throw Problem.notFound }
            return .dialog(dialog, of: account)
        case (.guest(let guest, let account), let dialog?):
            guard try await dialogs.find(dialog, of: guest) != nil else { throw Problem.notFound }
            return .dialog(dialog, of: account)
        case (.guest, nil):
            throw Problem.unauthorized
        case (.stream(let named, let account), let dialog):
            // The token names its stream; another one is not there for it.
            guard named == dialog else { throw Problem.notFound }
            return dialog.map { .dialog($0, of: account) } ?? .account(account)
        }
    }

    // MARK: Pages

    private struct Page: Encodable {
        struct Reset: Encodable {
            let reason: String
        }

        let cursor: String
        let hasMore: Bool
        let reset: Reset?
    }

    private func page(of stream: StreamKey, _ request: Request) async throws -> Response {
        let page = try await poll.page(
            of: stream, after: request.query("after") ?? request.streamCursor,
            limit: try request.number("limit", in: 1...200, default: 100),
            wait: .seconds(try request.number("wait", in: 0...25, default: 0)))
        guard let page else { throw Problem.notFound }
        // The events' JSON is in the log as it is sent; only the frame around it is made here.
        let items = page.events.map { $0.data(in: stream) }.joined(separator: ",")
        let rest = JSONText.of(
            Page(
                cursor: "\(page.cursor)", hasMore: page.hasMore,
                reset: page.reset.map { Page.Reset(reason: $0.rawValue) }))
        return .json(written: #"{"items":["# + items + "]," + rest.dropFirst())
    }
}

extension Response {
    /// A stream that ends at once, with 200, because any other status ends an `EventSource` for good (HTML standard,
    /// "fail the connection").
    static func goodbye(_ reason: SSEFrame.ByeReason, retryMilliseconds: Int) -> Response {
        Response(
            status: .ok, headers: .eventStream,
            body: ResponseBody(byteBuffer: SSEFrame.bye(reason, retryMilliseconds: retryMilliseconds)))
    }
}

extension Request {
    /// The header wins: it is what an `EventSource` has seen last, the query what its page knew when it made it.
    fileprivate var streamCursor: String? { headers[.lastEventID] ?? query("last_event_id") }
}

extension HTTPField.Name {
    static let lastEventID = HTTPField.Name("Last-Event-ID")!
}
