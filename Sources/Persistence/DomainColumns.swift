package import Domain

// Domain's small values as they stand in columns and binds.

extension Identifier: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> Identifier<Subject>? {
        Int64.read(text).map { Identifier($0) }
    }
}

extension Identifier: Bindable {
    package func appendText(to bytes: inout [UInt8]) -> Bool { rawValue.appendText(to: &bytes) }
}

/// Read from `(extract(epoch FROM …) * 1000000)::bigint`.
extension Timestamp: Readable {
    package static func read(_ text: ArraySlice<UInt8>?) -> Timestamp? {
        Int64.read(text).map { Timestamp(microseconds: $0) }
    }
}

extension Readable where Self: RawRepresentable, RawValue == String {
    package static func read(_ text: ArraySlice<UInt8>?) -> Self? {
        String.read(text).flatMap { Self(rawValue: $0) }
    }
}

extension Message.Sender: Readable {}
extension Dialog.Status: Readable {}
extension Dialog.Channel: Readable {}
extension Handoff.Status: Readable {}
extension Operator.Role: Readable {}
extension Assistant.Answerer: Readable {}
extension Assistant.Locale: Readable {}
