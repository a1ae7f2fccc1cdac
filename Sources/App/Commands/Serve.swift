import ArgumentParser
import CoreMetrics
import Domain
import Glibc
import Logging
import NIOCore
import Persistence

/// Serves until it is told to stop.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Serve the API, the streams and the pages.")

    func run() async throws {
        let settings = try Settings()
        // Before anything is asked of anybody.
        _ = try (settings.secrets(), settings.redis())
        let logger = Logger.program(settings.logLevel)
        let registry = PrometheusRegistry()
        MetricsSystem.bootstrap(registry)
        let migrator = Migrator(
            directory: settings.migrationsDirectory, configuration: try settings.postgres("replyx"), logger: logger)
        let pending = try await migrator.pending()
        guard pending.isEmpty else {
            throw Settings.Invalid(
                description: "The database lacks \(pending.joined(separator: ", ")). Run: replyx migrate")
        }
        let logIdentity = try await LogIdentity.read(try settings.postgres("replyx"), logger: logger)
        let setupCode = settings.setupCode ?? (0..<10).map { _ in UInt8.random(in: .min ... .max) }.hexadecimal
        let node = try await Node.build(
            settings, setupCode: setupCode, logIdentity: logIdentity, registry: registry, logger: logger)
        if settings.setupCode == nil, try await node.routes.accounts.isEmpty() {
            // To the terminal and not to the log: whoever reads it may make the first account.
            print("Setup code for the first account: \(setupCode)")
            fflush(nil)
        }
        do {
            try await node.run()
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw Settings.Invalid(
                description: "PORT \(settings.port) or REPLYX_MANAGEMENT_PORT \(settings.managementPort) is taken")
        }
    }
}
