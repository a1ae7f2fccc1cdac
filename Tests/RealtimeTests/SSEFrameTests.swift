import Domain
import FoundationEssentials
import NIOCore
import Testing

@testable import Realtime

/// Reads a stream as the HTML standard says ("Server-sent events", interpreting an event stream).
struct EventStreamParser {
    struct Event: Equatable {
        var id = ""
        var name = "message"
        var data = ""
    }

    private(set) var events: [Event] = []
    private(set) var retry: Int?
    private var pending = Event(data: "")
    private var lastID = ""
    private var lines = ""

    mutating func feed(_ text: String) {
        lines += text
        while let end = lines.unicodeScalars.firstIndex(of: "\n") {
            let line = String(lines.unicodeScalars[..<end])
            lines = String(lines.unicodeScalars[lines.unicodeScalars.index(after: end)...])
            take(line)
        }
    }

    private mutating func take(_ line: String) {
        if line.isEmpty {
            if !pending.data.isEmpty {
                pending.data.removeLast()
                pending.id = lastID
                events.append(pending)
            }
            pending = Event(data: "")
            return
        }
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let value = parts.count > 1 ? String(parts[1].hasPrefix(" ") ? parts[1].dropFirst() : parts[1]) : ""
        switch parts[0] {
        case "id": lastID = value
        case "event": pending.name = value
        case "data": pending.data += value + "\n"
        case "retry": retry = Int(value)
        default: break
        }
    }
}

@Suite struct SSEFrameTests {
    private let stream = StreamKey.account(Identifier(1))

    private func event(payload: String) -> StreamEvent {
        StreamEvent(
            generation: 1, accountID: Identifier(1), seq: 43,
            dialog: StreamEvent.Place(dialogID: Identifier(7), seq: 5), type: "message:new", payload: payload,
            at: Timestamp(microseconds: 0))
    }

    private func parse(_ frames: ByteBuffer...) -> EventStreamParser {
        var parser = EventStreamParser()
        for frame in frames { parser.feed(String(buffer: frame)) }
        return parser
    }

    @Test func `an event is one block with an id and one line of data`() {
        let parser = parse(SSEFrame.event(event(payload: "{}"), in: stream, number: 43))
        #expect(parser.events.count == 1)
        #expect(parser.events[0].id == "1-43")
        #expect(parser.events[0].name == "message")
        #expect(parser.events[0].data.hasPrefix(#"{"type":"message:new","dialog_id":7,"seq":43"#))
    }

    @Test(arguments: [
        "a\r\nid: 9-9\r\ndata: x", "\ndata: stolen\n\n", "\u{2028}\u{2029}\u{85}", "\r", "event: bye\n", "😀\u{0}\u{1b}",
        ": comment", "\\n", "\"}\n\n",
    ])
    func `a text cannot make fields or events of its own`(_ text: String) throws {
        struct Payload: Codable, Equatable { let text: String }
        let frame = SSEFrame.event(event(payload: JSONText.of(Payload(text: text))), in: stream, number: 43)
        let parser = parse(frame)
        #expect(parser.events.count == 1)
        #expect(parser.events[0].id == "1-43")
        let back = try JSONDecoder().decode(Payload.self, from: Data(parser.events[0].data.utf8))
        #expect(back.text == text)
    }

    @Test func `a line break between JSON's tokens does not end the data`() {
        let parser = parse(SSEFrame.event(event(payload: "{\"a\":1,\r\n\"b\":2}"), in: stream, number: 43))
        #expect(parser.events.count == 1)
        #expect(parser.events[0].data.hasSuffix(#""a":1,  "b":2}"#))
    }

    @Test func `a heartbeat without id leaves the cursor alone`() {
        let head = Cursor(generation: 1, number: 50)
        let parser = parse(
            SSEFrame.event(event(payload: "{}"), in: stream, number: 43),
            SSEFrame.heartbeat(head: head, at: Timestamp(microseconds: 0), movesCursor: false),
            SSEFrame.heartbeat(head: head, at: Timestamp(microseconds: 0), movesCursor: true))
        #expect(parser.events.map(\.id) == ["1-43", "1-43", "1-50"])
        #expect(parser.events.map(\.name) == ["message", "hb", "hb"])
    }

    @Test func `a reset moves the cursor to the head and says why`() {
        let parser = parse(SSEFrame.reset(.erased, head: Cursor(generation: 2, number: 9)))
        #expect(parser.events == [.init(id: "2-9", name: "reset", data: #"{"reason":"erased","head":"2-9"}"#)])
    }

    @Test func `last words say why and when to come back`() {
        let parser = parse(SSEFrame.bye(.drain, retryMilliseconds: 1234))
        #expect(parser.events == [.init(id: "", name: "bye", data: #"{"reason":"drain"}"#)])
        #expect(parser.retry == 1234)
    }
}
