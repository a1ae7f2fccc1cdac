/// A host that an owner names: it stands for itself and for every host below it.
package struct HostRule: Hashable, Sendable {
    /// In lower case, as it is stored.
    package let host: String

    /// - Parameter text: `example.com`, `shop.example.com`, `localhost`, `192.0.2.1`; without scheme, port or path.
    package init?(_ text: String) {
        let host = text.lowercased()
        let labels = host.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard host.utf8.count <= 253,
            labels.allSatisfy({ label in
                // RFC 1123, section 2.1; names in other scripts come as punycode.
                (1...63).contains(label.count) && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
                    && label.allSatisfy(\.isHostByte)
            })
        else { return nil }
        self.host = host
    }

    package func covers(_ other: String) -> Bool {
        other == host || (other.hasSuffix(".\(host)") && !isAddress)
    }

    /// Nothing is below an IPv4 address.
    package var isAddress: Bool { host.utf8.allSatisfy { $0 < UInt8(ascii: "a") && $0 != UInt8(ascii: "-") } }
}

extension UInt8 {
    fileprivate var isHostByte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
    }
}
