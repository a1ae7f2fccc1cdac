/// Where Redis is and how to be let in: what `REDIS_URL` names.
///
/// `redis://[[user]:password@]host[:port][/db]`, `rediss://…` for TLS, `unix://[[user]:password@]/path[?db=n]`.
/// Characters that mean something in a URL, and all beyond ASCII, are written as `%XX`.
package struct RedisServer: Sendable, CustomStringConvertible {
    /// The sentence never quotes the URL: it holds the password.
    package struct Invalid: Error, Sendable, Equatable, CustomStringConvertible {
        package let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    package enum Address: Sendable, Equatable {
        case host(String, port: Int)
        case socket(path: String)
    }

    package let address: Address
    package let database: Int
    let credentials: Credentials?
    let tls: RedisTLS?

    /// - Parameter rootsFile: certificates in PEM form that are trusted instead of the system's, for `rediss`.
    package init(_ url: String, rootsFile: String? = nil) throws(Invalid) {
        let parts = try RedisURL(url)
        address = parts.address
        database = parts.database
        credentials = parts.credentials
        guard parts.isEncrypted || rootsFile == nil else {
            throw Invalid("REPLYX_REDIS_CA_FILE is set, but REDIS_URL does not begin with rediss://")
        }
        tls = parts.isEncrypted ? try RedisTLS(rootsFile: rootsFile) : nil
    }

    package var isEncrypted: Bool { tls != nil }

    /// Without the credentials: this may be logged.
    package var description: String {
        switch address {
        case .host(let host, let port):
            "\(isEncrypted ? "rediss" : "redis")://\(host.contains(":") ? "[\(host)]" : host):\(port)/\(database)"
        case .socket(let path): "unix://\(path)?db=\(database)"
        }
    }

    /// Hides itself from whatever prints or dumps the server.
    struct Credentials: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
        /// nil for the default user.
        let user: String?
        let password: String

        var description: String { "…" }
        var customMirror: Mirror { Mirror(self, children: []) }
    }
}
