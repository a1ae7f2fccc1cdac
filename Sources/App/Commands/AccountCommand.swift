import ArgumentParser
import Domain
import Foundation
import Logging
import NIOPosix
import Persistence

/// Accounts, made by whoever runs the server.
struct AccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account", abstract: "Accounts.", subcommands: [Create.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an account and its owner.",
            discussion: "The password is read from REPLYX_PASSWORD; without it one is made. Prints a line of JSON.")

        @Option(help: "The owner's address, with which they log in.") var email: String
        @Option(help: "The account's name.") var accountName: String?
        @Option(help: "The owner's first name, which visitors read.") var firstName = ""

        private struct Made: Encodable {
            let accountID: Account.ID
            let operatorID: Operator.ID
            let email: String
            let password: String
        }

        func run() async throws {
            let settings = try Settings()
            try await Offline.with(settings) { offline in
                let given = ProcessInfo.processInfo.environment["REPLYX_PASSWORD"] ?? ""
                let password = given.isEmpty ? Offline.randomPassword() : given
                let owner = try await offline.createAccount(
                    name: accountName ?? String(email.prefix(200)), email: email, firstName: firstName,
                    password: password)
                print(
                    JSONText.of(
                        Made(
                            accountID: owner.accountID, operatorID: owner.id, email: owner.email,
                            password: password)))
            }
        }
    }
}

/// The stores without a server, for commands.
struct Offline: Sendable {
    let accounts: AccountStore
    let operators: OperatorStore
    let assistants: AssistantStore
    let passwords: Passwords

    static func with<Result>(_ settings: Settings, _ body: (Offline) async throws -> Result) async throws -> Result {
        let pool = PostgresPool(
            try settings.postgres("replyx command"), size: 1, logger: .program(settings.logLevel))
        let offline = Offline(
            accounts: AccountStore(pool: pool), operators: OperatorStore(pool: pool),
            assistants: AssistantStore(pool: pool),
            passwords: Passwords(pool: .singleton))
        do {
            let result = try await body(offline)
            await pool.shutdown()
            return result
        } catch let problem as Problem {
            await pool.shutdown()
            throw ValidationError(problem.detail)
        } catch AccountStore.Failure.emailTaken {
            await pool.shutdown()
            throw ValidationError("An operator with this address exists already.")
        } catch {
            await pool.shutdown()
            throw error
        }
    }

    func createAccount(name: String, email: String, firstName: String, password: String) async throws -> Operator {
        let owner = try await accounts.create(
            name: try Name(name, field: "account_name").text, email: try Email(email).text,
            firstName: try Name.text(optional: firstName, field: "first_name"),
            passwordHash: try await passwords.hash(try NewPassword(password).text), onlyFirst: false)
        guard let owner else { preconditionFailure("only a first registration is turned away") }
        return owner
    }

    /// 100 bits, in letters and digits that are not mistaken for each other.
    static func randomPassword() -> String {
        let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789")
        return String((0..<20).map { _ in alphabet.randomElement()! })
    }
}
