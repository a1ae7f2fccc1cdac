package import Foundation

/// What can stand in a bound array.
package protocol BindableElement: Sendable {
    /// Appends this element as it stands in an array literal, quoted where it has to be.
    func appendElement(to bytes: inout [UInt8])
    /// Appends the whole array. Bytes alone do otherwise than the default: their array is a `bytea`.
    static func appendArray(_ elements: [Self], to bytes: inout [UInt8])
}

extension BindableElement {
    package static func appendArray(_ elements: [Self], to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "{"))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            element.appendElement(to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }
}

extension Int64: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) { _ = appendText(to: &bytes) }
}

extension Int: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) { _ = appendText(to: &bytes) }
}

extension Int32: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) { _ = appendText(to: &bytes) }
}

extension Bool: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) { _ = appendText(to: &bytes) }
}

extension Double: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) { _ = appendText(to: &bytes) }
}

extension UUID: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) { _ = appendText(to: &bytes) }
}

extension String: BindableElement {
    /// Always quoted, so that `NULL`, braces, commas, spaces and the empty string stay text.
    package func appendElement(to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { bytes.append(UInt8(ascii: "\\")) }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

extension Optional: BindableElement where Wrapped: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) {
        if let self {
            self.appendElement(to: &bytes)
        } else {
            bytes.append(contentsOf: "NULL".utf8)
        }
    }
}

extension UInt8: BindableElement {
    package func appendElement(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: String(self).utf8)
    }

    /// `bytea` in its hexadecimal form.
    package static func appendArray(_ elements: [UInt8], to bytes: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        bytes.reserveCapacity(bytes.count + 2 + elements.count * 2)
        bytes.append(contentsOf: "\\x".utf8)
        for element in elements {
            bytes.append(digits[Int(element >> 4)])
            bytes.append(digits[Int(element & 0x0F)])
        }
    }
}

/// An array of `bytea`.
extension Array: BindableElement where Element == UInt8 {
    package func appendElement(to bytes: inout [UInt8]) {
        // The literal's own backslash has to be doubled within the quotes.
        bytes.append(contentsOf: "\"\\".utf8)
        UInt8.appendArray(self, to: &bytes)
        bytes.append(UInt8(ascii: "\""))
    }
}
