import ArgumentParser
import Domain
import Persistence

/// Before a secret is dropped: what it keeps encrypted must be kept by the first one.
struct Reseal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Encrypt what is kept encrypted under the first of REPLYX_SECRETS.",
        discussion: "Run it between putting a new secret in front and dropping an old one. Serving goes on.")

    func run() async throws {
        let settings = try Settings()
        let box = SecretBox(secrets: try settings.secrets())
        let pool = PostgresPool(
            try settings.postgres("replyx command"), size: 1, logger: .program(settings.logLevel))
        let result: Result<Int, any Error>
        do {
            result = .success(
                try await SealedSecrets(pool: pool).replaceAll { sealed, owner in
                    guard !box.isCurrent(sealed) else { return nil }
                    let purpose: SecretBox.Purpose =
                        switch owner {
                        case .bot(let account): .platformToken(account)
                        case .assistant(let id): .identity(id)
                        }
                    return try box.seal(try box.open(sealed, for: purpose), for: purpose)
                })
        } catch {
            result = .failure(error)
        }
        await pool.shutdown()
        do {
            print("Encrypted anew: \(try result.get())")
        } catch is SecretBox.Failure {
            throw Settings.Invalid(
                description: "Something is encrypted under a secret that is not in REPLYX_SECRETS. Nothing was changed")
        }
    }
}
