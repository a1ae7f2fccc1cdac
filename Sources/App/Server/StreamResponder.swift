import Domain
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Realtime
import Synchronization

/// Answers requests for streams by the same router as all others, and opens those that it lets in.
struct StreamResponder: Sendable {
    enum Reply: Sendable {
        case stream(HTTPResponse, StreamPlan)
        case response(HTTPResponse, ByteBuffer)
    }

    let router: RouterResponder<ChatContext>
    let hub: EventHub
    let opener: StreamOpener
    let logger: Logger

    func reply(to head: HTTPRequest, on channel: any Channel) async -> Reply {
        let offer = StreamOffer()
        var context = ChatContext(source: ApplicationRequestContextSource(channel: channel, logger: logger))
        context.offer = offer
        let request = Request(head: head, body: RequestBody(buffer: ByteBuffer()))
        do {
            var response = try await router.respond(to: request, context: context)
            if let plan = offer.taken {
                var head = response.head
                head.headerFields[.contentLength] = nil
                return .stream(head, plan)
            }
            if response.status == .serviceUnavailable || response.status == .tooManyRequests {
                response = goodbye(inPlaceOf: response)
            }
            return try await Self.whole(response)
        } catch {
            logger.warning("Stream request failed", metadata: ["error": "\(type(of: error))"])
            return .response(
                HTTPResponse(status: .ok, headerFields: [.contentType: SSEFrame.contentType, .contentLength: "0"]),
                ByteBuffer())
        }
    }

    /// With what the router said to the browser: a page that may not read it would take it for a failure.
    private func goodbye(inPlaceOf refused: Response) -> Response {
        var response = Response.goodbye(.overload, retryMilliseconds: hub.retry(after: .overload))
        for field in refused.headers where response.headers[field.name] == nil && field.name != .contentLength {
            response.headers.append(field)
        }
        return response
    }

    private static func whole(_ response: Response) async throws -> Reply {
        let collector = BodyCollector()
        try await response.body.write(collector.writer)
        var head = response.head
        head.headerFields[.contentLength] = String(collector.bytes.readableBytes)
        return .response(head, collector.bytes)
    }
}

extension HTTPFields {
    /// What every stream's head carries.
    static var eventStream: HTTPFields {
        [
            .contentType: SSEFrame.contentType,
            .cacheControl: "no-cache, no-transform",
            .xAccelBuffering: "no",
        ]
    }
}

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-Id")!
    /// Tells nginx to pass a response on as it comes (ngx_http_proxy_module, proxy_buffering).
    static let xAccelBuffering = HTTPField.Name("X-Accel-Buffering")!
}

/// Gathers a small response's body, which on a seat is written in one piece.
private struct BodyCollector {
    private final class Storage: Sendable {
        let bytes = Mutex(ByteBuffer())
    }

    private struct Writer: ResponseBodyWriter {
        let storage: Storage

        mutating func write(_ buffer: ByteBuffer) async throws {
            storage.bytes.withLock { _ = $0.writeImmutableBuffer(buffer) }
        }

        consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
    }

    private let storage = Storage()

    var writer: any ResponseBodyWriter { Writer(storage: storage) }
    var bytes: ByteBuffer { storage.bytes.withLock { $0 } }
}
