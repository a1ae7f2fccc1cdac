package import Domain
package import Logging
package import NIOCore
import ServiceLifecycle

/// This node's place on the bus that joins the nodes: Redis Streams, which may vanish at any time. What it brings is
/// fast; that nothing is lost, doubled or out of order is the hub's and the auditor's doing.
package final class Bus: Service {
    package struct Status: Sendable, Equatable {
        package let isConnected: Bool
        /// Whether what this node sends comes back to it in time.
        package let isHealthy: Bool
    }

    private let client: RedisClient
    private let publisher: EventPublisher
    private let reader: BusReader
    private let monitor: BusMonitor

    /// - Parameter log: which database the events are rows of; the same on every node of an installation.
    package init(_ server: RedisServer, log: String, hub: EventHub, loops: any EventLoopGroup, logger: Logger) {
        let node = String(UInt64.random(in: .min ... .max), radix: 36)
        let origin = BusEntry.Origin(node: node, log: log)
        monitor = BusMonitor(logger: logger)
        client = RedisClient(server, on: loops.next(), name: "replyx", logger: logger)
        publisher = EventPublisher(client: client, origin: origin, monitor: monitor, logger: logger)
        reader = BusReader(
            server: server, loop: loops.next(), origin: origin, hub: hub, publisher: publisher, monitor: monitor,
            logger: logger)
    }

    package var status: Status { Status(isConnected: client.isConnected, isHealthy: monitor.isHealthy) }

    package func publish(_ events: [StreamEvent]) { publisher.publish(events) }
    package func publish(_ event: EphemeralEvent) { publisher.publish(event) }

    package func run() async throws {
        await withTaskGroup { group in
            group.addTask { await self.client.stayConnected() }
            group.addTask { await self.reader.run() }
            group.addTask { await self.watch() }
            // Ends last of all: what was committed before the end is still told.
            await withGracefulShutdownHandler {
                await self.publisher.run()
            } onGracefulShutdown: {
                self.publisher.finish()
            }
            group.cancelAll()
        }
    }

    /// Four times a second, what the bus's health asks for.
    private func watch() async {
        var reopenings = 0
        while !Task.isCancelled {
            let round = monitor.round()
            publisher.probe(round.quiet)
            if monitor.isHealthy { reopenings = 0 }
            if round.mustReopen {
                reader.reopen()
                reopenings += 1
                // Reading anew did not help: perhaps it is another server that is written to.
                if reopenings > 1 { client.reconnect() }
            }
            try? await Task.sleep(for: .milliseconds(250))
        }
    }
}
