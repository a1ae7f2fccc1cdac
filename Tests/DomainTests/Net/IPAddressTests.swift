import Glibc
import Testing

@testable import Domain

@Suite struct IPAddressTests {
    @Test(
        arguments: [
            ("0.0.0.0", .v4(0)), ("127.0.0.1", .v4(0x7f00_0001)), ("255.255.255.255", .v4(.max)),
            ("::", .v6(0)), ("::1", .v6(1)), ("1::", .v6(1 << 112)),
            ("2001:DB8:0:0:8:800:200C:417A", .v6(0x2001_0db8_0000_0000_0008_0800_200c_417a)),
            ("2001:db8::8:800:200c:417a", .v6(0x2001_0db8_0000_0000_0008_0800_200c_417a)),
            ("::ffff:129.144.52.38", .v6(0xffff_8190_3426)), ("::13.1.68.3", .v6(0x0d01_4403)),
            ("1:2:3:4:5:6:7::", .v6(0x0001_0002_0003_0004_0005_0006_0007_0000)),
            ("0001:0002:0003:0004:0005:0006:255.255.255.255", .v6(0x0001_0002_0003_0004_0005_0006_ffff_ffff)),
        ] as [(String, IPAddress)])
    func `an address is read`(_ text: String, _ address: IPAddress) {
        #expect(IPAddress(text) == address)
    }

    @Test(arguments: [
        "", " ", "localhost", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0x7f.0.0.1", "017700000001",
        "0177.0.0.1", "127.0.0.01", "00.0.0.0", "256.0.0.1", "1.2.3.4.", ".1.2.3.4", "1.2.3.4.5", "1..2.3", "1.2.3",
        "1.2.3.+4", "1.2.3.-4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\n", "1.2.3.4\0", "1.2.3.4/8", "1.2.3.4:80",
        "\u{FF11}.2.3.4", "\u{661}.2.3.4", "127\u{3002}0.0.1", "1.2.3.4\u{301}", "1.2.3.a",
        ":", ":::", "::1::", "1::2::3", ":1", "1:", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4::5:6:7:8",
        "12345::", "g::", "::1.2.3", "::1.2.3.04", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4",
        "[::1]", "fe80::1%eth0", "fe80::1%", "::ffff:0x7f.1", "::ffff:127.1", "::1 ", "::-1", "::+1",
    ])
    func `what only looks like an address is none`(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(
        arguments: [
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:0db8::0001", "2001:db8::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:DB8::AbCd", "2001:db8::abcd"), ("0:0:0:0:0:0:0:0", "::"), ("1:0:0:0:0:0:0:0", "1::"),
            ("0:0:0:0:0:0:0:1", "::1"), ("::ffff:c000:0201", "::ffff:192.0.2.1"), ("010::", "10::"),
            ("0:1:0:0:0:0:0:0", "0:1::"), ("::1.2.3.4", "::102:304"), ("192.0.2.1", "192.0.2.1"),
        ])
    func `an address is written as RFC 5952 says`(_ text: String, _ canonical: String) throws {
        #expect(try #require(IPAddress(text)).description == canonical)
    }

    @Test func `an address is what was written, and bytes are in network order`() {
        #expect(IPAddress(bytes: [192, 0, 2, 1]) == .v4(0xc000_0201))
        #expect(IPAddress(bytes: [32, 1] + Array(repeating: 0, count: 13) + [9]) == IPAddress("2001::9"))
        #expect(IPAddress(bytes: []) == nil)
        #expect(IPAddress(bytes: [1, 2, 3, 4, 5]) == nil)
        var random = SeededNumbers(seed: 4)
        for _ in 0..<5000 {
            let address = IPAddress.random(using: &random)
            #expect(IPAddress(address.description) == address)
        }
    }

    @Test func `mapped addresses are the ones they map`() throws {
        #expect(try #require(IPAddress("::ffff:127.0.0.1")).unmapped == .v4(0x7f00_0001))
        for other in ["::127.0.0.1", "::fffe:7f00:1", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "10.0.0.1"] {
            let address = try #require(IPAddress(other))
            #expect(address.unmapped == address)
        }
    }

    @Test(
        arguments: [
            ("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"), ("::1", "::/64"),
        ])
    func `calls are counted by an IPv4 address or a network of IPv6`(_ text: String, _ network: String) throws {
        #expect(try #require(IPAddress(text)).network == network)
    }

    @Test func `nothing is an address that the system's parser refuses, and the other way round`() {
        var random = SeededNumbers(seed: 11)
        var accepted = 0
        for _ in 0..<60_000 {
            // An address with a few characters changed, or pieces of addresses at random.
            var text = Array(Bool.random(using: &random) ? IPAddress.random(using: &random).description : "")
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let piece = ["0", "1", "9", "a", "F", "g", ":", "::", ".", "25", "1.2.3.4", "%", " "]
                    .randomElement(using: &random)!
                let place = Int.random(in: 0...text.count, using: &random)
                let end = Bool.random(using: &random) ? place : min(place + 1, text.count)
                text.replaceSubrange(place..<end, with: piece)
            }
            let ours = IPAddress(String(text))
            #expect(ours == Self.systems(String(text)), "\(String(text))")
            if ours != nil { accepted += 1 }
        }
        #expect(accepted > 10_000)
    }

    private static func systems(_ text: String) -> IPAddress? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET6, text, &bytes) == 1 { return IPAddress(bytes: bytes) }
        return inet_pton(AF_INET, text, &bytes) == 1 ? IPAddress(bytes: bytes.prefix(4)) : nil
    }
}

/// Numbers that are the same in every run (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

extension IPAddress {
    /// Rich in zeros and in mapped ones, where the text has its turns.
    static func random(using random: inout some RandomNumberGenerator) -> IPAddress {
        switch Int.random(in: 0...5, using: &random) {
        case 0: return .v4(.random(in: 0 ... .max, using: &random))
        case 1: return .v6(0xffff << 32 | UInt128(UInt32.random(in: 0 ... .max, using: &random)))
        case 2: return .v6(.random(in: 0 ... .max, using: &random))
        default:
            let groups = (0..<8).map { _ in
                Bool.random(using: &random) ? 0 : UInt128(UInt16.random(in: 0 ... .max, using: &random))
            }
            return .v6(groups.reduce(0) { $0 << 16 | $1 })
        }
    }
}
