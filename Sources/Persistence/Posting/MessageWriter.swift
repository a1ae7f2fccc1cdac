import CoreMetrics
package import Domain
package import Logging
import ServiceLifecycle

/// Writes messages by group commit: while one batch commits, the next gathers, so that a commit is shared by all who
/// wait for one. The only writer of messages of its process; whatever it cannot do in time is answered as unavailable,
/// and a repeat with the same key is safe.
package actor MessageWriter: Service {
    package enum Failure: Error {
        /// The outcome is not known, or nothing was written: ask again with the same key.
        case unavailable
    }

    package struct Settings: Sendable {
        package var batchLimit = 128
        /// Postings that may wait; more are turned away at once.
        package var queueLimit = 4096
        /// A posting that has no outcome by then is answered without one.
        package var patience = Duration.seconds(5)
        /// Batches that leave a posting because its account is held by somebody else, before it waits alone.
        package var busyRounds = 3

        package init() {}
    }

    private struct Item: Sendable {
        let ticket: Int
        let posting: Posting
        let deadline: ContinuousClock.Instant
        var busyRounds = 0
        var losses = 0
    }

    private let settings: Settings
    /// One connection: two writers share commits worse than one (docs/decisions/0002-one-writer.md).
    private let primary: PostgresPool
    /// For accounts that somebody holds for long, so that waiting for them delays nobody else.
    private let aside: PostgresPool
    private let sink: any EventSink
    private let afterCommit: @Sendable () -> Void
    private let logger: Logger

    private var gathered: [Item] = []
    private var waiting: [Int: CheckedContinuation<Posted, any Error>] = [:]
    private var deadlines: [(ticket: Int, at: ContinuousClock.Instant)] = []
    private var setAside: [Account.ID: [Item]] = [:]
    private var nextTicket = 0
    private var isStopped = false
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    /// Committed batches, in commit order. No longer than what waits for an outcome.
    private let finished: AsyncStream<([Item], PostingBatch)>
    private let written: AsyncStream<([Item], PostingBatch)>.Continuation

    /// - Parameters:
    ///   - sink: gets the events of every commit, in commit order for each account.
    ///   - afterCommit: called after each commit, before anything is delivered or answered; where tests let a process die.
    package init(
        configuration: PostgresConfiguration, sink: any EventSink, settings: Settings = Settings(),
        afterCommit: @escaping @Sendable () -> Void = {}, logger: Logger
    ) {
        self.settings = settings
        self.sink = sink
        self.afterCommit = afterCommit
        self.logger = logger
        primary = PostgresPool(
            configuration, name: "writer", size: 1, onConnect: LogGeneration.confirm, logger: logger)
        aside = PostgresPool(
            configuration, name: "aside", size: 2, onConnect: LogGeneration.confirm, logger: logger)
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        (finished, written) = AsyncStream.makeStream()
        WriterMetrics.show()
    }

    /// Stores a message and answers once it is durable.
    /// - Throws: ``Refusal``; ``Failure/unavailable``; ``PostgresError`` for what this posting alone provoked.
    package func append(_ posting: Posting) async throws -> Posted {
        guard !isStopped, waiting.count < settings.queueLimit else { throw Failure.unavailable }
        let item = Item(ticket: nextTicket, posting: posting, deadline: .now + settings.patience)
        nextTicket += 1
        return try await withCheckedThrowingContinuation { continuation in
            waiting[item.ticket] = continuation
            deadlines.append((item.ticket, item.deadline))
            gathered.append(item)
            if gathered.count == 1 { waker.yield() }
        }
    }

    package func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.settleWritten() }
            await writeGathered()
            written.finish()
        }
        await primary.shutdown()
        await aside.shutdown()
    }

    private func writeGathered() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await cancelWhenGracefulShutdown { await self.watchDeadlines() } }
            await withGracefulShutdownHandler {
                for await _ in wake {
                    while !gathered.isEmpty {
                        for account in await writeNextBatch() {
                            group.addTask { await self.writeAside(account) }
                        }
                    }
                    if isStopped { break }
                }
            } onGracefulShutdown: {
                Task { await self.stop() }
            }
        }
    }

    private func stop() {
        isStopped = true
        waker.yield()
    }

    // MARK: Batches

    /// - Returns: the accounts that are to be waited for aside.
    private func writeNextBatch() async -> [Account.ID] {
        let batch = takeBatch()
        guard !batch.isEmpty else { return [] }
        await write(batch, locking: .skippingBusy, through: primary)
        var begun: [Account.ID] = []
        gathered.removeAll { item in
            guard item.busyRounds >= settings.busyRounds else { return false }
            let account = item.posting.accountID
            if setAside[account] == nil { begun.append(account) }
            setAside[account, default: []].append(item)
            return true
        }
        return begun
    }

    private func takeBatch() -> [Item] {
        var batch: [Item] = []
        var rest: [Item] = []
        for item in gathered where waiting[item.ticket] != nil {
            if setAside[item.posting.accountID] != nil {
                // Behind those who wait for the same account, so that nobody overtakes.
                setAside[item.posting.accountID]?.append(item)
            } else if batch.count < settings.batchLimit {
                batch.append(item)
            } else {
                rest.append(item)
            }
        }
        gathered = rest
        return batch
    }

    private func write(_ items: [Item], locking: PostingTransaction.Locking, through pool: PostgresPool) async {
        let postings = items.map(\.posting)
        do {
            let batch = try await pool.perform { [afterCommit] connection in
                let batch = try Self.retryingConflicts {
                    try PostingTransaction.run(postings, locking: locking, on: connection)
                }
                if !batch.events.isEmpty { afterCommit() }
                return batch
            }
            putBackBusy(items, by: batch)
            written.yield((items, batch))
        } catch let error as PostgresError where error.isUnavailable {
            tryAgain(items, after: error)
        } catch {
            guard items.count > 1 else { return finish(items[0].ticket, .failure(error)) }
            // Something in the batch is bad. One by one only that fails.
            WriterMetrics.split()
            for item in items { await write([item], locking: locking, through: pool) }
        }
    }

    private static func retryingConflicts<Result>(_ body: () throws -> Result) throws -> Result {
        for _ in 0..<2 {
            do {
                return try body()
            } catch let error as PostgresError where error.isSerializationFailure {
                continue
            }
        }
        return try body()
    }

    /// Hands on and answers what was committed while the next batch is under way already.
    private func settleWritten() async {
        for await (items, batch) in finished {
            sink.ingest(batch.events)
            WriterMetrics.batch(messages: batch.messages.count)
            settle(items, by: batch)
        }
    }

    private func settle(_ items: [Item], by batch: PostingBatch) {
        for (item, outcome) in zip(items, batch.outcomes) {
            switch outcome {
            case .posted(let posted): finish(item.ticket, .success(posted))
            case .refused(let refusal): finish(item.ticket, .failure(refusal))
            case .busy: break
            }
        }
    }

    /// At once, before anybody who came later can be taken.
    private func putBackBusy(_ items: [Item], by batch: PostingBatch) {
        putBack(
            zip(items, batch.outcomes).compactMap { item, outcome in
                guard case .busy = outcome else { return nil }
                var item = item
                item.busyRounds += 1
                return item
            })
    }

    /// The transaction's outcome is unknown or it did not happen. By their keys the postings may be run again.
    private func tryAgain(_ items: [Item], after error: PostgresError) {
        WriterMetrics.lost()
        logger.warning(
            "A batch of messages was not written",
            metadata: ["error": "\(error.kind)", "statement": "\(error.statement ?? "-")", "items": "\(items.count)"])
        var again: [Item] = []
        for var item in items {
            item.losses += 1
            if item.losses > 1 || error.kind == .connectFailed || item.deadline <= .now {
                finish(item.ticket, .failure(Failure.unavailable))
            } else {
                again.append(item)
            }
        }
        putBack(again)
    }

    private func putBack(_ items: [Item]) {
        guard !items.isEmpty else { return }
        gathered.insert(contentsOf: items, at: 0)
        waker.yield()
    }

    // MARK: Busy accounts

    /// Waits for one account that somebody else holds, for as long as its postings may wait.
    private func writeAside(_ account: Account.ID) async {
        while let items = setAside[account]?.filter({ waiting[$0.ticket] != nil }), !items.isEmpty {
            setAside[account] = []
            let left = items.map { $0.deadline - .now }.min() ?? .zero
            let milliseconds = Int(left / .milliseconds(1)) - 250
            if milliseconds > 0 {
                let some = Array(items.prefix(settings.batchLimit))
                setAside[account] = Array(items.dropFirst(some.count))
                await write(some, locking: .waiting(milliseconds: milliseconds), through: aside)
            } else {
                for item in items { finish(item.ticket, .failure(Failure.unavailable)) }
            }
        }
        setAside[account] = nil
    }

    // MARK: Outcomes

    private func finish(_ ticket: Int, _ result: Result<Posted, any Error>) {
        waiting.removeValue(forKey: ticket)?.resume(with: result)
    }

    /// Nobody waits longer than they were promised, whatever a batch is stuck in.
    private func watchDeadlines() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(100))
            let now = ContinuousClock.now
            let overdue = deadlines.prefix { $0.at <= now || waiting[$0.ticket] == nil }
            for (ticket, _) in overdue where waiting[ticket] != nil {
                finish(ticket, .failure(Failure.unavailable))
            }
            deadlines.removeFirst(overdue.count)
        }
    }
}

private enum WriterMetrics {
    private static let batches = Recorder(label: "replyx_writer_batch_messages", aggregate: true)
    private static let splits = Counter(label: "replyx_writer_splits_total")
    private static let losses = Counter(label: "replyx_writer_lost_batches_total")

    /// Counters that have not counted yet are shown as 0, so that an alarm can be set on them.
    static func show() {
        splits.increment(by: 0)
        losses.increment(by: 0)
    }

    static func batch(messages: Int) { batches.record(messages) }
    static func split() { splits.increment() }
    static func lost() { losses.increment() }
}
