import Domain

/// The newest events of one account, without a hole, bounded in number and bytes.
struct EventRing: Sendable {
    private var events: [StreamEvent] = []
    /// Where the kept part of `events` begins: dropping from the front moves it, and the array is cut now and then.
    private var start = 0
    /// What the kept events take, about.
    private(set) var bytes = 0

    let maximumCount: Int
    let maximumBytes: Int

    init(maximumCount: Int = 512, maximumBytes: Int = 512 * 1024) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
    }

    var count: Int { events.count - start }
    /// With what was dropped and is not cut yet.
    var held: Int { events.count }
    var kept: ArraySlice<StreamEvent> { events[start...] }
    var newest: Int64? { kept.last?.seq }

    mutating func append(_ event: StreamEvent) {
        assert(newest.map { $0 + 1 == event.seq } ?? true, "a ring has no hole")
        events.append(event)
        bytes += Self.weight(of: event)
        while count > maximumCount || (bytes > maximumBytes && count > 1) { dropFirst() }
        if start > count { cut() }
    }

    /// Drops the oldest until no more than so many bytes are kept.
    mutating func shrink(to limit: Int) {
        while bytes > limit && count > 0 { dropFirst() }
        cut()
    }

    /// The account's events after a number, or `nil` if the oldest of them are no longer here.
    func events(after number: Int64) -> ArraySlice<StreamEvent>? {
        guard let first = kept.first, first.seq <= number + 1 else { return nil }
        return kept.dropFirst(Int(min(number + 1 - first.seq, Int64(count))))
    }

    /// A dialog's public events after a number, where they are here up to `head`; else `nil`.
    func events(of dialog: Dialog.ID, after number: Int64, upTo head: Int64) -> [StreamEvent]? {
        let found = kept.filter { event in
            guard event.dialog?.dialogID == dialog, let seq = event.dialog?.seq else { return false }
            return seq > number && seq <= head
        }
        return Int64(found.count) == head - number ? found : nil
    }

    private mutating func dropFirst() {
        bytes -= Self.weight(of: events[start])
        start += 1
    }

    private mutating func cut() {
        events.removeFirst(start)
        start = 0
    }

    static func weight(of event: StreamEvent) -> Int { event.payload.utf8.count + 128 }
}
