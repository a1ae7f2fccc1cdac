import Domain

// Parsed at the door: what comes out of these can be stored.

/// An address that mail could be sent to: something, an at sign, something with a dot; nothing invisible.
struct Email {
    let text: String

    init(_ text: String?) throws {
        let parts = (text ?? "").split(separator: "@", omittingEmptySubsequences: false)
        guard let text, (3...254).contains(text.utf8.count), parts.count == 2, !parts[0].isEmpty,
            parts[1].contains("."), !parts[1].hasPrefix("."), !parts[1].hasSuffix("."),
            text.unicodeScalars.allSatisfy({ !$0.properties.isWhitespace && $0.value > 32 && $0.value != 127 })
        else { throw Problem.invalid("email", "A mail address is needed.") }
        self.text = text
    }
}

/// A password that may be set: long enough to be hard to guess, short enough to hash.
struct NewPassword {
    static let limit = 256

    let text: String

    init(_ text: String?) throws {
        guard let text, text.unicodeScalars.count >= 10, text.utf8.count <= Self.limit else {
            throw Problem.invalid("password", "A password of 10 to \(Self.limit) characters is needed.")
        }
        self.text = text
    }
}

/// A short line of text for people.
struct Name {
    let text: String

    init(_ text: String?, field: String, limit: Int = 200) throws {
        let draft: Draft
        do {
            draft = try Draft(text ?? "")
        } catch {
            throw Problem.invalid(field, "A name of 1 to \(limit) characters is needed.")
        }
        guard draft.text.unicodeScalars.count <= limit,
            draft.text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control })
        else { throw Problem.invalid(field, "A name of 1 to \(limit) characters is needed.") }
        self.text = draft.text
    }
}

extension Name {
    /// An absent or empty name is the empty string.
    static func text(optional text: String?, field: String, limit: Int = 200) throws -> String {
        guard let text, !text.isEmpty else { return "" }
        return try Name(text, field: field, limit: limit).text
    }
}
