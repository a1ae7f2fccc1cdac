import FoundationEssentials
import HTTPTypes
import Hummingbird

/// The panel's session cookie, and what a request that relies on it must show: a cookie is sent along with requests
/// that other sites make too.
struct PanelCookie: Sendable {
    static let prefix = "rxs_"

    /// Behind TLS with the prefix that ties a cookie to its host, to `/` and to TLS (RFC 6265bis, section 4.1.3.2).
    let name: String
    private let isSecure: Bool
    private let origins: Origins

    init(publicURL: String, origins: Origins) {
        isSecure = publicURL.hasPrefix("https://")
        name = isSecure ? "__Host-replyx" : "replyx"
        self.origins = origins
    }

    func token(in request: Request) -> OpaqueToken? {
        request.cookie(name).flatMap { OpaqueToken($0, prefix: Self.prefix) }
    }

    // MARK: Devices

    /// Tells a browser that somebody has logged in from before. It opens nothing.
    private var deviceName: String { "\(name)-device" }

    func device(in request: Request) -> String? { request.cookie(deviceName) }

    func settingDevice(_ token: String) -> String { "\(deviceName)=\(token); Max-Age=15552000; \(attributes)" }

    func setting(_ token: OpaqueToken) -> String { "\(name)=\(token.text); \(attributes)" }

    var removing: String { "\(name)=; Max-Age=0; \(attributes)" }

    private var attributes: String { "Path=/; HttpOnly; SameSite=Lax" + (isSecure ? "; Secure" : "") }

    /// A write with the cookie must come from a page of ours: it carries a header that no form can, and the browser
    /// says that it is of the same origin.
    /// - Throws: 403.
    func confirmWrite(_ request: Request) throws {
        guard request.method != .get && request.method != .head else { return }
        guard request.headers[.replyx] == "1" else {
            throw Problem(.forbidden, "write_header_missing", "Send X-Replyx: 1 with a session cookie.")
        }
        let isSameOrigin =
            if let site = request.headers[.secFetchSite] {
                site == "same-origin"
            } else {
                request.headers[.origin].map(origins.isOwn) ?? false
            }
        guard isSameOrigin else { throw Problem(.forbidden, "cross_origin", "Not from a page of another origin.") }
    }
}

extension Request {
    fileprivate func cookie(_ name: String) -> String? {
        for header in headers[values: .cookie] {
            for pair in header.split(separator: ";") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == name[...] else { continue }
                return String(parts[1])
            }
        }
        return nil
    }
}

extension HTTPField.Name {
    static let replyx = HTTPField.Name("X-Replyx")!
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!
}
