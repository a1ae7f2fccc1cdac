import Crypto
import Domain
import FoundationEssentials

/// Secrets that must be shown again, so that they cannot be hashed: sealed by AES-256-GCM (NIST SP 800-38D) under a key
/// that is derived from the server's secrets (HKDF, RFC 5869). The first secret seals, all open.
struct SecretBox: Sendable {
    /// What a sealed secret is for. It is authenticated with it: put into another row, it does not open.
    enum Purpose: Sendable {
        case platformToken(Account.ID)
        case identity(Assistant.ID)

        fileprivate var text: String {
            switch self {
            case .platformToken(let account): "platform_token:\(account)"
            case .identity(let assistant): "identity:\(assistant)"
            }
        }
    }

    enum Failure: Error {
        /// Sealed under a secret that is not among ours any more, for something else, or spoilt.
        case cannotOpen
    }

    private static let version: UInt8 = 1

    private let keys: [(name: [UInt8], key: SymmetricKey)]

    init(secrets: [String]) {
        keys = secrets.map { secret in
            let key = HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: Data(secret.utf8)), info: Data("replyx at rest".utf8),
                outputByteCount: 32)
            return (Array(SHA256.hash(data: Data("at rest:\(secret)".utf8)).prefix(4)), key)
        }
    }

    /// - Returns: a version, the key's name, and nonce, text and tag.
    func seal(_ secret: String, for purpose: Purpose) throws -> [UInt8] {
        let (name, key) = keys[0]
        let box = try AES.GCM.seal(Data(secret.utf8), using: key, authenticating: Data(purpose.text.utf8))
        guard let combined = box.combined else { preconditionFailure("a nonce of 12 bytes combines") }
        return [Self.version] + name + Array(combined)
    }

    /// - Throws: ``Failure/cannotOpen``.
    func open(_ sealed: [UInt8], for purpose: Purpose) throws -> String {
        guard sealed.first == Self.version, sealed.count > 5,
            let key = keys.first(where: { $0.name == Array(sealed[1..<5]) })?.key,
            let box = try? AES.GCM.SealedBox(combined: Data(sealed[5...])),
            let text = try? AES.GCM.open(box, using: key, authenticating: Data(purpose.text.utf8))
        else { throw Failure.cannotOpen }
        return String(decoding: text, as: UTF8.self)
    }

    /// Whether it should be sealed anew: a secret that is to go does not open it then.
    func isCurrent(_ sealed: [UInt8]) -> Bool {
        sealed.first == Self.version && sealed.count > 5 && keys[0].name == Array(sealed[1..<5])
    }
}
