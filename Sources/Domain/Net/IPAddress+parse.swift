extension IPAddress {
    /// The forms of RFC 4291, section 2.2, and dotted IPv4 of four decimal parts. Nothing that only some programs read
    /// as an address: no octal or hexadecimal parts, no shortened IPv4, no brackets, no zone (`%eth0`).
    package init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        // The longest is 45: six groups of four and a dotted part.
        guard bytes.count <= 45 else { return nil }
        if bytes.contains(UInt8(ascii: ":")) {
            guard let bits = Self.v6(bytes) else { return nil }
            self = .v6(bits)
        } else {
            guard let bits = Self.v4(bytes[...]) else { return nil }
            self = .v4(bits)
        }
    }

    private static func v4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else { return nil }
            var value: UInt32 = 0
            for character in part {
                guard let digit = digit(character), digit < 10 else { return nil }
                value = value * 10 + UInt32(digit)
            }
            guard value <= 255 else { return nil }
            bits = bits << 8 | value
        }
        return bits
    }

    private static func v6(_ text: [UInt8]) -> UInt128? {
        let colon = UInt8(ascii: ":")
        let gap = text.indices.dropLast().first { text[$0] == colon && text[$0 + 1] == colon }
        guard let gap else {
            guard let all = groups(text[...], isLast: true), all.count == 8 else { return nil }
            return bits(all)
        }
        // A second `::` leaves an empty group, which is refused there.
        guard let before = groups(text[..<gap], isLast: false), let after = groups(text[(gap + 2)...], isLast: true),
            before.count + after.count <= 7
        else { return nil }
        return bits(before + Array(repeating: 0, count: 8 - before.count - after.count) + after)
    }

    /// Groups between single colons.
    /// - Parameter isLast: whether the address ends here: only there may a dotted part stand.
    private static func groups(_ text: ArraySlice<UInt8>, isLast: Bool) -> [UInt16]? {
        guard !text.isEmpty else { return [] }
        var groups: [UInt16] = []
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if isLast, index == parts.count - 1, part.contains(UInt8(ascii: ".")) {
                guard let dotted = v4(part) else { return nil }
                groups += [UInt16(dotted >> 16), UInt16(truncatingIfNeeded: dotted)]
            } else {
                guard (1...4).contains(part.count) else { return nil }
                var group: UInt16 = 0
                for character in part {
                    guard let digit = digit(character) else { return nil }
                    group = group << 4 | UInt16(digit)
                }
                groups.append(group)
            }
        }
        return groups
    }

    private static func bits(_ groups: [UInt16]) -> UInt128 {
        groups.reduce(0) { $0 << 16 | UInt128($1) }
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
