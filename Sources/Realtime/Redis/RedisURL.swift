/// The parts of `REDIS_URL`, each checked and freed of its `%XX`.
struct RedisURL {
    typealias Invalid = RedisServer.Invalid

    private static let lengthLimit = 8192
    /// What `sockaddr_un` has room for (unix(7)).
    private static let socketPathLimit = 107
    private static let databaseLimit = 65_535

    let address: RedisServer.Address
    let database: Int
    let credentials: RedisServer.Credentials?
    let isEncrypted: Bool

    init(_ url: String) throws(Invalid) {
        let isPrintable = url.utf8.allSatisfy { (0x21...0x7E).contains(Int($0)) }
        guard url.utf8.count <= Self.lengthLimit, isPrintable, !url.contains("#") else {
            throw Invalid("REDIS_URL must be printable ASCII of at most 8192 characters; any other, and #, is %XX")
        }
        guard let mark = url.firstRange(of: "://") else { throw .scheme }
        let scheme = url[..<mark.lowerBound].lowercased()
        guard ["redis", "rediss", "unix"].contains(scheme) else { throw .scheme }
        let authority = url[mark.upperBound...].prefix { $0 != "/" && $0 != "?" }
        let rest = url[authority.endIndex...]
        let path = rest.prefix { $0 != "?" }
        let query = rest.dropFirst(path.count)
        let at = authority.lastIndex(of: "@")
        let place = at.map { authority[authority.index(after: $0)...] } ?? authority
        credentials = try at.map { at throws(Invalid) in try Self.credentials(authority[..<at]) }
        isEncrypted = scheme == "rediss"
        if scheme == "unix" {
            guard place.isEmpty else { throw Invalid("REDIS_URL with unix:// names no host: unix:///path") }
            address = .socket(path: try Self.socketPath(path))
            guard query.isEmpty || query.hasPrefix("?db=") else {
                throw Invalid("REDIS_URL with unix:// knows no parameter but db")
            }
            database = query.isEmpty ? 0 : try Self.database(query.dropFirst(4))
        } else {
            address = try Self.host(place)
            guard query.isEmpty else { throw Invalid("REDIS_URL knows no parameters: the database is /n") }
            database = path.count <= 1 ? 0 : try Self.database(path.dropFirst())
        }
    }

    private static func credentials(_ text: Substring) throws(Invalid) -> RedisServer.Credentials {
        guard let colon = text.firstIndex(of: ":") else {
            throw Invalid("REDIS_URL must have user:password or :password before the @")
        }
        let user = try decoded(text[..<colon])
        let password = try decoded(text[text.index(after: colon)...])
        guard !password.isEmpty else { throw Invalid("REDIS_URL has an empty password before the @") }
        return RedisServer.Credentials(user: user.isEmpty ? nil : user, password: password)
    }

    private static func host(_ text: Substring) throws(Invalid) -> RedisServer.Address {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("[") {
            host = text.dropFirst().prefix { $0 != "]" }
            rest = text[host.endIndex...].dropFirst()
            guard text[host.endIndex...].hasPrefix("]"), host.contains(":"), host.allSatisfy(isPartOfAddress) else {
                throw .host
            }
        } else {
            host = text.prefix { $0 != ":" }
            rest = text[host.endIndex...]
            guard host.allSatisfy(isPartOfName) else { throw .host }
        }
        guard (1...253).contains(host.count) else { throw .host }
        guard !rest.isEmpty else { return .host(String(host), port: 6379) }
        guard rest.hasPrefix(":"), let port = number(rest.dropFirst()), (1...65_535).contains(port) else {
            throw Invalid("REDIS_URL must have a port from 1 to 65535 after the host")
        }
        return .host(String(host), port: port)
    }

    private static func isPartOfName(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber) || "-._".contains(character)
    }

    /// Of an address in brackets: version 6, with its zone.
    private static func isPartOfAddress(_ character: Character) -> Bool {
        isPartOfName(character) || ":%".contains(character)
    }

    private static func socketPath(_ text: Substring) throws(Invalid) -> String {
        let path = try decoded(text)
        guard path.count > 1, path.utf8.count <= socketPathLimit else {
            throw Invalid("REDIS_URL with unix:// must have a path of 2 to 107 bytes")
        }
        return path
    }

    private static func database(_ text: Substring) throws(Invalid) -> Int {
        guard let number = number(text), number <= databaseLimit else {
            throw Invalid("REDIS_URL must have a database number from 0 to 65535")
        }
        return number
    }

    /// Digits alone: no sign.
    private static func number(_ text: Substring) -> Int? {
        text.first == "+" || text.first == "-" ? nil : Int(text)
    }

    private static func decoded(_ text: Substring) throws(Invalid) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = Substring(rest.prefix(2))
            guard digits.count == 2, digits.allSatisfy(\.isHexDigit), let value = UInt8(digits, radix: 16) else {
                throw .escape
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard !bytes.contains(0), let decoded = String(validating: bytes, as: UTF8.self) else { throw .escape }
        return decoded
    }
}

extension RedisServer.Invalid {
    fileprivate static let scheme = Self("REDIS_URL must begin with redis://, rediss:// or unix://")
    fileprivate static let host = Self("REDIS_URL must name a host; an IPv6 address stands in brackets")
    fileprivate static let escape = Self("REDIS_URL has a % that is not followed by the two digits of a UTF-8 byte")
}
