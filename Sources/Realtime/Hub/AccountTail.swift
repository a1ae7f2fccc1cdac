import Domain

/// What this node knows of the end of one account's log, and what a new event or a new follower comes to. Pure: the
/// hub holds it under a lock and carries out what it says.
struct AccountTail: Sendable {
    /// An event that goes to the followers of a stream, as that stream's next.
    struct Delivery: Sendable, Equatable {
        let stream: StreamKey
        let number: Int64
        let event: StreamEvent
    }

    struct Ingested: Sendable, Equatable {
        var deliveries: [Delivery] = []
        /// How many events became part of the tail.
        var accepted = 0
        /// Whether numbers are missing below one that came.
        var hasGap = false
        /// The log has a new generation: whatever is followed here must be followed anew.
        var generationMoved = false
    }

    /// How a follower who has seen everything up to a number gets to the end.
    enum CatchUp: Sendable, Equatable {
        /// Write these, then it is at the stream's end, which is `end`.
        case from([StreamEvent], end: Int64)
        /// They are no longer in memory: read a page.
        case read
    }

    /// More events than this waiting above a gap are not kept; the auditor reads them anyway.
    static let waitingLimit = 1024

    let accountID: Account.ID
    private(set) var generation: Int64?
    /// The number up to which everything was handed on; `nil` until the log's head was read.
    private(set) var last: Int64?
    private(set) var ring = EventRing()
    /// The newest public number of each followed dialog.
    private var dialogs: [Dialog.ID: Int64] = [:]
    private var waiting: [Int64: StreamEvent] = [:]

    init(accountID: Account.ID) {
        self.accountID = accountID
    }

    var hasGap: Bool { !waiting.isEmpty && last != nil }

    // MARK: Events

    mutating func ingest(_ events: some Sequence<StreamEvent>) -> Ingested {
        var result = Ingested()
        for event in events {
            if let generation, event.generation != generation {
                // A late message of the old log says nothing; one of a new log ends everything.
                if event.generation > generation { result.generationMoved = true }
                continue
            }
            guard let last else {
                wait(event)
                continue
            }
            if event.seq == last + 1 {
                accept(event, into: &result)
            } else if event.seq > last {
                wait(event)
            }
        }
        acceptWaiting(into: &result)
        result.hasGap = hasGap
        return result
    }

    private mutating func accept(_ event: StreamEvent, into result: inout Ingested) {
        last = event.seq
        ring.append(event)
        result.accepted += 1
        result.deliveries.append(Delivery(stream: .account(accountID), number: event.seq, event: event))
        guard let place = event.dialog, let seq = place.seq, let known = dialogs[place.dialogID] else { return }
        // A dialog whose head was read later than the account's may be ahead of it.
        guard seq > known else { return }
        dialogs[place.dialogID] = seq
        result.deliveries.append(
            Delivery(stream: .dialog(place.dialogID, of: accountID), number: seq, event: event))
    }

    private mutating func wait(_ event: StreamEvent) {
        guard waiting.count < Self.waitingLimit else { return }
        waiting[event.seq] = event
    }

    private mutating func acceptWaiting(into result: inout Ingested) {
        guard let from = last, !waiting.isEmpty else { return }
        while let number = last, let next = waiting.removeValue(forKey: number + 1) { accept(next, into: &result) }
        if last != from || waiting.count > Self.waitingLimit / 2 {
            waiting = waiting.filter { $0.key > (last ?? 0) }
        }
    }

    // MARK: Followers

    /// Takes the log's head as the place to go on from, where none is known yet.
    /// - Returns: what had come meanwhile and now follows; `generationMoved` where the head is of another generation.
    mutating func start(at head: LogHead) -> Ingested {
        if let generation, generation != head.generation {
            var result = Ingested()
            result.generationMoved = head.generation > generation
            return result
        }
        generation = head.generation
        if last == nil {
            last = head.accountSeq
            waiting = waiting.filter { $0.key > head.accountSeq && $0.value.generation == head.generation }
        }
        var result = Ingested()
        acceptWaiting(into: &result)
        result.hasGap = hasGap
        return result
    }

    /// Begins to keep a dialog's newest number, from a head that was read with the account's in one snapshot.
    /// - Returns: `false` if the account has gone on past what is kept since: read the head again.
    mutating func follow(_ dialog: Dialog.ID, from head: LogHead) -> Bool {
        guard dialogs[dialog] == nil else { return true }
        guard let last, let dialogSeq = head.dialogSeq, head.generation == generation else { return false }
        var newest = dialogSeq
        if last > head.accountSeq {
            guard let since = ring.events(after: head.accountSeq) else { return false }
            for event in since where event.dialog?.dialogID == dialog {
                newest = max(newest, event.dialog?.seq ?? 0)
            }
        }
        dialogs[dialog] = newest
        return true
    }

    mutating func unfollow(_ dialog: Dialog.ID) {
        dialogs[dialog] = nil
    }

    /// The end of a followed stream as this node has it.
    func end(of stream: StreamKey) -> Int64? {
        switch stream {
        case .account: last
        case .dialog(let id, _): dialogs[id]
        }
    }

    func catchUp(_ stream: StreamKey, after number: Int64) -> CatchUp {
        guard let end = end(of: stream) else { return .read }
        // What was read from the log may be ahead of this node: then there is nothing to write yet.
        guard number < end else { return .from([], end: end) }
        switch stream {
        case .account:
            return ring.events(after: number).map { .from(Array($0), end: end) } ?? .read
        case .dialog(let id, _):
            return ring.events(of: id, after: number, upTo: end).map { .from($0, end: end) } ?? .read
        }
    }
}
