import CoreMetrics
import Domain
import HTTPTypes
import Hummingbird
import Logging
import NIOHTTP1
import Persistence
import Synchronization

/// Outermost: names the request, turns whatever is thrown into a problem, and counts.
struct AnswerMiddleware: RouterMiddleware {
    let proxies: TrustedProxies
    private let counters = RequestCounters()

    init(proxies: TrustedProxies) {
        self.proxies = proxies
    }

    func handle(
        _ request: Request, context: ChatContext, next: (Request, ChatContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.requestID = Self.sane(request.headers[.requestID]) ?? Self.newID()
        context.logger[metadataKey: "request_id"] = "\(context.requestID)"
        context.address = proxies.client(
            of: context.channel.remoteAddress?.ipAddress ?? "", forwardedFor: request.headers[values: .xForwardedFor])
        var response: Response
        do {
            guard !request.asksForAnotherProtocol else { throw Problem.notFound }
            response = try await next(request, context)
        } catch let error as HTTPParserError {
            // The client left in the middle, or never spoke HTTP: the connection answers, not the router.
            throw error
        } catch {
            response = Self.answer(to: error, context)
        }
        if request.method == .head { response = response.withoutBody() }
        // Nothing behind such a request is read (``ConnectionHandler``).
        if request.headers[.upgrade] != nil { response.headers[.connection] = "close" }
        response.headers[.requestID] = context.requestID
        counters.counter(request.method, context.endpointPath, response.status).increment()
        return response
    }

    private static func answer(to error: any Error, _ context: ChatContext) -> Response {
        if let problem = Problem(error) { return problem.response(requestID: context.requestID) }
        // An error's own text may hold what must not be logged; PostgresError's is made not to.
        let name = (error as? PostgresError)?.description ?? "\(type(of: error))"
        context.logger.error(
            "A request failed", metadata: ["error": "\(name)", "route": "\(context.endpointPath ?? "none")"])
        return Problem(.internalServerError, "internal", "Something went wrong on our side.")
            .response(requestID: context.requestID)
    }

    /// A client's own name for its request, if it cannot hurt a log or a header.
    private static func sane(_ id: String?) -> String? {
        guard let id, (1...64).contains(id.utf8.count),
            id.utf8.allSatisfy({ byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            })
        else { return nil }
        return id
    }

    private static func newID() -> String {
        String(UInt64.random(in: .min ... .max), radix: 36)
    }
}

extension Request {
    /// There is no other protocol here. HTTP/2 may be offered and declined (RFC 9110, section 7.8): curl does so.
    fileprivate var asksForAnotherProtocol: Bool {
        guard let upgrade = headers[.upgrade] else { return false }
        return upgrade.lowercased().filter { $0 != " " } != "h2c"
    }
}

extension Response {
    /// The answer to HEAD: the same head, and nothing after it (RFC 9110, section 9.3.2).
    fileprivate func withoutBody() -> Response {
        Response(
            status: status, headers: headers,
            body: ResponseBody(contentLength: body.contentLength) { writer in try await writer.finish(nil) })
    }
}

/// Answers by method, route and status. A counter is looked up by its name only once.
private final class RequestCounters: Sendable {
    private struct Key: Hashable {
        let method: String
        let route: String
        let status: Int
    }

    private let counters = Mutex<[Key: Counter]>([:])

    func counter(_ method: HTTPRequest.Method, _ route: String?, _ status: HTTPResponse.Status) -> Counter {
        // A method is the client's word; only those that some route has get a series of their own.
        let isKnown = route != nil && route != "NotFound"
        let key = Key(
            method: isKnown ? method.rawValue : "any", route: isKnown ? route ?? "" : "none", status: status.code)
        return counters.withLock { counters in
            if let known = counters[key] { return known }
            let counter = Counter(
                label: "replyx_http_requests_total",
                dimensions: [("method", key.method), ("route", key.route), ("status", String(key.status))])
            counters[key] = counter
            return counter
        }
    }
}

extension HTTPField.Name {
    static let xForwardedFor = HTTPField.Name("X-Forwarded-For")!
    static let xContentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
}
