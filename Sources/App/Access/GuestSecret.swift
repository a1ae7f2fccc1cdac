import Crypto
import Domain
import FoundationEssentials

/// A visitor's `guest_id`: what makes a dialog theirs. Kept only as a hash.
struct GuestSecret: Sendable {
    let text: String

    /// - Parameter text: a UUID, or 22 to 128 characters of base64url.
    init?(_ text: String) {
        if let uuid = UUID(uuidString: text) {
            // The same guest however it is spelt.
            self.text = uuid.uuidString.lowercased()
            return
        }
        guard (22...128).contains(text.utf8.count), text.utf8.allSatisfy(\.isBase64URL) else { return nil }
        self.text = text
    }

    private init(minted: String) {
        text = minted
    }

    static func mint() -> GuestSecret {
        GuestSecret(minted: UUID().uuidString.lowercased())
    }

    func guest(of assistant: Assistant.ID) -> Guest {
        Guest(assistantID: assistant, hash: Array(SHA256.hash(data: Data(text.utf8))))
    }
}

extension UInt8 {
    fileprivate var isBase64URL: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
