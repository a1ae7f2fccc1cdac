import Domain
import Testing

@Suite struct DraftTests {
    @Test func `what surrounds a text is dropped and what is inside is kept`() throws {
        #expect(try Draft(" \n\t hi  there\r\n\u{2028}you \u{3000}").text == "hi  there\r\n\u{2028}you")
    }

    @Test(arguments: ["", " ", "\n\t\r", "\u{00A0}\u{2003}\u{3000}", "\u{2028}\u{2029}"])
    func `white space alone is no text`(_ text: String) {
        #expect(throws: Refusal.textBlank) { try Draft(text) }
    }

    @Test func `the limit counts scalars after trimming`() throws {
        let longest = String(repeating: "я", count: Draft.limit)
        #expect(try Draft("  \(longest)  ").text == longest)
        #expect(throws: Refusal.textTooLong(limit: Draft.limit)) { try Draft(longest + "!") }
    }

    @Test(arguments: ["\0", "a\0b", "\0 "])
    func `a text with NUL is refused wherever it stands`(_ text: String) {
        #expect(throws: Refusal.textHasNUL) { try Draft(text) }
    }

    @Test func `joined emoji stay whole`() throws {
        #expect(try Draft("👩‍👩‍👧‍👦").text == "👩‍👩‍👧‍👦")
    }
}
