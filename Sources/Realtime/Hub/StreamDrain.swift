package import Logging
import ServiceLifecycle

/// Ends the streams when the process is told to stop. It must be the last of the services, so that it is told first:
/// a server that is told while streams are open waits for them for ever.
package struct StreamDrain: Service {
    private let hub: EventHub
    private let logger: Logger

    package init(hub: EventHub, logger: Logger) {
        self.hub = hub
        self.logger = logger
    }

    package func run() async throws {
        try? await gracefulShutdown()
        logger.notice("Draining streams")
        await hub.drain()
    }
}
