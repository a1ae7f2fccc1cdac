import ArgumentParser
import Glibc
import Logging

/// The program: one binary, one verb a job.
struct Replyx: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replyx", abstract: "A chat backend: visitors, assistants, operators, one event log.",
        subcommands: [
            Serve.self, Migrate.self, Demo.self, AccountCommand.self, OperatorCommand.self, Reseal.self,
            ListRoutes.self,
        ])
}

@main
enum Program {
    static func main() async {
        do {
            var command = try Replyx.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            leave(EXIT_SUCCESS)
        } catch {
            let code = Replyx.exitCode(for: error).rawValue
            let message = Replyx.fullMessage(for: error)
            // Help is asked for and goes where answers go; everything else is a complaint.
            if !message.isEmpty {
                let text = Array((message + "\n").utf8)
                write(code == EXIT_SUCCESS ? STDOUT_FILENO : STDERR_FILENO, text, text.count)
            }
            leave(code)
        }
    }

    /// Ends the process without the C libraries' exit handlers. OpenSSL's frees what the thread of a connection that was
    /// just closed is freeing too, as that thread ends: about one stop in a hundred ended in a crash. All that must be done
    /// before the end is done by whoever calls this.
    private static func leave(_ code: Int32) -> Never {
        fflush(nil)
        _exit(code)
    }
}

extension Logger {
    /// To standard error, so that what a command prints can be read by a program.
    static func program(_ level: Logger.Level) -> Logger {
        var logger = Logger(label: "replyx") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = level
        return logger
    }
}
