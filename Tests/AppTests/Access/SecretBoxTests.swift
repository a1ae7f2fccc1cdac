import Domain
import Testing

@testable import App

@Suite struct SecretBoxTests {
    private static let old = "0123456789abcdef0123456789abcdef"
    private static let new = "fedcba9876543210fedcba9876543210"

    @Test func `what is sealed opens for what it was sealed for, and for nothing else`() throws {
        let box = SecretBox(secrets: [Self.new])
        let sealed = try box.seal("123:token", for: .platformToken(.init(7)))
        #expect(try box.open(sealed, for: .platformToken(.init(7))) == "123:token")
        #expect(throws: SecretBox.Failure.self) { try box.open(sealed, for: .platformToken(.init(8))) }
        #expect(throws: SecretBox.Failure.self) { try box.open(sealed, for: .identity(.init(7))) }
    }

    @Test func `the same secret is sealed differently each time and never shows`() throws {
        let box = SecretBox(secrets: [Self.new])
        let first = try box.seal("123:token", for: .identity(.init(1)))
        #expect(try box.seal("123:token", for: .identity(.init(1))) != first)
        #expect(!String(decoding: first, as: UTF8.self).contains("token"))
    }

    @Test func `one changed bit anywhere and nothing opens`() throws {
        let box = SecretBox(secrets: [Self.new])
        let sealed = try box.seal("123:token", for: .identity(.init(1)))
        for place in sealed.indices {
            var spoilt = sealed
            spoilt[place] ^= 1
            #expect(throws: SecretBox.Failure.self) { try box.open(spoilt, for: .identity(.init(1))) }
        }
        for length in sealed.indices {
            #expect(throws: SecretBox.Failure.self) {
                try box.open(Array(sealed.prefix(length)), for: .identity(.init(1)))
            }
        }
    }

    @Test func `keys rotate by list`() throws {
        let sealed = try SecretBox(secrets: [Self.old]).seal("token", for: .identity(.init(1)))
        let rotated = SecretBox(secrets: [Self.new, Self.old])
        #expect(try rotated.open(sealed, for: .identity(.init(1))) == "token")
        #expect(!rotated.isCurrent(sealed))
        #expect(rotated.isCurrent(try rotated.seal("token", for: .identity(.init(1)))))
        #expect(throws: SecretBox.Failure.self) {
            try SecretBox(secrets: [Self.new]).open(sealed, for: .identity(.init(1)))
        }
    }
}

@Suite struct OriginsTests {
    @Test func `our own pages are those of the public address`() {
        let origins = Origins(publicURL: "https://chat.example.com")
        #expect(origins.isOwn("https://chat.example.com"))
        #expect(origins.isOwn("https://chat.example.com:443"))
        for other in ["http://chat.example.com", "https://chat.example.com:8443", "https://example.com", "null", ""] {
            #expect(!origins.isOwn(other))
        }
    }

    @Test func `a server on loopback is at home under all of its names there`() {
        let origins = Origins(publicURL: "http://127.0.0.1:8000")
        #expect(origins.isOwn("http://localhost:8000") && origins.isOwn("https://127.0.0.1:8443"))
        #expect(!origins.isOwn("http://127.example.com:8000"))
    }

    @Test func `a frame may stand on our own pages and on the assistant's sites`() {
        #expect(Origins.ancestors([]) == "'self'")
        #expect(
            Origins.ancestors(["shop.example", "10.0.0.1"])
                == "'self' http://shop.example:* http://*.shop.example:* http://10.0.0.1:*")
        #expect(Origins.ancestors(["evil; script-src *", "*"]) == "'self'")
    }
}
