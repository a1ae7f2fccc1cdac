package import Foundation

/// A value that can be bound to `$n`. PostgreSQL infers the type from the statement, so a text that leaves it
/// open needs a cast there (`$1::bigint[]`).
package protocol Bindable: Sendable {
    /// Appends the value in PostgreSQL's text form.
    /// - Returns: false for NULL, and then nothing was appended.
    func appendText(to bytes: inout [UInt8]) -> Bool
}

extension Int64: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: String(self).utf8)
        return true
    }
}

extension Int: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool { Int64(self).appendText(to: &bytes) }
}

extension Int32: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool { Int64(self).appendText(to: &bytes) }
}

extension Bool: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        bytes.append(self ? UInt8(ascii: "t") : UInt8(ascii: "f"))
        return true
    }
}

extension Double: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        // Swift writes the shortest digits that read back as the same number; only these three are spelled otherwise.
        let text = isNaN ? "NaN" : isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : description
        bytes.append(contentsOf: text.utf8)
        return true
    }
}

extension String: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: utf8)
        return true
    }
}

extension UUID: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: uuidString.utf8)
        return true
    }
}

extension Optional: Bindable where Wrapped: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        guard let self else { return false }
        return self.appendText(to: &bytes)
    }
}

/// An array is one value too: an array literal, or `bytea` when its elements are bytes.
extension Array: Bindable where Element: BindableElement {
    package func appendText(to bytes: inout [UInt8]) -> Bool {
        Element.appendArray(self, to: &bytes)
        return true
    }
}
