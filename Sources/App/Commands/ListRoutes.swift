import ArgumentParser
import Configuration
import HTTPTypes
import Hummingbird
import Logging
import NIOPosix
import Persistence
import Realtime

/// The router's own list, against which the documentation is held.
struct ListRoutes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routes", abstract: "Print every route, one a line. Needs no database.")

    func run() async throws {
        let reader = ConfigReader(
            provider: InMemoryProvider(values: [
                "database.url": "postgres://unused",
                "replyx.secrets": .init(
                    stringLiteral: (UInt8(ascii: "A")..<UInt8(ascii: "A") + 32).map { String(UnicodeScalar($0)) }
                        .joined()),
            ]))
        let node = try await Node.build(
            try Settings(reader), setupCode: "", logIdentity: "", registry: PrometheusRegistry(),
            logger: .program(.error))
        for route in node.routes.router().routes {
            let path = route.path.description.split(separator: "/").map { part in
                part.hasPrefix(":") ? "{\(part.dropFirst())}" : String(part)
            }
            print("\(route.method) /\(path.joined(separator: "/"))")
        }
    }
}
