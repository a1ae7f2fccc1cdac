import NIOCore
import Testing

@testable import Realtime

/// The same numbers each time, so that a failure can be seen again.
struct Dice: RandomNumberGenerator {
    var state: UInt64

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct RedisParserTests {
    /// Every type of reply, as it stands on the wire and as it is read.
    private static let samples: [(wire: String, value: RedisValue)] = [
        ("+OK\r\n", .text("OK")),
        ("+\r\n", .text("")),
        ("-ERR unknown command\r\n", .error("ERR unknown command")),
        (":0\r\n", .integer(0)),
        (":-9223372036854775808\r\n", .integer(.min)),
        (":9223372036854775807\r\n", .integer(.max)),
        ("$0\r\n\r\n", .text("")),
        ("$5\r\na\r\nb\n\r\n", .text("a\r\nb\n")),
        ("$23\r\nДо́брый день 🙂\r\n".replacing("$23", with: "$\("До́брый день 🙂".utf8.count)"), .text("До́брый день 🙂")),
        ("$-1\r\n", .null),
        ("*-1\r\n", .null),
        ("*0\r\n", .array([])),
        ("*3\r\n:1\r\n*0\r\n*1\r\n$-1\r\n", .array([.integer(1), .array([]), .array([.null])])),
        ("*2\r\n-EXECABORT no\r\n+QUEUED\r\n", .array([.error("EXECABORT no"), .text("QUEUED")])),
        (
            "*1\r\n*2\r\n$14\r\nreplyx:{3}:bus\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\nk\r\n$5\r\nevent\r\n$1\r\np\r\n"
                + "$13\r\n{\"text\":\"é\"}\r\n*2\r\n$3\r\n2-0\r\n*-1\r\n",
            .array([
                .array([
                    .text("replyx:{3}:bus"),
                    .array([
                        .array([
                            .text("1-0"), .array([.text("k"), .text("event"), .text("p"), .text("{\"text\":\"é\"}")]),
                        ]),
                        .array([.text("2-0"), .null]),
                    ]),
                ])
            ])
        ),
        ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n", nested(.integer(7), 7)),
    ]

    private static let wire = Array(samples.map(\.wire).joined().utf8)
    private static let values = samples.map(\.value)

    private static func nested(_ value: RedisValue, _ depth: Int) -> RedisValue {
        depth == 0 ? value : .array([nested(value, depth - 1)])
    }

    /// What the pieces, fed one after the other, amount to.
    private func read(
        _ pieces: some Sequence<ArraySlice<UInt8>>, _ parser: RedisParser = RedisParser()
    ) throws(RedisFailure) -> [RedisValue] {
        var values: [RedisValue] = []
        for piece in pieces {
            try parser.feed(ByteBuffer(bytes: piece))
            while let value = try parser.next() { values.append(value) }
        }
        return values
    }

    private func pieces(of bytes: [UInt8], using dice: inout Dice) -> [ArraySlice<UInt8>] {
        var rest = bytes[...]
        var pieces: [ArraySlice<UInt8>] = []
        while !rest.isEmpty {
            let count = Int.random(in: 1...min(rest.count, 40), using: &dice)
            pieces.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return pieces
    }

    @Test func `each type of reply is read`() throws {
        for (wire, value) in Self.samples {
            #expect(try read([Array(wire.utf8)[...]]) == [value])
        }
    }

    @Test func `replies are the same wherever the bytes are cut`() throws {
        for cut in 0...Self.wire.count {
            let values = try read([Self.wire[..<cut], Self.wire[cut...]])
            #expect(values == Self.values, "cut at \(cut)")
        }
    }

    @Test func `replies are the same byte by byte`() throws {
        #expect(try read(Self.wire.indices.map { Self.wire[$0...$0] }) == Self.values)
    }

    @Test func `replies are the same in pieces of any size`() throws {
        var dice = Dice(state: 1)
        let parser = RedisParser()
        for _ in 0..<300 {
            #expect(try read(pieces(of: Self.wire, using: &dice), parser) == Self.values)
        }
    }

    @Test func `nothing is read before it is whole`() throws {
        for (wire, _) in Self.samples {
            #expect(try read([Array(wire.utf8.dropLast())[...]]).isEmpty)
        }
    }

    @Test func `bytes that are not UTF-8 are replaced`() throws {
        let wire = Array("$2\r\n".utf8) + [0x61, 0xFF] + Array("\r\n".utf8)
        #expect(try read([wire[...]]) == [.text("a\u{FFFD}")])
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n", "\r\n", "%1\r\n", "_\r\n", ":x\r\n", "$-2\r\n", "*-2\r\n", "$x\r\n",
        "*9223372036854775807\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:9\r\n",
    ])
    func `what is not the protocol is malformed, and stays so`(_ wire: String) {
        let parser = RedisParser()
        #expect(throws: RedisFailure.malformed) { try read([Array(wire.utf8)[...]], parser) }
        #expect(throws: RedisFailure.malformed) { try read([Array("+OK\r\n".utf8)[...]], parser) }
    }

    @Test func `a length that is only announced takes no memory`() throws {
        #expect(try read([Array("*2147483647\r\n*2147483647\r\n$2147483647\r\n".utf8)[...]]).isEmpty)
    }

    @Test func `a reply that does not end is malformed`() throws {
        let parser = RedisParser()
        try parser.feed(ByteBuffer(string: "*2\r\n$\(RedisParser.replyLimit * 2)\r\n"))
        let piece = ByteBuffer(repeating: 0x61, count: RedisParser.replyLimit / 4)
        #expect(throws: RedisFailure.malformed) {
            for _ in 0..<5 {
                try parser.feed(piece)
                let value = try parser.next()
                #expect(value == nil)
            }
        }
    }

