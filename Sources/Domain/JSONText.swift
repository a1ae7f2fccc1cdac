package import FoundationEssentials

/// JSON of our own values as one line of text, with the wire's names: `lastMessage` is `last_message`.
package enum JSONText {
    /// - Parameter value: one of ours, which always has a JSON form: no number in them is infinite.
    package static func of(_ value: some Encodable) -> String {
        String(decoding: bytes(of: value), as: UTF8.self)
    }

    package static func bytes(of value: some Encodable) -> Data {
        let encoder = JSONEncoder()
        // Sorted, so that the same value is the same text everywhere.
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        do {
            return try encoder.encode(value)
        } catch {
            preconditionFailure("a value of ours has no JSON: \(error)")
        }
    }
}
