import ArgumentParser
import Logging
import Persistence

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring the database to this release's schema.")

    func run() async throws {
        let settings = try Settings()
        let logger = Logger.program(settings.logLevel)
        let applied = try await Migrator(
            directory: settings.migrationsDirectory, configuration: try settings.postgres("replyx migrate"),
            logger: logger
        ).migrate()
        print(applied.isEmpty ? "Nothing to do." : "Applied \(applied.joined(separator: ", ")).")
    }
}
