package import FoundationEssentials

/// A value that knows its own JSON. What is sent by the thousand a second says so itself: the same through
/// `JSONEncoder` took an eighth of the server's time (docs/decisions/0006-json-of-messages.md).
package protocol JSONWritable {
    func write(to json: inout String)
}

extension JSONWritable {
    /// The value as one line of JSON.
    package var json: String {
        var text = ""
        write(to: &text)
        return text
    }
}

/// An object, field by field, in the order in which they are added.
package struct JSONObject {
    private var text = "{"

    package init() {
        text.reserveCapacity(512)
    }

    /// - Parameter name: written as it is: a name of ours, without anything that JSON escapes.
    package mutating func add(_ name: StaticString, _ value: some JSONWritable) {
        name.withUTF8Buffer { name in
            text += text.utf8.count > 1 ? ",\"" : "\""
            text += String(decoding: name, as: UTF8.self)
            text += "\":"
        }
        value.write(to: &text)
    }

    /// Leaves the field out where there is no value.
    package mutating func add(ifPresent name: StaticString, _ value: (some JSONWritable)?) {
        if let value { add(name, value) }
    }

    package consuming func finished() -> String {
        text += "}"
        return text
    }
}

/// JSON that is written already.
package struct Written: JSONWritable {
    private let text: String

    package init(_ text: String) {
        self.text = text
    }

    package func write(to json: inout String) { json += text }
}

extension String: JSONWritable {
    /// A string as RFC 8259, section 7 has it: only what must be is escaped.
    package func write(to json: inout String) {
        json += "\""
        if utf8.contains(where: Self.mustEscape) {
            for scalar in unicodeScalars {
                switch scalar {
                case "\"": json += "\\\""
                case "\\": json += "\\\\"
                case "\n": json += "\\n"
                case "\r": json += "\\r"
                case "\t": json += "\\t"
                case _ where scalar.value < 0x20:
                    let digits = String(scalar.value, radix: 16)
                    json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                default: json.unicodeScalars.append(scalar)
                }
            }
        } else {
            json += self
        }
        json += "\""
    }

    private static func mustEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }
}

extension Int64: JSONWritable {
    package func write(to json: inout String) { json += String(self) }
}

extension Bool: JSONWritable {
    package func write(to json: inout String) { json += self ? "true" : "false" }
}

extension Identifier: JSONWritable {
    package func write(to json: inout String) { rawValue.write(to: &json) }
}

extension Timestamp: JSONWritable {
    package func write(to json: inout String) { json += "\"" + rfc3339 + "\"" }
}

extension Cursor: JSONWritable {
    package func write(to json: inout String) { json += "\"" + description + "\"" }
}

extension UUID: JSONWritable {
    package func write(to json: inout String) { json += "\"" + uuidString.lowercased() + "\"" }
}

extension JSONWritable where Self: RawRepresentable, RawValue == String {
    package func write(to json: inout String) { rawValue.write(to: &json) }
}

/// `null` where there is nothing.
extension Optional: JSONWritable where Wrapped: JSONWritable {
    package func write(to json: inout String) {
        if let self { self.write(to: &json) } else { json += "null" }
    }
}

extension Array: JSONWritable where Element: JSONWritable {
    package func write(to json: inout String) {
        json += "["
        for (index, element) in enumerated() {
            if index > 0 { json += "," }
            element.write(to: &json)
        }
        json += "]"
    }
}
