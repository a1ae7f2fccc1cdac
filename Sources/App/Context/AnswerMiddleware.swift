import CoreMetrics
import HTTPTypes
import Hummingbird
import Logging
import NIOHTTP1
import Synchronization

/// Outermost: names the request, turns whatever is thrown into a problem, and counts.
struct AnswerMiddleware: RouterMiddleware {
    private let counters = RequestCounters()

    func handle(
        _ request: Request, context: ChatContext, next: (Request, ChatContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.requestID = Self.sane(request.headers[.requestID]) ?? Self.newID()
        context.logger[metadataKey: "request_id"] = "\(context.requestID)"
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as HTTPParserError {
            // The client left in the middle, or never spoke HTTP: the connection answers, not the router.
            throw error
        } catch {
            response = Self.answer(to: error, context)
        }
        response.headers[.requestID] = context.requestID
        response.headers[.xContentTypeOptions] = "nosniff"
        counters.counter(request.method, context.endpointPath, response.status).increment()
        return response
    }

    private static func answer(to error: any Error, _ context: ChatContext) -> Response {
        if let problem = Problem(error) { return problem.response(requestID: context.requestID) }
        // The error's own text may hold what must not be told or logged.
        context.logger.error("A request failed", metadata: ["error": "\(type(of: error))"])
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
    static let xContentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
}
