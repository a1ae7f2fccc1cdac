import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird

/// A body of a request whose fields are all known, so that a misspelt one is refused rather than ignored.
protocol StrictBody: Decodable {
    associatedtype CodingKeys: CodingKey & CaseIterable
}

extension String {
    /// A content type without its parameters, in lower case.
    var mediaType: String {
        prefix { $0 != ";" }.lowercased().filter { $0 != " " }
    }
}

extension Request {
    /// A legal text may come as `\u` escapes, twelve bytes a scalar; this leaves room for the longest.
    static let bodyLimit = 256 * 1024

    /// The body as JSON; unknown fields are ignored.
    /// - Throws: ``Problem`` with 400, 413, 415 or 422.
    func json<Body: Decodable>(_ type: Body.Type = Body.self) async throws -> Body {
        try Self.decode(type, from: try await jsonBytes())
    }

    /// The body as JSON; an unknown field is refused.
    func strictJSON<Body: StrictBody>(_ type: Body.Type = Body.self) async throws -> Body {
        let bytes = try await jsonBytes()
        let keys = try Self.decode(Keys.self, from: bytes).names
        if let unknown = keys.first(where: { Body.CodingKeys(stringValue: $0) == nil }) {
            throw Problem.invalid(String(unknown.prefix(100)), "There is no such field.", code: "unknown_field")
        }
        return try Self.decode(type, from: bytes)
    }

    private func jsonBytes() async throws -> Data {
        if let type = headers[.contentType], type.mediaType != "application/json" {
            throw Problem(.unsupportedMediaType, "unsupported_media_type", "Send application/json.")
        }
        return Data((try await body.collect(upTo: Self.bodyLimit)).readableBytesView)
    }

    static func decode<Body: Decodable>(_ type: Body.Type, from bytes: Data) throws -> Body {
        do {
            return try JSONDecoder().decode(type, from: bytes)
        } catch let error as DecodingError {
            switch error {
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
                // The outermost: `allowed_domains`, not its second element.
                guard let field = context.codingPath.first else { throw Problem.malformedJSON }
                throw Problem.invalid(field.stringValue, "The field has a value of another kind.")
            case .keyNotFound(let key, _):
                throw Problem.invalid(key.stringValue, "The field is needed.")
            @unknown default:
                throw Problem.malformedJSON
            }
        }
    }

    private struct Keys: Decodable {
        struct Name: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        let names: [String]

        init(from decoder: any Decoder) throws {
            names = try decoder.container(keyedBy: Name.self).allKeys.map(\.stringValue)
        }
    }

    /// A query parameter that is a whole number in a range; the nearest end for one outside.
    /// - Throws: 422 for what is no number.
    func number(_ name: String, in range: ClosedRange<Int>, default fallback: Int) throws -> Int {
        guard let text = query(name) else { return fallback }
        guard let value = Int(text) else { throw Problem.invalid(name, "A whole number is needed.") }
        return min(max(value, range.lowerBound), range.upperBound)
    }

    /// `limit` and `cursor` of a list that goes by ids.
    /// - Throws: 422.
    func page<Subject>(_ subject: Subject.Type) throws -> (after: Identifier<Subject>?, limit: Int) {
        let after = try query("cursor").map { text in
            guard let id = Int64(text) else { throw Problem.invalid("cursor", "The next_cursor of an earlier page.") }
            return Identifier<Subject>(id)
        }
        return (after, try number("limit", in: 1...100, default: 50))
    }

    func query(_ name: String) -> String? {
        uri.queryParameters.get(name)
    }
}

/// A field that may be left out, and may be set to nothing: two different things where something is changed.
enum Nullable<Value: Decodable & Sendable>: Decodable, Sendable {
    case absent
    case null
    case value(Value)

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        self = container.decodeNil() ? .null : .value(try container.decode(Value.self))
    }
}

extension KeyedDecodingContainer {
    /// Taken by the compiler where it writes a type's `init(from:)` with such a field.
    func decode<Value>(_ type: Nullable<Value>.Type, forKey key: Key) throws -> Nullable<Value> {
        try decodeIfPresent(type, forKey: key) ?? (contains(key) ? .null : .absent)
    }
}
