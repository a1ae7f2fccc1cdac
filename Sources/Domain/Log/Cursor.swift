/// A place in a stream: `<generation>-<number>`, as it stands in `id:` and `Last-Event-ID`.
package struct Cursor: Hashable, Sendable {
    /// Raised whenever numbers could be used twice (restore, promotion of a standby).
    package let generation: Int64
    /// The number of the last event that was seen; 0 before the first.
    package let number: Int64

    package init(generation: Int64, number: Int64) {
        self.generation = generation
        self.number = number
    }

    /// - Parameter text: what a client sent. Digits and one hyphen, at most 18 digits a number, no sign, no leading
    ///   zero but `0` itself; anything else is `nil`, so that every cursor has one spelling.
    package init?(_ text: some StringProtocol) {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 2,
            let generation = Self.number(parts[0]), generation > 0,
            let number = Self.number(parts[1])
        else { return nil }
        self.generation = generation
        self.number = number
    }

    private static func number(_ digits: some Collection<UInt8>) -> Int64? {
        guard (1...18).contains(digits.count) else { return nil }
        if digits.count > 1, digits.first == UInt8(ascii: "0") { return nil }
        var value: Int64 = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int64(digit - UInt8(ascii: "0"))
        }
        return value
    }
}

extension Cursor: CustomStringConvertible {
    package var description: String { "\(generation)-\(number)" }
}
