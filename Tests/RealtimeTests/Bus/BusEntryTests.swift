import Domain
import Testing

@testable import Realtime

@Suite struct BusEntryTests {
    private let origin = BusEntry.Origin(node: "abc", log: "7123.5")

    private static let event = StreamEvent(
        generation: 2, accountID: Identifier(33), seq: 41, dialog: .init(dialogID: Identifier(9), seq: 4),
        type: "message:new", payload: #"{"message":{"text":"Привет, \"мир\" 👋"}}"#,
        at: Timestamp(microseconds: 5_000_001))

    static let contents: [BusEntry.Content] = [
        .event(event),
        .event(
            StreamEvent(
                generation: 1, accountID: Identifier(1), seq: 1, dialog: nil, type: "presence:updated", payload: "{}",
                at: Timestamp(microseconds: 0))),
        .event(
            StreamEvent(
                generation: 1, accountID: Identifier(1), seq: 2, dialog: .init(dialogID: Identifier(3), seq: nil),
                type: "dialog:new", payload: #"{"a":1}"#, at: Timestamp(microseconds: 1))),
        .live(
            EphemeralEvent(
                .typingStart, accountID: Identifier(5), dialogID: Identifier(6), payload: #"{"sender":"user"}"#,
                at: Timestamp(microseconds: 7))),
        .live(
            EphemeralEvent(
                .messageDelta, accountID: Identifier(5), dialogID: Identifier(6),
                part: .init(streamID: "s1", epoch: 3), payload: #"{"text":"x"}"#, at: Timestamp(microseconds: 7))),
        .probe,
    ]

    @Test(arguments: contents)
    func `what is written is what is read`(_ content: BusEntry.Content) {
        let entry = BusEntry(origin: origin, number: 12, content: content)
        #expect(BusEntry(fields: entry.fields) == entry)
    }

    @Test func `an entry without any one of its fields is none`() {
        let fields = BusEntry(origin: origin, number: 12, content: .event(Self.event)).fields
        for index in stride(from: 0, to: fields.count, by: 2) {
            var less = fields
            less.removeSubrange(index..<(index + 2))
            #expect(BusEntry(fields: less) == nil, "without \(fields[index])")
        }
        for count in 0..<fields.count where !count.isMultiple(of: 2) {
            #expect(BusEntry(fields: Array(fields.prefix(count))) == nil)
        }
    }

    @Test(arguments: [
        ("s", "-1"), ("s", "1e3"), ("s", "99999999999999999999"), ("s", " 1"), ("a", "x"), ("g", ""), ("m", "1.5"),
        ("t", ""), ("t", #"message","evil":"1"#), ("t", String(repeating: "a", count: 65)), ("k", "other"),
        ("d", "x"), ("d", "-1"), ("q", "1.5"), ("p", ""), ("p", "[]"), ("p", "null"), ("p", "{"), ("x", "no"),
    ])
    func `a field that cannot be is refused`(_ name: String, _ value: String) {
        var fields = BusEntry(origin: origin, number: 12, content: .event(Self.event)).fields
        for index in stride(from: 0, to: fields.count, by: 2) where fields[index] == name { fields[index + 1] = value }
        #expect(BusEntry(fields: fields) == nil)
    }

    @Test func `an account's entries are all in one shard, and its key holds one slot's tag`() {
        for id in [1, 16, 17, 33, Int64.max] as [Int64] {
            let shard = BusShards.shard(of: Identifier(id))
            #expect(shard == Int(id % 16))
            #expect(BusShards.key(shard) == "replyx:{\(shard)}:bus")
        }
    }
}

@Suite struct BusPlacesTests {
    @Test func `reading goes on from what was read last and never from the dollar`() {
        var places = BusPlaces([0, 1, 2], since: 5000)
        #expect(places.ids == ["5000-0", "5000-0", "5000-0"])
        places.move(1, to: "7000-3")
        places.move(9, to: "9-9")
        #expect(places.ids == ["5000-0", "7000-3", "5000-0"])
        places.moveToEnds(["8000-1", nil, "6-0"])
        #expect(places.ids == ["8000-1", "0-0", "6-0"])
        #expect(
            places.read(count: 64, block: 1000)
                == RedisCommand([
                    "XREAD", "COUNT", "64", "BLOCK", "1000", "STREAMS", "replyx:{0}:bus", "replyx:{1}:bus",
                    "replyx:{2}:bus", "8000-1", "0-0", "6-0",
                ]))
        #expect(
            BusPlaces([0], since: 3).read(count: 8, block: nil)
                == RedisCommand(["XREAD", "COUNT", "8", "STREAMS", "replyx:{0}:bus", "3-0"]))
        #expect(BusPlaces([0], since: -20).ids == ["0-0"])
    }

    @Test func `a page is read whatever is missing in it`() throws {
        #expect(try #require(BusPage(.null)).streams.isEmpty)
        let value = RedisValue.array([
            .array([
                .text("replyx:{0}:bus"),
                .array([
                    .array([.text("5-1"), .array([.text("k"), .text("probe")])]),
                    .array([.text("5-2"), .null]),
                    .text("what is this"),
                ]),
            ])
        ])
        let page = try #require(BusPage(value))
        #expect(page.streams.map(\.key) == ["replyx:{0}:bus"])
        #expect(page.streams[0].items.map(\.id) == ["5-1", "5-2"])
        #expect(page.streams[0].items.map(\.fields) == [["k", "probe"], []])
        #expect(page.streams[0].items.map(\.milliseconds) == [5, 5])
        #expect(BusPage(.integer(3)) == nil)
        #expect(BusPage(.array([.text("x")])) == nil)
    }

    @Test(
        arguments: [
            (true, 0, EphemeralAge.own), (true, 99_999, .own), (false, 0, .fresh), (false, 10_000, .fresh),
            (false, 10_001, .old),
        ] as [(Bool, Int64, EphemeralAge)])
    func `what is only true now is not shown late or twice`(_ isOwn: Bool, _ age: Int64, _ verdict: EphemeralAge) {
        #expect(EphemeralAge.judge(isOwn: isOwn, milliseconds: age) == verdict)
    }
}
