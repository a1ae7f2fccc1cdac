import Domain
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import Realtime

extension EphemeralEvent {
    static func typing(dialog: Int64 = 7) -> EphemeralEvent {
        EphemeralEvent(
            .typingStart, accountID: Identifier(1), dialogID: Identifier(dialog), payload: #"{"sender":"user"}"#,
            at: Timestamp(microseconds: 0))
    }

    static func delta(_ id: String, epoch: Int64) -> EphemeralEvent {
        EphemeralEvent(
            .messageDelta, accountID: Identifier(1), dialogID: Identifier(7), part: .init(streamID: id, epoch: epoch),
            payload: #"{"stream_id":"\#(id)"}"#, at: Timestamp(microseconds: 0))
    }
}

@Suite struct EphemeralGateTests {
    private func event(_ type: String, _ payload: String) -> StreamEvent {
        StreamEvent(
            generation: 1, accountID: Identifier(1), seq: 1, dialog: nil, type: type, payload: payload,
            at: Timestamp(microseconds: 0))
    }

    @Test func `pieces pass until their answer ends`() {
        var gate = EphemeralGate()
        let open = gate.judge(.delta("a", epoch: 1))
        gate.note(event("message:new", #"{"message":{"text":"done"},"stream_id":"a"}"#))
        let late = gate.judge(.delta("a", epoch: 1))
        let other = gate.judge(.delta("b", epoch: 1))
        #expect([open, late, other] == [.pass, .ended, .pass])
    }

    @Test func `pieces of an epoch that is over do not pass`() {
        var gate = EphemeralGate()
        gate.note(event("handoff_started", #"{"status":"active","epoch":5}"#))
        let old = gate.judge(.delta("a", epoch: 4))
        let new = gate.judge(.delta("b", epoch: 5))
        let newer = gate.judge(.delta("c", epoch: 6))
        let overtaken = gate.judge(.delta("d", epoch: 5))
        #expect([old, new, newer, overtaken] == [.epoch, .pass, .pass, .epoch])
    }

    @Test func `a message cannot end an answer by its text`() {
        var gate = EphemeralGate()
        var message = JSONObject()
        message.add("text", #""stream_id":"a""#)
        gate.note(event("message:new", message.finished()))
        #expect(gate.judge(.delta("a", epoch: 1)) == .pass)
    }

    @Test func `what is no piece of an answer always passes`() {
        var gate = EphemeralGate()
        gate.note(event("handoff_started", #"{"epoch":5}"#))
        #expect(gate.judge(.typing()) == .pass)
    }
}

@Suite struct EphemeralDeliveryTests {
    private let loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    private let log = MemoryLog()
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    @Test func `those who follow now see it, without a number, and nobody sees it later`() async throws {
        let hub = EventHub(loops: loops, settings: StreamSettings())
        func open(_ stream: StreamKey, from cursor: String?) async throws -> TestClient {
            let loop = loops.next()
            let client = try await TestClient.seated(on: loop, in: stream)
            await StreamOpener(hub: hub, log: log, logger: quiet).open(
                stream, requested: cursor, seat: client.seat, on: loop)
            return client
        }
        let account = try await open(.account(Identifier(1)), from: nil)
        let dialog = try await open(.dialog(Identifier(7), of: Identifier(1)), from: nil)
        let other = try await open(.dialog(Identifier(8), of: Identifier(1)), from: nil)
        for client in [account, dialog, other] { try await client.waitUntil { !$0.isEmpty } }
        hub.show(.typing())
        hub.show(.delta("a", epoch: 1))
        for client in [account, dialog] {
            try await client.waitUntil { $0.contains { $0.data.contains("typing_start") } }
            let seen = try await client.events().first { $0.data.contains("typing_start") }
            #expect(seen?.id == "1-0", "the cursor stays where it was")
        }
        try await dialog.waitUntil { $0.contains { $0.data.contains("message:delta") } }
        #expect(try await !account.events().contains { $0.data.contains("message:delta") })
        #expect(try await other.events().allSatisfy { $0.name == "hb" })
        let late = try await open(.account(Identifier(1)), from: "1-0")
        try await late.waitUntil { !$0.isEmpty }
        #expect(try await late.events().allSatisfy { $0.name == "hb" })
    }
}
