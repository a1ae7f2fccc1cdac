extension IPAddress {
    /// Whether the address is one host's on the public internet.
    ///
    /// By IANA's registries of special-purpose addresses (RFC 6890), on the safe side: what they reserve for protocols
    /// is not public, though a few of those addresses are reachable. Of IPv6, only what is given out as global unicast
    /// (2000::/3) can be. An address that carries one of IPv4 is public if that one is: a
    /// translator or tunnel on the way may deliver to it.
    package var isPublic: Bool {
        switch unmapped {
        case .v4:
            return !Self.specialV4.contains { $0.contains(self) }
        case .v6(let bits):
            if let embedded = Self.embedded(bits) { return embedded.isPublic }
            return bits >> 125 == 1 && !Self.specialV6.contains { $0.contains(self) }
        }
    }

    /// The IPv4 address to which NAT64 (64:ff9b::/96, RFC 6052) or 6to4 (2002::/16, RFC 3056) deliver.
    private static func embedded(_ bits: UInt128) -> IPAddress? {
        if bits >> 32 == 0x64_ff9b << 64 { return .v4(UInt32(truncatingIfNeeded: bits)) }
        if bits >> 112 == 0x2002 { return .v4(UInt32(truncatingIfNeeded: bits >> 80)) }
        return nil
    }

    private static let specialV4 = ranges(
        "0.0.0.0/8",  // this network
        "10.0.0.0/8",  // private
        "100.64.0.0/10",  // shared by a provider's customers (RFC 6598)
        "127.0.0.0/8",  // loopback
        "169.254.0.0/16",  // link-local; clouds answer there with their secrets
        "172.16.0.0/12",  // private
        "192.0.0.0/24",  // protocol assignments
        "192.0.2.0/24",  // documentation
        "192.88.99.0/24",  // 6to4 relays, withdrawn
        "192.168.0.0/16",  // private
        "198.18.0.0/15",  // benchmarks
        "198.51.100.0/24",  // documentation
        "203.0.113.0/24",  // documentation
        "224.0.0.0/4",  // multicast
        "240.0.0.0/4"  // reserved, broadcast
    )

    /// Within 2000::/3; `::`, `::1`, `::a.b.c.d`, 100::/64, 5f00::/16, fc00::/7, fe80::/10, fec0::/10 and ff00::/8 are
    /// outside.
    private static let specialV6 = ranges(
        "2001::/23",  // protocol assignments, Teredo among them
        "2001:db8::/32",  // documentation
        "3fff::/20"  // documentation (RFC 9637)
    )

    private static func ranges(_ texts: String...) -> [IPRange] {
        texts.map { text in
            guard let range = IPRange(text) else { preconditionFailure("\(text) is no range") }
            return range
        }
    }
}
