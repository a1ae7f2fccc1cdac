/// The proxies in front of this server: only from them `X-Forwarded-For` is believed. Everybody else can write it.
package struct TrustedProxies: Sendable, Equatable {
    /// No more than this many hops are looked at; a chain that long is nobody's.
    package static let hopLimit = 32

    private let ranges: [IPRange]

    /// - Parameter setting: addresses and ranges by commas; empty: no proxy is trusted.
    package init(_ setting: String) throws(IPRange.Invalid) {
        ranges = try IPRange.list(setting)
    }

    private func contains(_ address: IPAddress) -> Bool {
        ranges.contains { $0.contains(address) }
    }

    /// Who is at the other end: the connection's own address, or, where that is a trusted proxy, the right-most one of
    /// the list that is not. Each proxy appends the address that it saw, so what is left of the first untrusted one was
    /// written by anybody. At something that is no address, what was known before it counts.
    /// - Parameters:
    ///   - connection: the peer's address; what is none (a socket's path) is returned as it is.
    ///   - forwardedFor: the values of the header's fields, in their order.
    package func client(of connection: String, forwardedFor: [String]) -> String {
        guard var client = IPAddress(connection)?.unmapped else { return connection }
        var hops = 0
        for field in forwardedFor.reversed() {
            for element in field.split(separator: ",").reversed() {
                guard contains(client), hops < Self.hopLimit, let next = Self.address(element) else {
                    return client.description
                }
                client = next
                hops += 1
            }
        }
        return client.description
    }

    /// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
    private static func address(_ element: Substring) -> IPAddress? {
        let text = element.trimmed
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]"), isPort(text[end...].dropFirst()) else { return nil }
            let address = IPAddress(text[..<end].dropFirst())
            if case .v6 = address { return address?.unmapped } else { return nil }
        }
        if text.contains("."), let colon = text.firstIndex(of: ":"), isPort(text[colon...]) {
            return IPAddress(text[..<colon])
        }
        return IPAddress(text)?.unmapped
    }

    /// Nothing, or a colon and a number.
    private static func isPort(_ text: Substring) -> Bool {
        text.isEmpty || (text.first == ":" && UInt16(text.dropFirst()) != nil)
    }
}
