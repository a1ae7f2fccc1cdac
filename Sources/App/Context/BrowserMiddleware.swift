import Domain
import HTTPTypes
import Hummingbird

/// What browsers are told with every answer: who may read it, who may frame it, what a page may load.
struct BrowserMiddleware: RouterMiddleware {
    /// Says which pages may frame the chat of the request's site token.
    let ancestors: @Sendable (Request) async -> String
    let isSecure: Bool

    private static let readable =
        "x-request-id, idempotent-replayed, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset"

    func handle(
        _ request: Request, context: ChatContext, next: (Request, ChatContext) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        let isForVisitors = request.isForVisitors
        var response = try await next(request, context)
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[.referrerPolicy] = "no-referrer"
        // RFC 6797, section 7.2: not over plain HTTP, where it would mean nothing.
        if isSecure { response.headers[.strictTransportSecurity] = "max-age=31536000" }
        if path.hasPrefix("/api/") {
            response.headers[.contentSecurityPolicy] = "default-src 'none'; frame-ancestors 'none'"
        } else if Self.isChat(path) {
            response.headers[.contentSecurityPolicy] = Self.policy(framedBy: await ancestors(request))
            // It differs by token.
            response.headers[.cacheControl] = "private, no-store"
        } else {
            response.headers[.contentSecurityPolicy] = Self.policy(framedBy: "'none'")
        }
        if isForVisitors {
            response.headers[.vary] = "Origin"
            if let origin = context.allowedOrigin.value {
                response.headers[.accessControlAllowOrigin] = origin
                response.headers[.accessControlExposeHeaders] = Self.readable
            }
        }
        return response
    }

    private static func isChat(_ path: String) -> Bool { path == "/chat" || path.hasPrefix("/chat/") }

    /// Pictures of assistants may come from anywhere by https.
    private static func policy(framedBy ancestors: String) -> String {
        "default-src 'self'; img-src 'self' https: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
            + "frame-ancestors \(ancestors)"
    }
}

/// Answers browsers that ask whether they may ask (Fetch standard, "CORS-preflight fetch"). Alike for everybody: such a
/// question carries no credential, and the answer to the request itself decides.
struct PreflightMiddleware: RouterMiddleware {
    private static let sendable = "content-type, x-site-token, x-guest-id, x-identity, x-request-id, last-event-id"

    func handle(
        _ request: Request, context: ChatContext, next: (Request, ChatContext) async throws -> Response
    ) async throws -> Response {
        guard request.method == .options, request.isForVisitors else { return try await next(request, context) }
        return Response(
            status: .noContent,
            headers: [
                .accessControlAllowOrigin: "*", .accessControlAllowMethods: "GET, POST",
                .accessControlAllowHeaders: Self.sendable, .accessControlMaxAge: "7200",
            ])
    }
}

extension Request {
    /// The paths that pages of other sites may ask.
    fileprivate var isForVisitors: Bool {
        let path = uri.path
        return path.hasPrefix("/api/site/") || path.hasPrefix("/api/widget/") || path == "/api/widget-config"
    }
}

extension HTTPField.Name {
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
}
