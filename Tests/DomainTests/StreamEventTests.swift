import Domain
import FoundationEssentials
import Testing

@Suite struct StreamEventTests {
    private let dialog = StreamKey.dialog(Identifier(7), of: Identifier(3))
    private let account = StreamKey.account(Identifier(3))

    private func event(payload: String = #"{"text":"hi"}"#, dialogSeq: Int64? = 2) -> StreamEvent {
        StreamEvent(
            generation: 1, accountID: Identifier(3), seq: 40,
            dialog: StreamEvent.Place(dialogID: Identifier(7), seq: dialogSeq), type: "message:new", payload: payload,
            at: Timestamp(microseconds: 0))
    }

    @Test func `an event carries the number of the stream that shows it`() {
        #expect(event().number(in: account) == 40)
        #expect(event().number(in: dialog) == 2)
        #expect(
            event().data(in: dialog)
                == #"{"type":"message:new","dialog_id":7,"seq":2,"at":"1970-01-01T00:00:00.000Z","text":"hi"}"#)
        #expect(event().data(in: account).contains(#""seq":40,"dialog_seq":2,"#))
    }

    @Test func `what visitors must not see has no number in a dialog's stream`() {
        #expect(event(dialogSeq: nil).number(in: dialog) == nil)
        #expect(!event(dialogSeq: nil).data(in: account).contains("dialog_seq"))
    }

    @Test func `other streams do not show it`() {
        #expect(event().number(in: .account(Identifier(4))) == nil)
        #expect(event().number(in: .dialog(Identifier(8), of: Identifier(3))) == nil)
    }

    @Test(arguments: ["{}", #"{"a":1}"#, #"{"a":{"b":[]}}"#])
    func `data is JSON whatever the payload has`(_ payload: String) throws {
        struct Typed: Decodable { let type: String }
        for stream in [account, dialog] {
            let data = Data(event(payload: payload).data(in: stream).utf8)
            #expect(try JSONDecoder().decode(Typed.self, from: data).type == "message:new")
        }
    }
}
