/// Addresses that begin alike: `10.0.0.0/8`.
package struct IPRange: Hashable, Sendable {
    package let base: IPAddress
    package let length: Int

    /// An address and the length of what is fixed; an address alone is a range of one. Bits set behind the length are
    /// refused: `10.0.0.1/8` may have been meant as either.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]) else { return nil }
        var length = address.width
        if parts.count == 2 {
            // `Int` would take "+8" and "08".
            guard let number = Int(parts[1]), String(number) == parts[1], (0...length).contains(number) else {
                return nil
            }
            length = number
        }
        guard address.prefix(length) == address else { return nil }
        // Addresses are compared unmapped, so a range of mapped ones would never match.
        if case .v6 = address, case .v4 = address.unmapped, length >= 96 {
            self.init(base: address.unmapped, length: length - 96)
        } else {
            self.init(base: address, length: length)
        }
    }

    private init(base: IPAddress, length: Int) {
        self.base = base
        self.length = length
    }

    /// Whether an address is one of these; a mapped one is taken for what it maps.
    package func contains(_ address: IPAddress) -> Bool {
        let address = address.unmapped
        return address.width == base.width && address.prefix(length) == base
    }

    /// Ranges by commas; an empty text is none.
    /// - Throws: ``Invalid``, naming the first part that is no range.
    package static func list(_ text: String) throws(Invalid) -> [IPRange] {
        var ranges: [IPRange] = []
        for part in text.split(separator: ",") {
            guard let range = IPRange(part.trimmed) else { throw Invalid(part: String(part.trimmed)) }
            ranges.append(range)
        }
        return ranges
    }

    package struct Invalid: Error, Equatable, CustomStringConvertible {
        package let part: String

        package var description: String {
            "\"\(part.prefix(60))\" is no address and no range of addresses (10.0.0.0/8, 2001:db8::/32)"
        }
    }
}

extension IPRange: CustomStringConvertible {
    package var description: String { "\(base)/\(length)" }
}

extension IPAddress {
    var width: Int {
        switch self {
        case .v4: 32
        case .v6: 128
        }
    }

    /// With everything behind the first `length` bits cleared.
    func prefix(_ length: Int) -> IPAddress {
        switch self {
        // Smart shifts: one by the whole width clears all.
        case .v4(let bits): .v4(bits & ~(UInt32.max >> UInt32(length)))
        case .v6(let bits): .v6(bits & ~(UInt128.max >> UInt128(length)))
        }
    }
}

extension Substring {
    /// Without spaces and tabs at its ends.
    var trimmed: Substring {
        func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }
        guard let last = lastIndex(where: { !isBlank($0) }) else { return "" }
        return self[...last].drop(while: isBlank)
    }
}
