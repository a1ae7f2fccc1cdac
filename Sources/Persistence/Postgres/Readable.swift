package import Foundation

/// What a column's text can be read as.
package protocol Readable: Sendable {
    /// - Parameter text: the field in PostgreSQL's text form; nil is NULL.
    /// - Returns: nil when the text is not of this type.
    static func read(_ text: ArraySlice<UInt8>?) -> Self?
}

extension String: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> String? {
        text.map { String(decoding: $0, as: UTF8.self) }
    }
}

extension FixedWidthInteger where Self: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> Self? {
        String.read(text).flatMap { Self($0) }
    }
}

extension Int64: Readable {}
extension Int: Readable {}
extension Int32: Readable {}

extension Bool: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> Bool? {
        guard let text, text.count == 1 else { return nil }
        switch text.first {
        case UInt8(ascii: "t"): return true
        case UInt8(ascii: "f"): return false
        default: return nil
        }
    }
}

extension Double: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> Double? {
        String.read(text).flatMap { Double($0) }
    }
}

extension UUID: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> UUID? {
        String.read(text).flatMap { UUID(uuidString: $0) }
    }
}

extension Optional: Readable where Wrapped: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> Wrapped?? {
        guard let text else { return .some(nil) }
        // Text that is no `Wrapped` is an error, not a NULL.
        return Wrapped.read(text).map { .some($0) }
    }
}

extension Array: Readable where Element: ReadableElement {
    package static func read(_ text: ArraySlice<UInt8>?) -> [Element]? {
        text.flatMap { Element.readArray($0) }
    }
}

/// What an array's elements can be read as.
package protocol ReadableElement: Sendable {
    static func readArray(_ text: ArraySlice<UInt8>) -> [Self]?
}

extension ReadableElement where Self: Readable {
    package static func readArray(_ text: ArraySlice<UInt8>) -> [Self]? {
        guard let elements = ArrayLiteral.elements(of: text) else { return nil }
        var values: [Self] = []
        values.reserveCapacity(elements.count)
        for element in elements {
            guard let value = Self.read(element.map { $0[...] }) else { return nil }
            values.append(value)
        }
        return values
    }
}

extension String: ReadableElement {}
extension Int64: ReadableElement {}
extension Int: ReadableElement {}
extension Bool: ReadableElement {}
extension UUID: ReadableElement {}
extension Optional: ReadableElement where Wrapped: Readable {}

extension UInt8: ReadableElement {
    /// `bytea` in its hexadecimal form.
    package static func readArray(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.starts(with: "\\x".utf8), text.count.isMultiple(of: 2) else { return nil }
        var values: [UInt8] = []
        values.reserveCapacity(text.count / 2 - 1)
        var index = text.startIndex + 2
        while index < text.endIndex {
            guard let high = nibble(text[index]), let low = nibble(text[index + 1]) else { return nil }
            values.append(high << 4 | low)
            index += 2
        }
        return values
    }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

/// PostgreSQL's text form of a one-dimensional array.
private enum ArrayLiteral {
    /// - Returns: the elements with their quoting taken off, nil for NULL; or nil when this is no such literal.
    static func elements(of text: ArraySlice<UInt8>) -> [[UInt8]?]? {
        guard text.first == UInt8(ascii: "{"), text.last == UInt8(ascii: "}"), text.count >= 2 else { return nil }
        var rest = text.dropFirst().dropLast()
        var elements: [[UInt8]?] = []
        if rest.isEmpty { return elements }
        while true {
            if rest.first == UInt8(ascii: "\"") {
                guard let quoted = takeQuoted(&rest) else { return nil }
                elements.append(quoted)
            } else {
                let plain = rest.prefix { $0 != UInt8(ascii: ",") }
                guard !plain.isEmpty, plain.first != UInt8(ascii: "{") else { return nil }
                elements.append(plain.elementsEqual("NULL".utf8) ? nil : Array(plain))
                rest = rest.dropFirst(plain.count)
            }
            guard let separator = rest.popFirst() else { return elements }
            guard separator == UInt8(ascii: ",") else { return nil }
        }
    }

    private static func takeQuoted(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
        rest.removeFirst()
        var element: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return element
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst() else { return nil }
                element.append(escaped)
            default: element.append(byte)
            }
        }
        return nil
    }
}
