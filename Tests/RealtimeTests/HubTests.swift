import Domain
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Realtime

/// A log in memory that answers as PostgreSQL's does: what is appended is committed.
final class MemoryLog: EventLog {
    private struct State: Sendable {
        var events: [StreamEvent] = []
        var generation: Int64 = 1
        var pages = 0
    }

    private let state = Mutex(State())
    let dialog = Dialog.ID(7)

    /// The next event of account 1; every second one is the dialog's.
    func append(payload: String = "{}") -> StreamEvent {
        state.withLock { state in
            let seq = Int64(state.events.count + 1)
            let isDialogs = seq.isMultiple(of: 2)
            let event = StreamEvent.sample(
                seq, dialog: isDialogs ? 7 : 8, dialogSeq: isDialogs ? seq / 2 : nil, generation: state.generation,
                payload: payload)
            state.events.append(event)
            return event
        }
    }

    /// How often events were asked for.
    var pages: Int { state.withLock { $0.pages } }

    func erase(upTo seq: Int64) {
        state.withLock { $0.events.removeAll { $0.seq <= seq } }
    }

    func head(of stream: StreamKey) async throws -> LogHead? {
        state.withLock { state in
            let seq = state.events.last?.seq ?? 0
            return LogHead(generation: state.generation, accountSeq: seq, dialogSeq: seq / 2)
        }
    }

    func events(in stream: StreamKey, after number: Int64, limit: Int) async throws -> [StreamEvent] {
        state.withLock { state in
            state.pages += 1
            return Array(state.events.filter { ($0.number(in: stream) ?? 0) > number }.prefix(limit))
        }
    }

    func heads(of accounts: [Account.ID]) async throws -> (generation: Int64, seqs: [Account.ID: Int64]) {
        state.withLock { state in (state.generation, [Identifier(1): state.events.last?.seq ?? 0]) }
    }
}

extension EventHub {
    func ingest(_ events: [StreamEvent]) { ingest(events, from: .commit) }
}

/// A client on an event loop whose connection keeps what is written.
struct TestClient: Sendable {
    let loop: any EventLoop
    let seat: NIOLoopBound<StreamSeat>
    fileprivate let outlet: NIOLoopBound<FakeOutlet>

    static func seated(
        on loop: any EventLoop, in stream: StreamKey, standingOn credential: StreamCredential? = nil
    ) async throws -> TestClient {
        try await loop.submit {
            let outlet = FakeOutlet()
            let seat = StreamSeat(
                stream: stream, expiresAt: .distantFuture, credential: credential, outlet: outlet)
            return TestClient(
                loop: loop, seat: NIOLoopBound(seat, eventLoop: loop), outlet: NIOLoopBound(outlet, eventLoop: loop))
        }.get()
    }

    func events() async throws -> [EventStreamParser.Event] {
        let outlet = self.outlet
        var parser = EventStreamParser()
        parser.feed(try await loop.submit { outlet.value.written }.get())
        return parser.events
    }

    func isFinished() async throws -> Bool {
        let outlet = self.outlet
        return try await loop.submit { outlet.value.isFinished }.get()
    }

    /// The numbers of the events it was sent.
    func numbers() async throws -> [Int64] {
        try await events().filter { $0.name == "message" }.compactMap { Cursor($0.id)?.number }
    }

    /// The numbers of all that was put into its loop's inbox before, read without the parser: there may be many.
    func handedOn() async throws -> [Int64] {
        let outlet = self.outlet
        let text = try await loop.submit { outlet.value.written }.get()
        return text.split(separator: "\n").filter { $0.hasPrefix("id: 1-") }.compactMap { Int64($0.dropFirst(6)) }
            .filter { $0 > 0 }
    }

