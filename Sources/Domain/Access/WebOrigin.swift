/// What a browser says a request comes from (RFC 6454, section 7): scheme, host and port, and nothing behind them.
package struct WebOrigin: Hashable, Sendable {
    package let scheme: String
    /// As it was written, in lower case; an IPv6 address keeps its brackets.
    package let host: String
    /// The scheme's own where none was written.
    package let port: Int

    /// - Parameter text: `https://shop.example.com`, `http://localhost:8080`. `null`, paths, user names and anything
    ///   else are `nil`.
    package init?(_ text: String) {
        let lower = text.lowercased()
        guard lower.utf8.count <= 300, lower.utf8.allSatisfy({ $0 > 32 && $0 < 127 }),
            let colon = lower.firstRange(of: "://")
        else { return nil }
        scheme = String(lower[..<colon.lowerBound])
        guard scheme == "http" || scheme == "https" else { return nil }
        let rest = lower[colon.upperBound...]
        var hostEnd = rest.endIndex
        if rest.first == "[" {
            guard let bracket = rest.firstIndex(of: "]") else { return nil }
            hostEnd = rest.index(after: bracket)
        } else if let colon = rest.firstIndex(of: ":") {
            hostEnd = colon
        }
        host = String(rest[..<hostEnd])
        let tail = rest[hostEnd...]
        if tail.isEmpty {
            port = scheme == "https" ? 443 : 80
        } else {
            let digits = tail.dropFirst()
            guard tail.first == ":", (1...5).contains(digits.utf8.count),
                digits.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
                let number = Int(digits), (1...65_535).contains(number)
            else { return nil }
            port = number
        }
        guard host.first == "[" ? host.utf8.dropFirst().dropLast().allSatisfy(\.isIPv6Byte) : HostRule(host) != nil
        else { return nil }
    }

    /// Whether it is this very machine, by any of its names.
    package var isLoopback: Bool { host == "localhost" || host == "[::1]" || host.hasPrefix("127.") && isIPv4 }

    private var isIPv4: Bool { HostRule(host)?.isAddress ?? false }
}

extension UInt8 {
    fileprivate var isIPv6Byte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"),
            UInt8(ascii: "."):
            true
        default: false
        }
    }
}
