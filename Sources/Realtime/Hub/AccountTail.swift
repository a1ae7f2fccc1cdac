import Domain

/// What this node knows of the end of one account's log, and what a new event or a new follower comes to. Pure: the
/// hub holds it under a lock and carries out what it says.
///
/// While nobody follows the account it is *loose*: it keeps what happens to come, and nobody fills its gaps. The first
/// follower's head, read from the log, *anchors* it: from then on every number is handed on once and in order.
struct AccountTail: Sendable {
    /// Where events come from. Only the bus is believed to be late, doubled or another installation's.
    enum Source: Sendable {
        case commit
        case log
        case bus
    }

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
        /// Write these, then it is at the stream's end, which is `end`. `isWarm`: some of them came by the bus before
        /// anybody here followed.
        case from([StreamEvent], end: Int64, isWarm: Bool = false)
        /// They are no longer in memory: read a page.
        case read
    }

    /// More events than this waiting above a gap are not kept; the auditor reads them anyway.
    static let waitingLimit = 1024
    /// The same while loose: nobody will close the gap, so what is above it becomes what is kept.
    static let looseWaitingLimit = 32

    let accountID: Account.ID
    private(set) var generation: Int64?
    /// The number up to which everything was handed on; `nil` while loose.
    private(set) var last: Int64?
    private(set) var ring = EventRing()
    /// The newest public number of each followed dialog.
    private var dialogs: [Dialog.ID: Int64] = [:]
    private var waiting = WaitingEvents()
    /// The newest number that the log is known to have.
    private var known: Int64 = 0
    /// The newest number that came by the bus while loose.
    private var warmUpTo: Int64 = 0

    init(accountID: Account.ID) {
        self.accountID = accountID
    }

    var hasGap: Bool { last.map { !waiting.isEmpty || known > $0 } ?? false }
    /// The highest number that is known of.
    var highest: Int64 { max(known, waiting.highest ?? 0, last ?? 0) }
    /// What all that is kept takes, about.
    var bytes: Int { ring.bytes + waiting.bytes }

    // MARK: Events

    mutating func ingest(_ events: some Sequence<StreamEvent>, from source: Source) -> Ingested {
        var result = Ingested()
        for event in events {
            if let generation, event.generation != generation, last != nil {
                // A late message of the old log says nothing; one of a new log ends everything. What the bus says of
                // generations is left to the auditor, who asks the log.
                if event.generation > generation && source != .bus { result.generationMoved = true }
            } else if let last {
                if event.seq == last + 1 {
                    accept(event, into: &result)
                } else if event.seq > last, waiting.count < Self.waitingLimit {
                    waiting.insert(event)
                }
            } else {
                keep(event, from: source)
                result.accepted += 1
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

    private mutating func acceptWaiting(into result: inout Ingested) {
        guard let from = last, !waiting.isEmpty else { return }
        while let number = last, let next = waiting.remove(number + 1) { accept(next, into: &result) }
        if last != from || waiting.count > Self.waitingLimit / 2 { waiting.removeAll(upTo: last ?? 0) }
    }

    /// The log was asked and had nothing after `last`: what waited then, up to a number, is not of it.
    mutating func forgetWaiting(upTo number: Int64) {
        waiting.removeAll(upTo: number)
        if known <= number { known = last ?? 0 }
    }

    // MARK: Loose

    /// Keeps an event that nobody follows: the newest run without a hole.
    private mutating func keep(_ event: StreamEvent, from source: Source) {
        if let generation, event.generation != generation {
            guard event.generation > generation else { return }
            dropAll()
        }
        generation = event.generation
        if source == .bus { warmUpTo = max(warmUpTo, event.seq) }
        if let newest = ring.newest, event.seq <= newest { return }
        waiting.insert(event)
        extendRing()
        guard waiting.count > Self.looseWaitingLimit else { return }
        ring = EventRing()
        extendRing()
    }

    /// Moves what follows the ring into it; an empty one begins with the lowest that waits.
    private mutating func extendRing() {
        if ring.newest == nil, let lowest = waiting.lowest { waiting.remove(lowest).map { ring.append($0) } }
        while let newest = ring.newest, let next = waiting.remove(newest + 1) { ring.append(next) }
    }

    /// Nobody follows any more.
    mutating func loosen() {
        last = nil
        dialogs = [:]
        known = 0
        if waiting.count > Self.looseWaitingLimit { waiting = WaitingEvents() }
    }

    mutating func shrinkRing(to bytes: Int) {
        ring.shrink(to: bytes)
    }

    // MARK: Followers

    /// Takes the log's head as the place to go on from, where the tail is loose; else as news of how far the log is.
    /// - Returns: what had come meanwhile and now follows; `generationMoved` where the head is of another generation.
    mutating func start(at head: LogHead) -> Ingested {
        var result = Ingested()
        if last == nil {
            anchor(at: head)
        } else if generation != head.generation {
            result.generationMoved = head.generation > (generation ?? 0)
            return result
        }
        known = max(known, head.accountSeq)
        acceptWaiting(into: &result)
        result.hasGap = hasGap
        return result
    }

    private mutating func anchor(at head: LogHead) {
        if generation != head.generation { dropAll() }
        generation = head.generation
        if let newest = ring.newest, newest >= head.accountSeq, ring.events(after: head.accountSeq) != nil {
            last = newest
        } else {
            let beyond = ring.kept.filter { $0.seq > head.accountSeq }
            ring = EventRing()
            for event in waiting.run(endingAt: head.accountSeq) { ring.append(event) }
            for event in beyond { waiting.insert(event) }
            last = head.accountSeq
        }
        waiting.removeAll(upTo: last ?? 0)
    }

    private mutating func dropAll() {
        ring = EventRing()
        waiting = WaitingEvents()
        warmUpTo = 0
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
        let events =
            switch stream {
            case .account: ring.events(after: number).map(Array.init)
            case .dialog(let id, _): ring.events(of: id, after: number, upTo: end)
            }
        guard let events else { return .read }
        return .from(events, end: end, isWarm: events.first.map { $0.seq <= warmUpTo } ?? false)
    }
}
