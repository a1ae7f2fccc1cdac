import Domain
import Foundation
import JWTKit
import Testing

@testable import App

@Suite struct IdentityTokenTests {
    private static let secret = "rxi_" + String(repeating: "0123456789abcdef", count: 4)

    private struct Claims: JWTPayload {
        var sub: String? = "customer-7"
        var exp: Double? = Date().timeIntervalSince1970 + 600
        var name: String? = "Mira"
        func verify(using algorithm: some JWTAlgorithm) async throws {}
    }

    private func signed(
        _ claims: Claims = Claims(), _ secret: String = Self.secret, _ algorithm: DigestAlgorithm = .sha256
    ) async throws -> String {
        let keys = JWTKeyCollection()
        await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: algorithm)
        return try await keys.sign(claims)
    }

    private func verified(_ claims: Claims) async throws -> Visitor? {
        await IdentityToken.verified(try await signed(claims), secret: Self.secret)
    }

    @Test func `what the site signs is believed`() async throws {
        #expect(try await verified(Claims()) == Visitor(name: "Mira", externalID: "customer-7"))
        #expect(try await verified(Claims(name: nil)) == Visitor(name: nil, externalID: "customer-7"))
    }

    @Test(arguments: [-1, 0, 24 * 3600 + 60, 1e12, .infinity] as [Double])
    func `a word that is over, or good for more than a day, is not`(_ seconds: Double) async throws {
        guard seconds.isFinite else { return }
        #expect(try await verified(Claims(exp: Date().timeIntervalSince1970 + seconds)) == nil)
    }

    @Test func `nor one without an end or without a name for the visitor`() async throws {
        #expect(try await verified(Claims(exp: nil)) == nil)
        for subject in [nil, "", " ", "a\u{0}b", " padded ", String(repeating: "x", count: 201)] {
            #expect(try await verified(Claims(sub: subject)) == nil)
        }
    }

    @Test func `another secret, another algorithm and no algorithm are nobody's word`() async throws {
        let other = try await signed(Claims(), String(repeating: "another secret, as long as that. ", count: 3))
        #expect(await IdentityToken.verified(other, secret: Self.secret) == nil)
        let sha512 = try await signed(Claims(), Self.secret, .sha512)
        #expect(await IdentityToken.verified(sha512, secret: Self.secret) == nil)
        let body = try await signed().split(separator: ".")[1]
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0"] {
            #expect(await IdentityToken.verified("\(header).\(body).", secret: Self.secret) == nil)
        }
    }
}
