/// Text that someone wants to say, already known to be sayable.
package struct Draft: Hashable, Sendable {
    /// At most this many Unicode scalars after trimming.
    package static let limit = 10_000

    package let text: String

    /// - Parameter text: what was typed; surrounding white space is dropped.
    /// - Throws: ``Refusal/textBlank``, ``Refusal/textTooLong(limit:)``, or ``Refusal/textHasNUL``: PostgreSQL's
    ///   `text` cannot hold U+0000 ("Character Types" in its documentation).
    package init(_ text: String) throws(Refusal) {
        let scalars = text.unicodeScalars
        guard !scalars.contains("\0") else { throw .textHasNUL }
        guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
            let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
        else { throw .textBlank }
        let trimmed = scalars[first...last]
        guard trimmed.count <= Self.limit else { throw .textTooLong(limit: Self.limit) }
        self.text = String(trimmed)
    }
}
