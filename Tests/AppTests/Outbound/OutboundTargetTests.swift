import Domain
import Testing

@testable import App

@Suite struct OutboundTargetTests {
    @Test(
        arguments: [
            ("https://api.example.com/v1/chat?model=a%20b", "https://api.example.com", "/v1/chat?model=a%20b"),
            ("HTTP://API.Example.COM:80", "http://api.example.com", "/"),
            ("https://example.com:8443?x=1#part", "https://example.com:8443", "/?x=1"),
            ("http://example.com:443/@:user", "http://example.com:443", "/@:user"),
            ("https://example.com:/", "https://example.com", "/"),
            ("http://ollama:11434/", "http://ollama:11434", "/"),
            ("http://my_model-1.example/", "http://my_model-1.example", "/"),
            ("http://8.8.8.8/", "http://8.8.8.8", "/"),
            ("http://[2A00:0::1]:8080/x", "http://[2a00::1]:8080", "/x"),
            ("http://1.example/..%2f../", "http://1.example", "/..%2f../"),
        ])
    func `a URL is taken apart`(_ url: String, _ shown: String, _ path: String) throws {
        let target = try OutboundTarget(url)
        #expect(target.description == shown)
        #expect(target.path == path)
        #expect(try OutboundTarget(target.url) == target)
    }

    @Test(
        arguments: [
            ("", .notHTTP), ("example.com", .notHTTP), ("ftp://example.com", .notHTTP),
            ("file:///etc/passwd", .notHTTP),
            ("http:/example.com", .notHTTP), ("http+unix://%2Ftmp/x", .notHTTP), ("javascript:alert(1)", .notHTTP),
            ("gopher://127.0.0.1:6379/_x", .notHTTP),
            ("http://", .noHost), ("http:///x", .noHost), ("https://:443/", .noHost), ("http://?x", .noHost),
            ("http://user@example.com/", .hasCredentials), ("http://user:pass@example.com/", .hasCredentials),
            ("http://example.com@127.0.0.1/", .hasCredentials), ("http://@example.com/", .hasCredentials),
            ("http://example.com:0/", .badPort), ("http://example.com:65536/", .badPort),
            ("http://example.com:+80/", .badPort), ("http://example.com:80:80/", .badPort),
            ("http://example.com:8a/", .badPort), ("http://example.com:000080/", .badPort),
            (" http://example.com/", .malformed), ("http://example.com/ x", .malformed),
            ("http://example.com/\r\nHost: x", .malformed), ("http://example.com\\@127.0.0.1/", .malformed),
            ("http://ex\u{E4}mple.com/", .malformed), ("http://\u{FF11}27.0.0.1/", .malformed),
            ("http://example\u{3002}com/", .malformed), ("http://example.com/\0", .malformed),
            ("http://ex%61mple.com/", .malformed), ("http://example.com/%zz", .malformed),
            ("http://example.com/%2", .malformed), ("http://example.com/?a[]=1", .malformed),
            ("http://example..com/", .malformed), ("http://.example.com/", .malformed),
            ("http://example.com./", .malformed), ("http://-a.com/", .malformed), ("http://a-/", .malformed),
            ("http://a,b/", .malformed), ("http://a;b/", .malformed), ("http://a&b/", .malformed),
            // What other programs take for 127.0.0.1.
            ("http://127.1/", .malformed), ("http://2130706433/", .malformed), ("http://0x7f.1/", .malformed),
            ("http://0x7f000001/", .malformed), ("http://017700000001/", .malformed),
            ("http://0177.0.0.1/", .malformed),
            ("http://127.0.0.01/", .malformed), ("http://127.0.0.1./", .malformed), ("http://x.0x/", .malformed),
            ("http://[::1%25lo]/", .malformed), ("http://[::1/", .malformed), ("http://[127.0.0.1]/", .malformed),
            ("http://[]/", .malformed), ("http://[::1]x/", .malformed), ("http://::1/", .noHost),
        ] as [(String, OutboundRefusal)])
    func `a URL that could be read in two ways is not read`(_ url: String, _ refusal: OutboundRefusal) {
        #expect(throws: refusal) { try OutboundTarget(url) }
    }

    @Test func `a URL has a length, and its labels too`() throws {
        let start = "https://example.com/"
        let path = String(repeating: "x", count: OutboundTarget.lengthLimit - start.count)
        #expect(try OutboundTarget(start + path).path.count == path.count + 1)
        #expect(throws: OutboundRefusal.tooLong) { try OutboundTarget(start + path + "x") }
        #expect(throws: OutboundRefusal.malformed) {
            try OutboundTarget("https://\(String(repeating: "a", count: 64)).com/")
        }
        let long = Array(repeating: String(repeating: "a", count: 60), count: 5).joined(separator: ".")
        #expect(throws: OutboundRefusal.malformed) { try OutboundTarget("https://\(long)/") }
    }

    @Test(arguments: [
        "http://127.0.0.1/", "http://10.0.0.1:8080/", "https://169.254.169.254/latest/meta-data/", "http://0.0.0.0/",
        "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::7f00:1]/",
        "http://[64:ff9b::10.0.0.1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fd00:ec2::254]/",
        "http://100.100.100.200/", "http://255.255.255.255/", "http://224.0.0.1/",
    ])
    func `an address that is not public is refused when the URL is saved`(_ url: String) {
        #expect(throws: OutboundRefusal.notPublic) { try OutboundGuard(allowed: []).check(url) }
    }

    @Test func `what the server's keeper allows is allowed, in every spelling and no wider`() throws {
        let door = OutboundGuard(allowed: try IPRange.list("10.1.0.0/16, ::1"))
        for url in ["http://10.1.2.3/", "http://[::ffff:10.1.2.3]/", "http://[::1]/", "http://8.8.8.8/"] {
            #expect(throws: Never.self) { try door.check(url) }
        }
        for url in ["http://10.2.0.1/", "http://127.0.0.1/", "http://[64:ff9b::10.1.2.3]/", "http://[::10.1.2.3]/"] {
            #expect(throws: OutboundRefusal.notPublic) { try door.check(url) }
        }
    }

    @Test func `what is shown of a URL has no secret in it`() throws {
        let target = try OutboundTarget("https://example.com/hooks/T0secret?token=secret")
        #expect(!"\(target)".contains("secret"))
    }
}
