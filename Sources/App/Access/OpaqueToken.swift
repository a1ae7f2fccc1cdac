import Crypto
import FoundationEssentials

/// A secret that means nothing by itself: 32 random bytes, of which the database keeps the SHA-256.
struct OpaqueToken: Sendable {
    let text: String

    /// - Parameter prefix: tells people and scanners of leaked secrets what they have before them.
    static func mint(_ prefix: String) -> OpaqueToken {
        let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max) }
        return OpaqueToken(text: prefix + bytes.base64URL)
    }

    private init(text: String) {
        self.text = text
    }

    /// - Parameter text: what a client sent; anything of another form names nothing.
    init?(_ text: String, prefix: String) {
        guard text.hasPrefix(prefix), text.utf8.count == prefix.utf8.count + 43 else { return nil }
        self.text = text
    }

    var hash: [UInt8] { Array(SHA256.hash(data: Data(text.utf8))) }
}

/// What a program renews its session with: the session, a number, and a proof that both are from here. Made from
/// these alone, so that a number has one token, however often it is asked for.
struct RefreshToken: Sendable, Equatable {
    static let prefix = "rxr_"

    let session: UUID
    let number: Int64

    /// - Parameter secret: the first of the server's; all of them are tried when one comes back.
    func text(signedWith secret: String) -> String {
        Self.prefix + (head + proof(secret)).base64URL
    }

    init(session: UUID, number: Int64) {
        self.session = session
        self.number = number
    }

    init?(_ text: String, secrets: [String]) {
        guard text.hasPrefix(Self.prefix), let bytes = [UInt8](base64URL: text.dropFirst(Self.prefix.count)),
            bytes.count == 16 + 8 + 32
        else { return nil }
        let uuid = bytes.prefix(16).withUnsafeBytes { $0.loadUnaligned(as: uuid_t.self) }
        session = UUID(uuid: uuid)
        number = bytes[16..<24].reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let shown = Array(bytes.suffix(32))
        guard number >= 0, secrets.contains(where: { proof($0).isEqualInConstantTime(to: shown) }) else { return nil }
    }

    private var head: [UInt8] {
        withUnsafeBytes(of: session.uuid) { Array($0) }
            + (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
    }

    private func proof(_ secret: String) -> [UInt8] {
        let key = SymmetricKey(data: Data("refresh:\(secret)".utf8))
        return Array(HMAC<SHA256>.authenticationCode(for: Data(head), using: key))
    }
}

extension [UInt8] {
    /// RFC 4648, section 5, without padding.
    var base64URL: String {
        Data(self).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    init?(base64URL text: some StringProtocol) {
        let plain = String(text).replacing("-", with: "+").replacing("_", with: "/")
        guard !text.contains(where: { "+/=".contains($0) }),
            let data = Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4))
        else { return nil }
        self = Array(data)
    }
}
