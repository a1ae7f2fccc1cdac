import Domain
import FoundationEssentials
import Testing

@Suite struct JSONObjectTests {
    @Test(arguments: [
        "", "plain", "\"quoted\"", "back\\slash", "\u{0}\u{1}\u{1f}\u{7f}", "line\nbreak\r\n\ttab", "\u{2028}\u{2029}",
        "👩‍👩‍👧‍👦 e\u{301} \u{FEFF}", "</script>", "\u{FFFF}\u{10FFFF}", "\\u0041",
    ])
    func `a string reads back as it was`(_ text: String) throws {
        let back = try JSONDecoder().decode([String].self, from: Data("[\(text.json)]".utf8))
        #expect(Array(back[0].unicodeScalars) == Array(text.unicodeScalars))
    }

    @Test func `a string stands on one line whatever is in it`() {
        #expect(!"a\nb\rc".json.utf8.contains { $0 == 10 || $0 == 13 })
    }

    @Test func `fields stand in the order in which they were added`() {
        var object = JSONObject()
        object.add("b", Int64(1))
        object.add("a", String?.none)
        object.add(ifPresent: "c", String?.none)
        object.add("d", [true, false])
        #expect(object.finished() == #"{"b":1,"a":null,"d":[true,false]}"#)
        #expect(JSONObject().finished() == "{}")
    }

    @Test func `a message has the fields of the contract`() throws {
        let message = Message(
            id: Identifier(5), dialogID: Identifier(7), seq: nil, sender: .manager, text: "hi \"you\"",
            timestamp: Timestamp(microseconds: 0), systemType: "note",
            clientMessageID: UUID(uuidString: "6A0E5C50-0000-4000-8000-000000000001")!,
            author: Message.Author(id: Identifier(2), name: "Ann"))
        #expect(
            message.json
                == #"{"id":5,"dialog_id":7,"seq":null,"sender":"manager","text":"hi \"you\"","#
                + #""timestamp":"1970-01-01T00:00:00.000Z","message_kind":"text","system_type":"note","#
                + #""client_message_id":"6a0e5c50-0000-4000-8000-000000000001","author":{"id":2,"name":"Ann"}}"#)
    }
}