    @Test func `many replies may be more than one may`() throws {
        let parser = RedisParser()
        let size = RedisParser.replyLimit / 4
        let reply = ByteBuffer(string: "$\(size)\r\n" + String(repeating: "a", count: size) + "\r\n")
        for _ in 0..<5 {
            try parser.feed(reply)
            guard case .text(let text) = try parser.next() else { throw RedisFailure.malformed }
            #expect(text.utf8.count == size)
        }
    }

    @Test func `bytes by lot are values or malformed`() {
        var dice = Dice(state: 2)
        let alphabet = Array("+-:$*\r\n0123456789aé".utf8)
        var malformed = 0
        for round in 0..<3000 {
            let count = Int.random(in: 1...120, using: &dice)
            let bytes = (0..<count).map { _ in
                round.isMultiple(of: 2)
                    ? UInt8.random(in: 0...255, using: &dice) : alphabet.randomElement(using: &dice) ?? 0
            }
            do throws(RedisFailure) {
                _ = try read(pieces(of: bytes, using: &dice))
            } catch {
                #expect(error == .malformed)
                malformed += 1
            }
        }
        #expect(malformed > 1000)
    }

    @Test func `a reply with bytes changed is values or malformed`() {
        var dice = Dice(state: 3)
        var outcomes = (values: 0, malformed: 0)
        for _ in 0..<3000 {
            var bytes = Self.wire
            for _ in 0..<Int.random(in: 1...4, using: &dice) {
                let index = Int.random(in: 0..<bytes.count, using: &dice)
                switch Int.random(in: 0..<3, using: &dice) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &dice)
                case 1: bytes.remove(at: index)
                default: bytes.insert(contentsOf: bytes[index...].prefix(9), at: index)
                }
            }
            do throws(RedisFailure) {
                outcomes.values += try read(pieces(of: bytes, using: &dice)).count
            } catch {
                #expect(error == .malformed)
                outcomes.malformed += 1
            }
        }
        #expect(outcomes.values > 1000 && outcomes.malformed > 1000)
    }
}
