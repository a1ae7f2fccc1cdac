import Domain
import Testing

@testable import Realtime

@Suite struct StreamStartTests {
    private static let head = Cursor(generation: 2, number: 40)

    @Test(
        arguments: [
            (nil, .live), ("", .live), ("2-40", .live), ("2-39", .resume(after: 39)), ("2-0", .resume(after: 0)),
            ("2-41", .reset(.ahead)), ("1-40", .reset(.generation)), ("3-1", .reset(.generation)),
            ("nonsense", .reset(.malformed)), ("2", .reset(.malformed)),
            ("2-40; DROP TABLE events", .reset(.malformed)),
        ] as [(String?, StreamStart)])
    func `a client's cursor decides where its stream begins`(_ requested: String?, _ start: StreamStart) {
        #expect(StreamStart.decide(requested: requested, head: Self.head) == start)
    }

    @Test func `a page with a hole anywhere shows that rows were erased`() {
        let stream = StreamKey.account(Identifier(1))
        func verdict(_ seqs: [Int64]) -> PageVerdict {
            PageVerdict(seqs.map { .sample($0) }, in: stream, after: 5, generation: 1)
        }
        #expect(verdict([]) == .nothing)
        #expect(verdict([7, 8]) == .erased)
        #expect(verdict([6, 8]) == .erased)
        #expect(PageVerdict([.sample(6, generation: 2)], in: stream, after: 5, generation: 1) == .otherLog)
        #expect(verdict([6, 7]) == .next([.sample(6), .sample(7)], upTo: 7))
    }
}
