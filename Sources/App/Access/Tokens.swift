import Crypto
import Domain
import FoundationEssentials
import JWTKit

/// What this server signs. Each kind of token says which it is, so that none can be used as another.
struct Tokens: Sendable {
    enum Failure: Error, Equatable {
        /// Not ours, not of this kind, or spoilt.
        case invalid
        /// Ours, and its time is over.
        case expired
    }

    /// Seconds.
    static let accessLifetime = 15 * 60
    static let streamLifetime = 60 * 60

    private let keys: JWTKeyCollection
    private let signingKey: JWKIdentifier
    private let secrets: [String]

    /// - Parameter secrets: the first signs, all verify; so keys rotate without anybody being logged out.
    init(secrets: [String]) async {
        precondition(!secrets.isEmpty, "a server has a secret")
        self.secrets = secrets
        keys = JWTKeyCollection()
        for secret in secrets {
            // A key's name is public; it tells nothing of the key.
            await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256, kid: Self.name(of: secret))
        }
        signingKey = Self.name(of: secrets[0])
    }

    private static func name(of secret: String) -> JWKIdentifier {
        JWKIdentifier(string: Array(SHA256.hash(data: Data("kid:\(secret)".utf8)).prefix(6)).hexadecimal)
    }

    func sign(_ claims: some Claims) async throws -> String {
        try await keys.sign(claims, kid: signingKey)
    }

    /// - Throws: ``Failure``.
    func verify<Token: Claims>(_ token: String, as type: Token.Type = Token.self) async throws -> Token {
        // No token of ours is near this long; what is longer is not worth decoding.
        guard token.utf8.count <= 4096, JWTHeader.isHS256(token), let claims = try? await keys.verify(token, as: type),
            claims.typ == Token.kind
        else { throw Failure.invalid }
        if let expiry = claims.exp, Double(expiry) <= Date().timeIntervalSince1970 { throw Failure.expired }
        return claims
    }

    /// As ``verify(_:as:)``, with 401 for what never was ours.
    func verifyOrExpired<Token: Claims>(_ token: String, as type: Token.Type) async throws -> Token {
        do {
            return try await verify(token, as: type)
        } catch Failure.invalid {
            throw Problem.unauthorized
        }
    }

    func sign(_ token: RefreshToken) -> String { token.text(signedWith: secrets[0]) }

    /// - Returns: `nil` for what was not made here.
    func refreshToken(_ text: String) -> RefreshToken? { RefreshToken(text, secrets: secrets) }

    static func expiry(in seconds: Int) -> Int { Int(Date().timeIntervalSince1970) + seconds }
}

/// A token that says it is signed in another way than ours is none of ours, whatever its signature (RFC 8725,
/// section 3.1).
enum JWTHeader {
    private struct Header: Decodable {
        let alg: String
    }

    static func isHS256(_ token: String) -> Bool {
        guard let bytes = [UInt8](base64URL: token.prefix { $0 != "." }),
            let header = try? JSONDecoder().decode(Header.self, from: Data(bytes))
        else { return false }
        return header.alg == "HS256"
    }
}

/// The content of one kind of token.
protocol Claims: JWTPayload {
    static var kind: String { get }
    var typ: String { get }
    /// Seconds since 1970; `nil` for tokens that are revoked, not expired.
    var exp: Int? { get }
}

extension Claims {
    /// The signature is checked before this is called, the kind and the time after it (``Tokens/verify(_:as:)``), where
    /// they can be told apart.
    func verify(using algorithm: some JWTAlgorithm) async throws {}
}

/// An operator's program for a quarter of an hour.
struct AccessToken: Claims {
    static let kind = "access"
    var typ = kind
    let sub: String
    let account: Int64
    /// The session that it was given out in: with it, it ends.
    let sid: UUID
    let iat: Int
    let exp: Int?
}

/// Names an assistant on a customer's site. Public: it stands in the page.
struct SiteToken: Claims {
    static let kind = "site"
    var typ = kind
    let assistantID: Int64
    let domains: [String]
    /// The assistant's token version; a token of another one is revoked.
    let version: Int
    var exp: Int? { nil }

    enum CodingKeys: String, CodingKey {
        case typ
        case assistantID = "assistant_id"
        case domains, version
    }
}

/// For `EventSource`, which cannot send headers: one stream, any number of connections.
struct StreamToken: Claims {
    static let kind = "stream"
    var typ = kind
    /// An operator's session: with it, it ends.
    let sid: UUID?
    /// A visitor's assistant, the version of the site token that they came by (none: by the number), and the mark of the
    /// guest, which opens nothing: what ends these ends the token.
    let assistant: Int64?
    let version: Int?
    let guest: String?
    let account: Int64
    /// The dialog whose stream it opens; `nil` for the account's.
    let dialog: Int64?
    let exp: Int?

    init(for credential: StreamCredential, account: Int64, dialog: Int64?, exp: Int) {
        switch credential {
        case .session(let id):
            sid = id
            assistant = nil
            version = nil
            guest = nil
        case .visitor(let pass):
            sid = nil
            assistant = pass.assistantID.rawValue
            if case .site(let number) = pass.door { version = number } else { version = nil }
            guest = pass.guest?.text
        }
        self.account = account
        self.dialog = dialog
        self.exp = exp
    }

    /// Whom it was made for; `nil` where it names nobody.
    var subject: StreamCredential? {
        if let sid { return .session(sid) }
        guard let assistant else { return nil }
        return .visitor(
            VisitorPass(
                assistantID: Assistant.ID(assistant), door: version.map { .site(version: $0) } ?? .number,
                guest: guest.map(GuestMark.init(text:))))
    }
}
