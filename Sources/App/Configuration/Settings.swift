import Configuration
import Domain
import Logging
import Persistence
import Realtime

/// What may be set from outside, read once at start. Every name is an environment variable (docs/configuration.md).
struct Settings: Sendable {
    struct Invalid: Error, CustomStringConvertible {
        let description: String
    }

    let databaseURL: String
    let host: String
    let port: Int
    let managementPort: Int
    let publicURL: String
    let publicDirectory: String
    let migrationsDirectory: String
    let openAPIFile: String
    let setupCode: String?
    let poolSize: Int
    let connectionLimit: Int
    let logLevel: Logger.Level
    let streams: StreamSettings
    let limits: LimitSettings
    let trustedProxies: TrustedProxies
    let outboundAllowed: [IPRange]
    private let secretList: String?
    private let redisURL: String?
    private let redisRootsFile: String?

    init(_ reader: ConfigReader = ConfigReader(provider: EnvironmentVariablesProvider())) throws {
        func string(_ key: ConfigKey) -> String? {
            // A variable that is set to nothing is not set.
            reader.string(forKey: key).flatMap { $0.isEmpty ? nil : $0 }
        }
        func number(_ key: ConfigKey, _ fallback: Int, in range: ClosedRange<Int>) throws -> Int {
            guard let text = string(key) else { return fallback }
            guard let value = Int(text), range.contains(value) else {
                let name = key.description.uppercased().replacing(".", with: "_")
                throw Invalid(
                    description: "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }
        databaseURL = reader.string(forKey: "database.url", isSecret: true) ?? ""
        host = string("replyx.host") ?? "127.0.0.1"
        port = try number("port", 8000, in: 0...65_535)
        managementPort = try number("replyx.management.port", 9000, in: 0...65_535)
        let url = string("replyx.public.url") ?? "http://\(host):\(port)"
        publicURL = url.hasSuffix("/") ? String(url.dropLast()) : url
        publicDirectory = string("replyx.public.dir") ?? "Public"
        migrationsDirectory = string("replyx.migrations.dir") ?? "Migrations"
        openAPIFile = string("replyx.openapi.file") ?? "docs/openapi.yaml"
        setupCode = reader.string(forKey: "replyx.setup.code", isSecret: true).flatMap { $0.isEmpty ? nil : $0 }
        poolSize = try number("replyx.pool.size", 8, in: 1...100)
        connectionLimit = try number("replyx.connection.limit", 18_000, in: 1...1_000_000)
        secretList = reader.string(forKey: "replyx.secrets", isSecret: true)
        redisURL = reader.string(forKey: "redis.url", isSecret: true).flatMap { $0.isEmpty ? nil : $0 }
        redisRootsFile = string("replyx.redis.ca.file")
        let level = string("replyx.log.level") ?? "info"
        guard let logLevel = Logger.Level(rawValue: level) else {
            throw Invalid(
                description: "REPLYX_LOG_LEVEL must be one of trace, debug, info, notice, warning, error, critical")
        }
        self.logLevel = logLevel
        var streams = StreamSettings()
        streams.heartbeatSeconds = try number("replyx.heartbeat.seconds", 15, in: 1...60)
        // Two seconds are left for the rest of the way out.
        streams.drainTime = .seconds(try number("replyx.drain.seconds", 8, in: 0...600))
        self.streams = streams
        var limits = LimitSettings()
        let limitsSwitch = string("replyx.limits") ?? "on"
        guard limitsSwitch == "on" || limitsSwitch == "off" else {
            throw Invalid(description: "REPLYX_LIMITS must be on or off")
        }
        limits.isOn = limitsSwitch == "on"
        limits.visitorMessages = try number("replyx.limit.visitor.messages", 30, in: 1...10_000)
        limits.visitorRequests = try number("replyx.limit.visitor.requests", 240, in: 1...10_000)
        limits.visitorStreams = try number("replyx.limit.visitor.streams", 5, in: 1...1000)
        limits.addressFactor = try number("replyx.limit.address.factor", 20, in: 1...100)
        limits.addressDialogs = try number("replyx.limit.address.dialogs", 10, in: 1...10_000)
        self.limits = limits
        do {
            trustedProxies = try TrustedProxies(string("replyx.trusted.proxies") ?? "")
            outboundAllowed = try IPRange.list(string("replyx.outbound.allow") ?? "")
        } catch {
            throw Invalid(description: "\(error)")
        }
    }

    /// Whether browsers come by TLS.
    var isSecure: Bool { publicURL.hasPrefix("https://") }

    /// - Throws: ``Invalid``: a server without secrets of its own must not run.
    func secrets() throws -> [String] {
        let secrets = (secretList ?? "").split(separator: ",").map(String.init)
        guard !secrets.isEmpty else {
            throw Invalid(
                description: "REPLYX_SECRETS is needed: secrets of at least 32 characters, separated by commas")
        }
        guard secrets.allSatisfy({ $0.utf8.count >= 32 }) else {
            throw Invalid(description: "Each of REPLYX_SECRETS must have at least 32 characters")
        }
        guard secrets.allSatisfy({ !$0.isGuessable }) else {
            throw Invalid(
                description:
                    "REPLYX_SECRETS holds an example, or something as easy to guess. Make one: openssl rand -hex 32")
        }
        return secrets
    }

    func postgres(_ name: String) throws -> PostgresConfiguration {
        guard !databaseURL.isEmpty else { throw Invalid(description: "DATABASE_URL is needed") }
        return PostgresConfiguration(url: databaseURL, applicationName: name)
    }

    /// - Returns: `nil` where there is no Redis.
    /// - Throws: ``Invalid``, with a sentence that does not show the URL: it holds a password.
    func redis() throws -> RedisServer? {
        do {
            return try redisURL.map { try RedisServer($0, rootsFile: redisRootsFile) }
        } catch let error as RedisServer.Invalid {
            throw Invalid(description: error.description)
        }
    }
}

extension String {
    /// A secret that stands in an example somewhere, or has too little in it.
    fileprivate var isGuessable: Bool {
        let lower = lowercased()
        let examples = [
            "example", "change-me", "changeme", "change_me", "replace", "your-secret", "your_secret", "placeholder",
        ]
        return Set(lower).count < 10 || examples.contains { lower.contains($0) }
    }
}
