import Domain
import Testing

@Suite struct EntranceTests {
    private static let mark = GuestMark(text: "aa")
    private static let entrance = Entrance(
        isOpen: true, tokenVersion: 3, takesPreviousVersion: false, guestAccess: true, blocked: [])

    private func verdict(
        _ door: VisitorPass.Door, guest: GuestMark? = mark, _ change: (inout Entrance) -> Void = { _ in }
    ) -> Entrance.Refusal? {
        var entrance = Self.entrance
        change(&entrance)
        do {
            try entrance.admit(VisitorPass(assistantID: .init(1), door: door, guest: guest))
            return nil
        } catch {
            return error
        }
    }

    @Test func `who comes by today's token or by the number is let in`() {
        #expect(verdict(.site(version: 3)) == nil)
        #expect(verdict(.number) == nil)
    }

    @Test(arguments: [0, 1, 2, 4, .max])
    func `a token of another version is revoked`(_ version: Int) {
        #expect(verdict(.site(version: version)) == .revoked)
    }

    @Test func `in the time of grace the version before is good, and no other`() {
        #expect(verdict(.site(version: 2)) { $0.takesPreviousVersion = true } == nil)
        #expect(verdict(.site(version: 3)) { $0.takesPreviousVersion = true } == nil)
        #expect(verdict(.site(version: 1)) { $0.takesPreviousVersion = true } == .revoked)
        #expect(verdict(.site(version: 4)) { $0.takesPreviousVersion = true } == .revoked)
    }

    @Test func `where the number opens nothing, the token still does`() {
        #expect(verdict(.number) { $0.guestAccess = false } == .numberOff)
        #expect(verdict(.site(version: 3)) { $0.guestAccess = false } == nil)
    }

    @Test func `an assistant that is switched off lets nobody in`() {
        #expect(verdict(.site(version: 3)) { $0.isOpen = false } == .closed)
        #expect(verdict(.number) { $0.isOpen = false } == .closed)
    }

    @Test func `a blocked guest is kept out by both doors and nobody else is`() {
        let block: (inout Entrance) -> Void = { $0.blocked = [Self.mark] }
        #expect(verdict(.site(version: 3), block) == .blocked)
        #expect(verdict(.number, block) == .blocked)
        #expect(verdict(.number, guest: GuestMark(text: "ab"), block) == nil)
        #expect(verdict(.number, guest: nil, block) == nil)
    }

    @Test func `a guest's mark is the beginning of the hash in hexadecimal`() {
        let guest = Guest(assistantID: .init(1), hash: Array(0..<32))
        #expect(guest.mark.text == "000102030405060708090a0b0c0d0e0f")
    }
}
