import Domain
import Testing

@Suite struct CursorTests {
    @Test(arguments: ["1-0", "1-42", "7-900000000000", "999999999999999999-999999999999999999"])
    func `a cursor reads back as it was written`(_ text: String) throws {
        let cursor = try #require(Cursor(text))
        #expect(cursor.description == text)
    }

    @Test(arguments: [
        "", "-", "1", "1-", "-1", "1-1-1", "0-1", "01-1", "1-01", "1--1", "+1-1", "1-+1", " 1-1", "1-1 ", "1_1", "a-1",
        "1-a", "1-1\n", "1-１", "1234567890123456789-1", "1-1234567890123456789", "1-0x10", "1.0-1",
    ])
    func `anything else is no cursor`(_ text: String) {
        #expect(Cursor(text) == nil)
    }
}
