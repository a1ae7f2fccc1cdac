package import Domain

/// Where everything goes that happens on this node: to its own clients at once, to the other nodes by the bus.
package struct Broadcast: EventSink, EphemeralSink {
    private let hub: EventHub
    private let bus: Bus?

    /// - Parameter bus: `nil` where there is none; the other nodes' auditors read the log then.
    package init(hub: EventHub, bus: Bus?) {
        self.hub = hub
        self.bus = bus
    }

    package func ingest(_ events: [StreamEvent]) {
        hub.ingest(events, from: .commit)
        bus?.publish(events)
    }

    package func show(_ event: EphemeralEvent) {
        hub.show(event)
        bus?.publish(event)
    }
}
