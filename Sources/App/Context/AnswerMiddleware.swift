import CoreMetrics
import HTTPTypes
import Hummingbird
import Logging

/// Outermost: names the request, turns whatever is thrown into a problem, and counts.
struct AnswerMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: ChatContext, next: (Request, ChatContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.requestID = Self.sane(request.headers[.requestID]) ?? Self.newID()
        context.logger[metadataKey: "request_id"] = "\(context.requestID)"
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            response = Self.answer(to: error, context)
        }
        response.headers[.requestID] = context.requestID
        response.headers[.xContentTypeOptions] = "nosniff"
        Counter(
            label: "replyx_http_requests_total",
            dimensions: [
                ("method", request.method.rawValue), ("route", context.endpointPath ?? "none"),
                ("status", String(response.status.code)),
            ]
        ).increment()
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

extension HTTPField.Name {
    static let xContentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
}
