import ArgumentParser
import Domain
import Persistence

/// Operators, by whoever runs the server.
struct OperatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operator", abstract: "Operators.", subcommands: [Reset.self])

    struct Reset: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a link by which an operator sets a new password.",
            discussion: "It is good once, for an hour. Whoever has it is that operator: hand it over in person.")

        @Option(help: "The operator's address.") var email: String

        func run() async throws {
            let settings = try Settings()
            let token = OpaqueToken.mint(OperatorRoutes.linkPrefix)
            let isMade = try await Offline.with(settings) { offline in
                try await offline.operators.insertReset(email: email, tokenHash: token.hash)
            }
            guard isMade else { throw Settings.Invalid(description: "Nobody active has this address") }
            print("\(settings.publicURL)/admin/#reset=\(token.text)")
        }
    }
}
