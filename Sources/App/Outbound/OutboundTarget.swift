import Domain

/// A URL taken apart by the one reading that counts: what is called is ``url``, put together again from these parts, so
/// that no other parser can see another host in it. (It is stricter than the WHATWG's; nothing is repaired.)
struct OutboundTarget: Hashable, Sendable {
    enum Host: Hashable, Sendable {
        /// In lower case.
        case name(String)
        case address(IPAddress)
    }

    static let lengthLimit = 2000

    let isSecure: Bool
    let host: Host
    let port: Int
    /// The path with its query, beginning with a slash. A fragment is not sent, so it is not kept.
    let path: String

    init(_ url: String) throws(OutboundRefusal) {
        guard url.utf8.count <= Self.lengthLimit else { throw .tooLong }
        guard url.utf8.allSatisfy(Self.isUsual) else { throw .malformed }
        if url.lowercased().hasPrefix("https://") {
            isSecure = true
        } else if url.lowercased().hasPrefix("http://") {
            isSecure = false
        } else {
            throw .notHTTP
        }
        let rest = url.dropFirst(isSecure ? 8 : 7).prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.contains("@") else { throw .hasCredentials }
        let portText: Substring
        (host, portText) = try Self.host(authority)
        port = try Self.port(portText) ?? (isSecure ? 443 : 80)
        let path = rest.dropFirst(authority.count)
        guard Self.hasWholeEscapes(path) else { throw .malformed }
        self.path = path.first == "/" ? String(path) : "/" + path
    }

    var url: String { description + path }

    /// The host, and what is behind it.
    private static func host(_ authority: Substring) throws(OutboundRefusal) -> (Host, Substring) {
        if authority.first == "[" {
            guard let end = authority.firstIndex(of: "]") else { throw .malformed }
            let inside = authority[..<end].dropFirst()
            guard let address = IPAddress(inside), case .v6 = address else { throw .malformed }
            return (.address(address), authority[end...].dropFirst())
        }
        let text = authority.prefix { $0 != ":" }
        guard !text.isEmpty else { throw .noHost }
        let behind = authority.dropFirst(text.count)
        if let address = IPAddress(text) { return (.address(address), behind) }
        let labels = text.lowercased().split(separator: ".", omittingEmptySubsequences: false)
        // Other programs read `127.1`, `2130706433` and `0x7f.1` as addresses; no name ends in a number.
        guard text.utf8.count <= 253, labels.allSatisfy(isLabel), let last = labels.last, !isNumber(last) else {
            throw .malformed
        }
        return (.name(labels.joined(separator: ".")), behind)
    }

    private static func port(_ text: Substring) throws(OutboundRefusal) -> Int? {
        guard let colon = text.first else { return nil }
        guard colon == ":" else { throw .malformed }
        let digits = text.dropFirst()
        if digits.isEmpty { return nil }
        guard digits.utf8.allSatisfy(isDigit), digits.utf8.count <= 5, let port = Int(digits),
            (1...65_535).contains(port)
        else { throw .badPort }
        return port
    }

    private static func isLabel(_ text: Substring) -> Bool {
        (1...63).contains(text.utf8.count) && text.first != "-" && text.last != "-"
            && text.utf8.allSatisfy {
                isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "-")
                    || $0 == UInt8(ascii: "_")
            }
    }

    private static func isNumber(_ label: Substring) -> Bool {
        label.utf8.allSatisfy(isDigit) || label.hasPrefix("0x") && label.dropFirst(2).allSatisfy(\.isHexDigit)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// Visible ASCII, without what RFC 3986 leaves out. Brackets are checked where they stand.
    private static func isUsual(_ byte: UInt8) -> Bool {
        (0x21...0x7e).contains(byte) && !#""<>\^`{|}"#.utf8.contains(byte)
    }

    /// Each `%` is followed by two hexadecimal digits, and there are no brackets.
    private static func hasWholeEscapes(_ path: Substring) -> Bool {
        guard !path.contains(where: { $0 == "[" || $0 == "]" }) else { return false }
        return path.split(separator: "%", omittingEmptySubsequences: false).dropFirst().allSatisfy {
            $0.prefix(2).count == 2 && $0.prefix(2).allSatisfy(\.isHexDigit)
        }
    }
}

/// Scheme, host and port: what may be shown and logged.
extension OutboundTarget: CustomStringConvertible {
    var description: String {
        let scheme = isSecure ? "https" : "http"
        let suffix = port == (isSecure ? 443 : 80) ? "" : ":\(port)"
        return switch host {
        case .name(let name): "\(scheme)://\(name)\(suffix)"
        case .address(.v4(let bits)): "\(scheme)://\(IPAddress.v4(bits))\(suffix)"
        case .address(.v6(let bits)): "\(scheme)://[\(IPAddress.v6(bits))]\(suffix)"
        }
    }
}
