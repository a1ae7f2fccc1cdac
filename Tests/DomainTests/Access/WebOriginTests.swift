import Domain
import Testing

@Suite struct WebOriginTests {
    @Test(arguments: [
        ("https://shop.example.com", "https", "shop.example.com", 443),
        ("http://shop.example.com", "http", "shop.example.com", 80),
        ("HTTPS://Shop.Example.COM:8443", "https", "shop.example.com", 8443),
        ("http://localhost:8000", "http", "localhost", 8000),
        ("http://[::1]:8000", "http", "[::1]", 8000),
        ("http://127.0.0.1", "http", "127.0.0.1", 80),
        ("https://xn--e1afmkfd.xn--p1ai", "https", "xn--e1afmkfd.xn--p1ai", 443),
    ])
    func `an origin is a scheme, a host and a port`(_ text: String, _ scheme: String, _ host: String, _ port: Int)
        throws
    {
        let origin = try #require(WebOrigin(text))
        #expect((origin.scheme, origin.host, origin.port) == (scheme, host, port))
    }

    @Test(arguments: [
        "", "null", "shop.example.com", "https://", "https:///", "https://shop.example.com/", "https://a b.example",
        "https://user@shop.example.com", "https://shop.example.com:", "https://shop.example.com:0",
        "https://shop.example.com:65536", "https://shop.example.com:8a", "https://shop.example.com:+80",
        "ftp://shop.example.com", "file://", "https://.example.com", "https://example.com.", "https://a..b",
        "https://exa_mple.com", "https://[::1", "https://[shop]", "https://пример.рф", "https://a.example,b.example",
        "https://a.example https://b.example", "https://-a.example", "https://shop.example.com?x", "https://shop#x",
    ])
    func `anything else is none`(_ text: String) {
        #expect(WebOrigin(text) == nil)
    }

    @Test(arguments: [
        ("http://localhost:1", true), ("http://127.0.0.1", true), ("http://127.9.9.9", true), ("http://[::1]", true),
        ("http://127.example.com", false), ("http://localhost.example.com", false), ("http://10.0.0.1", false),
    ])
    func `loopback is told by its names`(_ text: String, _ isLoopback: Bool) throws {
        #expect(try #require(WebOrigin(text)).isLoopback == isLoopback)
    }
}

@Suite struct HostRuleTests {
    @Test(arguments: [
        ("example.com", "example.com", true), ("example.com", "shop.example.com", true),
        ("example.com", "a.b.example.com", true), ("Example.COM", "example.com", true),
        ("example.com", "ample.com", false), ("example.com", "notexample.com", false),
        ("example.com", "example.com.evil.test", false), ("example.com", "com", false), ("example.com", "", false),
        ("shop.example.com", "example.com", false), ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "9.192.0.2.1", false),
        ("localhost", "localhost", true), ("localhost", "evil.localhost", true),
    ])
    func `a rule is for its host and those below it`(_ rule: String, _ host: String, _ isCovered: Bool) throws {
        #expect(try #require(HostRule(rule)).covers(host) == isCovered)
    }

    @Test(arguments: [
        "", ".", "*", "*.example.com", "https://example.com", "example.com/", "example.com:443", "exa mple.com",
        "-example.com", "example-.com", "a..b", ".example.com", "example.com.", "пример.рф", "'self'", "a;b", "a\"b",
        String(repeating: "a", count: 64) + ".com", String(repeating: "abcdefg.", count: 40) + "com",
    ])
    func `what is no host name is no rule`(_ text: String) {
        #expect(HostRule(text) == nil)
    }
}
