package import Domain
package import Logging
import ServiceLifecycle

/// Asks every two seconds whether what the open streams of this node stand on is still good, and ends those that stand on
/// nothing. So a logout or a revocation on any node is known on every one, without a message that could be lost.
///
/// While the database does not answer, nothing new can be read either, and streams stay as they are.
package struct CredentialWatch: Service {
    private static let interval = Duration.seconds(2)

    private let hub: EventHub
    private let check: any CredentialCheck
    private let logger: Logger

    package init(hub: EventHub, check: any CredentialCheck, logger: Logger) {
        self.hub = hub
        self.check = check
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var isAnswered = true
            while !Task.isCancelled {
                do {
                    try await look()
                    isAnswered = true
                } catch {
                    if isAnswered && !Task.isCancelled {
                        logger.warning("Credentials cannot be checked", metadata: ["error": "\(type(of: error))"])
                    }
                    isAnswered = false
                }
                try? await Task.sleep(for: Self.interval)
            }
        }
    }

    func look() async throws {
        let credentials = await hub.credentials()
        guard !credentials.isEmpty else { return }
        let ended = try await check.ended(of: credentials)
        if !ended.isEmpty { hub.end(standingOn: ended) }
    }
}
