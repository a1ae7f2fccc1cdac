import Crypto
import Domain
import FoundationEssentials

/// What Redis sees of a limit's subject, as its contents and `MONITOR` are seen by others. Keyed, because there are only
/// so many addresses to try.
struct LimitDigest: Sendable, Hashable {
    private let high: UInt64
    private let low: UInt64

    fileprivate init(_ code: HMAC<SHA256>.MAC) {
        (high, low) = code.withUnsafeBytes { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    /// One hash tag for all, as a script's keys must be in one slot of a cluster. The price: all limits live on one of
    /// its servers, about four commands each.
    func key(_ kind: String) -> String {
        "replyx:{limit}:\(kind):\(Self.hexadecimal(high))\(Self.hexadecimal(low))"
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// What digests are made with, the same on every node.
struct LimitSecret: Sendable {
    private let key: SymmetricKey

    init(_ text: String) {
        key = SymmetricKey(data: Data(text.utf8))
    }

    func digest(of limit: LimitKey) -> LimitDigest {
        let text = "limit:\(limit.name.rawValue):\(limit.subject)"
        return LimitDigest(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key))
    }
}
