import Testing

@testable import Domain

@Suite struct TrustedProxiesTests {
    private let proxies: TrustedProxies

    init() throws {
        proxies = try TrustedProxies("127.0.0.1, 10.0.0.0/8, ::1, 2001:db8::/32")
    }

    @Test(
        arguments: [
            // Nobody is believed but a proxy.
            ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", [], "203.0.113.9"),
            ("127.0.0.1", [], "127.0.0.1"),
            ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
            ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
            ("::1", ["2a00::1"], "2a00::1"),
            // What the client wrote itself stands on the left.
            ("127.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", ["1.1.1.1, 198.51.100.1, 10.1.1.1"], "198.51.100.1"),
            ("127.0.0.1", ["1.1.1.1", "198.51.100.1", "10.1.1.1,10.1.1.2"], "198.51.100.1"),
            ("127.0.0.1", ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            // All of them are proxies: the first of the chain.
            ("127.0.0.1", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            // No address: what was known before.
            ("127.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("127.0.0.1", ["198.51.100.1, _hidden"], "127.0.0.1"),
            ("127.0.0.1", ["198.51.100.1, 127.1"], "127.0.0.1"),
            ("127.0.0.1", ["198.51.100.1, 1. 2.3.4"], "127.0.0.1"),
            ("127.0.0.1", ["198.51.100.1, [::1"], "127.0.0.1"),
            ("127.0.0.1", ["198.51.100.1, [10.0.0.1]"], "127.0.0.1"),
            ("127.0.0.1", ["198.51.100.1, 10.0.0.1:99999"], "127.0.0.1"),
            ("127.0.0.1", ["", " , ,"], "127.0.0.1"),
            // Ports, brackets, blanks, mapped ones.
            ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
            ("127.0.0.1", ["[2a00::1]:443 ,\t10.0.0.1:80"], "2a00::1"),
            ("127.0.0.1", ["[2a00::1]"], "2a00::1"),
            ("127.0.0.1", ["2a00::1"], "2a00::1"),
            ("127.0.0.1", ["::ffff:198.51.100.1, ::ffff:10.0.0.1"], "198.51.100.1"),
            ("127.0.0.1", ["[::ffff:198.51.100.1]:1"], "198.51.100.1"),
            ("127.0.0.1", ["2A00:0::1"], "2a00::1"),
            // A connection without an address has none to judge.
            ("/run/replyx.sock", ["198.51.100.1"], "/run/replyx.sock"),
        ])
    func `the client is the first from the right that no proxy is`(
        _ connection: String, _ forwardedFor: [String], _ client: String
    ) {
        #expect(proxies.client(of: connection, forwardedFor: forwardedFor) == client)
    }

    @Test func `without a setting nothing is believed`() throws {
        #expect(try TrustedProxies("").client(of: "127.0.0.1", forwardedFor: ["198.51.100.1"]) == "127.0.0.1")
    }

    @Test func `a chain is followed for no more than 32 hops`() {
        let hops = (1...40).map { "10.0.0.\($0)" }
        #expect(proxies.client(of: "127.0.0.1", forwardedFor: [hops.joined(separator: ",")]) == "10.0.0.9")
        #expect(proxies.client(of: "127.0.0.1", forwardedFor: hops) == "10.0.0.9")
    }

    @Test func `a setting that is wrong says where`() {
        #expect(throws: IPRange.Invalid(part: "proxy.example")) { try TrustedProxies("10.0.0.0/8,proxy.example") }
    }
}
