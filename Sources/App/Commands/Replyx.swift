import ArgumentParser
import Logging

/// The program: one binary, one verb a job.
@main
struct Replyx: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replyx", abstract: "A chat backend: visitors, assistants, operators, one event log.",
        subcommands: [Serve.self, Migrate.self, Demo.self, AccountCommand.self, ListRoutes.self])
}

extension Logger {
    /// To standard error, so that what a command prints can be read by a program.
    static func program(_ level: Logger.Level) -> Logger {
        var logger = Logger(label: "replyx") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = level
        return logger
    }
}
