import ArgumentParser
import Domain
import Foundation
import Logging
import Persistence

/// An account to try things with. What it prints is the part of `.local/demo.env` that only the database knows.
struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the demo account, or find it, and print how to log in.",
        discussion: "With REPLYX_OPERATOR_PASSWORD set, that becomes its password; otherwise a new one is made.")

    private static let email = "demo@example.com"

    func run() async throws {
        let settings = try Settings()
        let tokens = await Tokens(secrets: try settings.secrets())
        let password = ProcessInfo.processInfo.environment["REPLYX_OPERATOR_PASSWORD"].flatMap { $0.isEmpty ? nil : $0 }
        try await Offline.with(settings) { offline in
            let password = password ?? Offline.randomPassword()
            let owner = try await Self.owner(offline, password)
            let assistant = try await Self.assistant(offline, of: owner)
            print("REPLYX_OPERATOR_EMAIL=\(owner.email)")
            print("REPLYX_OPERATOR_PASSWORD=\(password)")
            print("REPLYX_ASSISTANT_ID=\(assistant.id)")
            print("REPLYX_SITE_TOKEN=\(try await tokens.sign(assistant.siteToken))")
        }
    }

    private static func owner(_ offline: Offline, _ password: String) async throws -> Operator {
        guard let known = try await offline.accounts.credentials(email: email) else {
            return try await offline.createAccount(
                name: "Demo", email: email, firstName: "Alex", password: password)
        }
        if try await !offline.passwords.verify(password, against: known.passwordHash) {
            try await offline.accounts.setPasswordHash(
                try await offline.passwords.hash(try NewPassword(password).text), of: known.operatorID)
        }
        guard let owner = try await offline.accounts.activeOperator(known.operatorID) else {
            throw ValidationError("The demo account's owner was deactivated.")
        }
        return owner
    }

    private static func assistant(_ offline: Offline, of owner: Operator) async throws -> Assistant {
        if let known = try await offline.assistants.list(in: owner.accountID, after: nil, limit: 1).first {
            return known
        }
        var profile = Assistant.Profile(name: "Demo assistant")
        profile.locale = .english
        profile.guestAccess = true
        profile.operatorName = "Alex"
        profile.businessName = "Teapot & Sons"
        return try await offline.assistants.create(profile, in: owner.accountID)
    }
}
