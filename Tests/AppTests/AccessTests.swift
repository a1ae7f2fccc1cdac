import Domain
import Foundation
import NIOPosix
import Testing

@testable import App

@Suite struct PasswordTests {
    @Test func `a password is known by its hash and another is not`() async throws {
        let passwords = Passwords(pool: .singleton)
        let hash = try await passwords.hash("correct horse")
        #expect(hash.hasPrefix("scrypt$15$8$1$"))
        #expect(try await passwords.verify("correct horse", against: hash))
        #expect(try await !passwords.verify("correct horsf", against: hash))
        let again = try await passwords.hash("correct horse")
        #expect(again != hash)
    }

    @Test func `the derivation is RFC 7914's`() async throws {
        // Section 12, the vector of N = 16384, r = 8, p = 1: the first 32 of its 64 bytes.
        let known =
            "scrypt$14$8$1$\(Array("SodiumChloride".utf8).hexadecimal)"
            + "$7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        #expect(try await Passwords(pool: .singleton).verify("pleaseletmein", against: known))
    }

    @Test(arguments: ["", "scrypt", "md5$1", "scrypt$99$8$1$00$00", "scrypt$15$8$1$zz$00", "scrypt$15$8$1$0$00"])
    func `a spoilt hash lets nobody in`(_ hash: String) async throws {
        await #expect(throws: Passwords.Failure.self) {
            try await Passwords(pool: .singleton).verify("x", against: hash)
        }
    }
}

@Suite struct TokenTests {
    private static let old = String(repeating: "o", count: 32)
    private static let new = String(repeating: "n", count: 32)

    private func site() -> SiteToken { SiteToken(assistantID: 3, domains: ["example.com"], version: 1) }

    @Test func `what was signed with an earlier secret is still known`() async throws {
        let token = try await Tokens(secrets: [Self.old]).sign(site())
        let rotated = await Tokens(secrets: [Self.new, Self.old])
        #expect(try await rotated.verify(token, as: SiteToken.self).assistantID == 3)
        await #expect(throws: Tokens.Failure.invalid) {
            try await Tokens(secrets: [Self.new]).verify(token, as: SiteToken.self)
        }
    }

    @Test func `a token of one kind is none of another`() async throws {
        let tokens = await Tokens(secrets: [Self.new])
        let token = try await tokens.sign(site())
        await #expect(throws: Tokens.Failure.invalid) { try await tokens.verify(token, as: AccessToken.self) }
        await #expect(throws: Tokens.Failure.invalid) { try await tokens.verify(token, as: StreamToken.self) }
    }

    @Test func `an expired token is told from a forged one`() async throws {
        let tokens = await Tokens(secrets: [Self.new])
        let claims = StreamToken(
            for: .session(UUID()), account: 1, dialog: nil, exp: Tokens.expiry(in: -1))
        let expired = try await tokens.sign(claims)
        await #expect(throws: Tokens.Failure.expired) { try await tokens.verify(expired, as: StreamToken.self) }
        let forged = try await Tokens(secrets: [Self.old]).sign(claims)
        await #expect(throws: Tokens.Failure.invalid) { try await tokens.verify(forged, as: StreamToken.self) }
    }

    @Test(arguments: [
        "", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.eyJ0eXAiOiJzaXRlIn0.", String(repeating: "x", count: 9000),
    ])
    func `what is no token is refused`(_ token: String) async throws {
        let tokens = await Tokens(secrets: [Self.new])
        await #expect(throws: Tokens.Failure.invalid) { try await tokens.verify(token, as: SiteToken.self) }
    }
}

@Suite struct GuestSecretTests {
    @Test func `a UUID is the same guest however it is spelt`() throws {
        let lower = try #require(GuestSecret("6a0e5c50-1234-4000-8000-0000000000ab"))
        let upper = try #require(GuestSecret("6A0E5C50-1234-4000-8000-0000000000AB"))
        #expect(lower.guest(of: .init(1)) == upper.guest(of: .init(1)))
        #expect(lower.guest(of: .init(1)) != lower.guest(of: .init(2)))
    }

    @Test(arguments: [
        "", "short", "twenty-one-characters", String(repeating: "a", count: 129), "bad chars in here !!!!!!!!",
        "ответ-ответ-ответ-ответ-ответ",
    ])
    func `what could be guessed or hides something is no secret`(_ text: String) {
        #expect(GuestSecret(text) == nil)
    }

    @Test func `22 characters of base64url are one`() {
        #expect(GuestSecret("abcdefghijklmnopqrst-_") != nil)
    }
}
