import Domain

/// Events of one account and generation that are above a gap.
struct WaitingEvents: Sendable {
    private var events: [Int64: StreamEvent] = [:]
    /// What they take, about.
    private(set) var bytes = 0

    var count: Int { events.count }
    var isEmpty: Bool { events.isEmpty }
    var lowest: Int64? { events.keys.min() }
    var highest: Int64? { events.keys.max() }

    mutating func insert(_ event: StreamEvent) {
        if let old = events.updateValue(event, forKey: event.seq) { bytes -= EventRing.weight(of: old) }
        bytes += EventRing.weight(of: event)
    }

    mutating func remove(_ seq: Int64) -> StreamEvent? {
        guard let event = events.removeValue(forKey: seq) else { return nil }
        bytes -= EventRing.weight(of: event)
        return event
    }

    mutating func removeAll(upTo seq: Int64) {
        guard !events.isEmpty else { return }
        events = events.filter { $0.key > seq }
        bytes = events.values.reduce(0) { $0 + EventRing.weight(of: $1) }
    }

    /// The run without a hole that ends with a number, ascending.
    func run(endingAt seq: Int64) -> [StreamEvent] {
        var run: [StreamEvent] = []
        while let event = events[seq - Int64(run.count)] { run.append(event) }
        return run.reversed()
    }
}
