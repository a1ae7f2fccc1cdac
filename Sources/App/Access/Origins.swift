import Domain
import HTTPTypes
import Hummingbird
import Synchronization

/// Which pages a request may come from. A rule of browsers, which say it truthfully; no credential: other programs say
/// what they like (RFC 6454).
struct Origins: Sendable {
    private let own: WebOrigin?

    init(publicURL: String) {
        own = WebOrigin(publicURL)
    }

    /// Whether it is a page of ours. A server on loopback has several names there.
    func isOwn(_ text: String) -> Bool {
        guard let own, let origin = WebOrigin(text) else { return false }
        return origin == own || (own.isLoopback && origin.isLoopback)
    }

    /// - Throws: 403 for a page that neither is ours nor may embed the assistant.
    func confirm(_ request: Request, for assistant: Assistant, _ context: ChatContext) throws {
        let shown = request.headers[values: .origin]
        guard let text = shown.first else { return }
        guard shown.count == 1, isOwn(text) || Self.isAllowed(text, by: assistant.profile.allowedDomains) else {
            throw Problem(.forbidden, "origin_not_allowed", "This page is not one of the assistant's sites.")
        }
        context.allowedOrigin.set(text)
    }

    /// For paths that rely on a cookie.
    func confirmOwn(_ request: Request) throws {
        guard request.headers[values: .origin].allSatisfy(isOwn) else {
            throw Problem(.forbidden, "cross_origin", "Not from a page of another origin.")
        }
    }

    static func isAllowed(_ text: String, by domains: [String]) -> Bool {
        guard let origin = WebOrigin(text) else { return false }
        return domains.contains { HostRule($0)?.covers(origin.host) ?? false }
    }

    /// `frame-ancestors` for an assistant's frame (CSP Level 3, section 6.4.2): our own pages and its sites.
    static func ancestors(_ domains: [String]) -> String {
        var sources = ["'self'"]
        for rule in domains.compactMap({ HostRule($0) }) {
            // `http` is for `https` too (section 6.7.2.8, "scheme-part matches").
            sources.append("http://\(rule.host):*")
            if !rule.isAddress { sources.append("http://*.\(rule.host):*") }
        }
        return sources.joined(separator: " ")
    }
}

/// The page that may read the answer. A route finds it out, the outermost middleware says it.
final class AllowedOrigin: Sendable {
    private let origin = Mutex<String?>(nil)

    var value: String? { origin.withLock { $0 } }

    func set(_ text: String) {
        origin.withLock { $0 = text }
    }
}