    func waitUntil(_ isDone: ([EventStreamParser.Event]) -> Bool) async throws {
        for _ in 0..<2000 {
            if isDone(try await events()) { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("not seen in ten seconds")
    }
}

@Suite struct HubTests {
    private let loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    private let log = MemoryLog()
    private let account = StreamKey.account(Identifier(1))
    private let dialog = StreamKey.dialog(Identifier(7), of: Identifier(1))
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func makeHub() -> EventHub { EventHub(loops: loops, settings: StreamSettings()) }

    private func open(_ hub: EventHub, _ stream: StreamKey, from cursor: String?) async throws -> TestClient {
        let loop = loops.next()
        let client = try await TestClient.seated(on: loop, in: stream)
        await StreamOpener(hub: hub, log: log, logger: quiet).open(
            stream, requested: cursor, seat: client.seat, on: loop)
        return client
    }

    @Test func `who opens without a cursor is given one before the first event`() async throws {
        let hub = makeHub()
        for _ in 0..<10 { _ = log.append() }
        let client = try await open(hub, account, from: nil)
        try await client.waitUntil { !$0.isEmpty }
        let first = try await client.events()[0]
        #expect(first.name == "hb")
        #expect(first.id == "1-10")
    }

    @Test(arguments: [1, 150, 450, 900])
    func `what was missed comes once and in order`(_ missed: Int64) async throws {
        let hub = makeHub()
        for _ in 0..<1000 { _ = log.append() }
        let client = try await open(hub, account, from: "1-\(1000 - missed)")
        try await client.waitUntil { $0.last?.name == "hb" }
        #expect(try await client.numbers() == Array((1000 - missed + 1)...1000))
    }

    @Test func `readers that join at random moments see no hole and no double`() async throws {
        let hub = makeHub()
        let total: Int64 = 3000
        let auditor = Auditor(hub: hub, log: log, logger: quiet)
        let clients = try await withThrowingTaskGroup { group in
            group.addTask {
                for _ in 0..<total {
                    let event = log.append()
                    // Some are lost on the way, as when a process dies between commit and delivery; some come twice.
                    switch Int.random(in: 0..<10) {
                    case 0: break
                    case 1: hub.ingest([event, event])
                    default: hub.ingest([event])
                    }
                    if event.seq.isMultiple(of: 50) { try await auditor.round() }
                }
                try await auditor.round()
                return [(TestClient, Int64, StreamKey)]()
            }
            for reader in 0..<100 {
                group.addTask {
                    try await Task.sleep(for: .microseconds(Int.random(in: 0...200_000)))
                    let stream = reader.isMultiple(of: 2) ? account : dialog
                    let head = try #require(try await log.head(of: stream)?.cursor(in: stream))
                    let from = Int64.random(in: max(0, head.number - 600)...head.number)
                    return [(try await open(hub, stream, from: "1-\(from)"), from, stream)]
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        for (client, from, stream) in clients {
            let end = stream == account ? total : total / 2
            try await client.waitUntil { events in
                let last = events.last { $0.name == "message" }
                return (last.flatMap { Cursor($0.id)?.number } ?? from) >= end
            }
            let numbers = try await client.numbers()
            #expect(numbers == (from == end ? [] : Array((from + 1)...end)))
        }
    }

    @Test func `threads that hand on the same events at once keep them in order`() async throws {
        let hub = makeHub()
        let clients = [try await open(hub, account, from: nil), try await open(hub, account, from: nil)]
        for client in clients { try await client.waitUntil { !$0.isEmpty } }
        let total: Int64 = 20_000
        let events = (0..<total).map { _ in log.append() }
        await withTaskGroup { group in
            for _ in 0..<4 {
                group.addTask {
                    for start in stride(from: 0, to: events.count, by: 3) {
                        hub.ingest(Array(events[start..<min(start + 3, events.count)]))
                    }
                }
            }
        }
        for client in clients {
            let numbers = try await client.handedOn()
            #expect(numbers == Array(1...total))
        }
    }

    @Test func `much that is in memory is written piece by piece and nothing of it is missed`() async throws {
        let hub = makeHub()
        let keeper = try await open(hub, account, from: nil)
        for _ in 0..<500 { hub.ingest([log.append(payload: #"{"text":"\#(String(repeating: "x", count: 900))"}"#)]) }
        try await keeper.waitUntil { $0.last?.id == "1-500" }
        let late = try await open(hub, account, from: "1-20")
        try await late.waitUntil { $0.last?.name == "hb" }
        let numbers = try await late.numbers()
        #expect(numbers == Array(21...500))
    }

    @Test func `events that nobody handed on are found by the auditor`() async throws {
        let hub = makeHub()
        let client = try await open(hub, dialog, from: nil)
        for _ in 0..<500 { _ = log.append() }
        try await Auditor(hub: hub, log: log, logger: quiet).round()
        try await client.waitUntil { $0.last?.id == "1-250" }
        #expect(try await client.numbers() == Array(1...250))
    }

    @Test func `a log that went on while nobody followed is not read up for nobody`() async throws {
        let hub = makeHub()
        let first = try await open(hub, account, from: nil)
        try await first.waitUntil { !$0.isEmpty }
        let loop = first.loop
        let seat = first.seat
        try await loop.submit { hub.left(seat.value, on: loop) }.get()
        for _ in 0..<1000 { _ = log.append() }
        let second = try await open(hub, account, from: nil)
        // By the commit alone; no auditor runs here.
        hub.ingest([log.append()])
        try await second.waitUntil { $0.last?.id == "1-1001" }
        let numbers = try await second.numbers()
        #expect(numbers == [1001])
    }

    @Test func `erased rows are told of and never skipped over`() async throws {
        let hub = makeHub()
        for _ in 0..<100 { _ = log.append() }
        log.erase(upTo: 50)
        let client = try await open(hub, account, from: "1-40")
        try await client.waitUntil { $0.last?.name == "hb" }
        let events = try await client.events()
        #expect(events.map(\.name) == ["reset", "hb"])
        #expect(events[0].data.contains("erased"))
        #expect(events[0].id == "1-100")
    }

    @Test(arguments: [("1-999", "ahead"), ("2-1", "generation"), ("x", "malformed")])
    func `a cursor of another log is answered by a reset`(_ cursor: String, _ reason: String) async throws {
        let hub = makeHub()
        for _ in 0..<10 { _ = log.append() }
        let client = try await open(hub, account, from: cursor)
        try await client.waitUntil { $0.last?.name == "hb" }
        let events = try await client.events()
        #expect(events.map(\.name) == ["reset", "hb"])
        #expect(events[0].data.contains(reason))
        hub.ingest([log.append()])
        try await client.waitUntil { $0.last?.id == "1-11" }
    }

    @Test func `an event of a newer generation ends the streams`() async throws {
        let hub = makeHub()
        let client = try await open(hub, account, from: nil)
        hub.ingest([.sample(1, generation: 2)])
        try await client.waitUntil { $0.last?.name == "bye" }
        #expect(try await client.isFinished())
    }

    @Test func `draining ends every stream with last words and lets nobody in`() async throws {
        var settings = StreamSettings()
        settings.drainTime = .milliseconds(300)
        let hub = EventHub(loops: loops, settings: settings)
        var clients: [TestClient] = []
        for _ in 0..<20 { clients.append(try await open(hub, account, from: nil)) }
        await hub.drain()
        clients.append(try await open(hub, account, from: nil))
        for client in clients {
            try await client.waitUntil { $0.last?.data == #"{"reason":"drain"}"# }
            #expect(try await client.isFinished())
        }
    }

    @Test func `a table refuses what is not the next of its stream`() async throws {
        let hub = makeHub()
        let client = try await open(hub, account, from: nil)
        try await client.waitUntil { !$0.isEmpty }
        let loop = client.loop
        try await loop.submit {
            let table = hub.table(of: loop)
            table.deliver(ByteBuffer(string: "id: 1-2\ndata: 2\n\n"), of: account, number: 2)
            table.flush()
        }.get()
        #expect(try await client.numbers().isEmpty)
        #expect(try await client.isFinished())
    }

    @Test func `a long poll wakes with the event that it waits for`() async throws {
        let hub = makeHub()
        _ = log.append()
        let poll = StreamPoll(hub: hub, log: log)
        async let page = poll.page(of: account, after: "1-1", limit: 10, wait: .seconds(20))
        try await Task.sleep(for: .milliseconds(100))
        hub.ingest([log.append()])
        let found = try #require(try await page)
        #expect(found.events.map(\.seq) == [2])
        #expect(found.cursor == Cursor(generation: 1, number: 2))
        #expect(hub.feeds.find(Identifier(1))?.state.withLock { $0.followers.isEmpty } ?? false)
    }

    @Test func `pages follow one another to the end`() async throws {
        let hub = makeHub()
        for _ in 0..<25 { _ = log.append() }
        let poll = StreamPoll(hub: hub, log: log)
        var cursor = "1-0"
        var seen: [Int64] = []
        var pages = 0
        while true {
            let page = try #require(try await poll.page(of: account, after: cursor, limit: 10, wait: .zero))
            seen += page.events.map(\.seq)
            cursor = "\(page.cursor)"
            pages += 1
            if !page.hasMore { break }
        }
        #expect(seen == Array(1...25))
        #expect(pages == 3)
    }
}
