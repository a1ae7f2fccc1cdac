import Domain
import FoundationEssentials
import JWTKit

/// What a customer's site signs about a visitor who is logged in there: a JWT (RFC 7519) by HS256 with the assistant's
/// identity secret.
struct IdentityToken: JWTPayload {
    /// Seconds that it may be good for from now: what leaks from a page is not good for long.
    static let longest = 24 * 3600

    let sub: String
    let exp: Double
    let name: String?

    /// - Returns: `nil` for a token that is forged, over, or good for longer than a day.
    static func verified(_ token: String, secret: String) async -> Visitor? {
        let keys = JWTKeyCollection()
        await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
        guard token.utf8.count <= 4096, JWTHeader.isHS256(token),
            let claims = try? await keys.verify(token, as: IdentityToken.self)
        else {
            return nil
        }
        let now = Date().timeIntervalSince1970
        guard claims.exp > now, claims.exp <= now + Double(longest),
            let subject = try? Name(claims.sub, field: "sub"), subject.text == claims.sub
        else { return nil }
        return Visitor(name: try? Name(claims.name, field: "name").text, externalID: subject.text)
    }

    func verify(using algorithm: some JWTAlgorithm) async throws {}
}
