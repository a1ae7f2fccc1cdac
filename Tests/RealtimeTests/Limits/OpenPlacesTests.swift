import Domain
import Testing

@testable import Realtime

@Suite struct OpenPlacesTests {
    private let start = ContinuousClock.now

    private func digest(_ subject: String, secret: String = "secret") -> LimitDigest {
        LimitSecret(secret).digest(of: LimitKey(.visitorStreams, of: subject))
    }

    @Test func `a place is under all its keys or under none, and given up once`() {
        var places = OpenPlaces()
        let (visitor, other, address) = (digest("visitor"), digest("other"), digest("address"))
        #expect(places.enter(1, [(visitor, 2), (address, 3)]) == nil)
        #expect(places.enter(2, [(visitor, 2), (address, 3)]) == nil)
        #expect(places.enter(3, [(visitor, 2), (address, 3)]) == 0)
        #expect(places.enter(4, [(other, 2), (address, 3)]) == nil)
        #expect(places.enter(5, [(other, 2), (address, 3)]) == 1)
        places.leave(1, at: start)
        places.leave(1, at: start)
        #expect(places.enter(6, [(other, 2), (address, 3)]) == nil)
        #expect(places.enter(7, [(visitor, 2), (address, 3)]) == 1)
        #expect(places.count == 3)
        #expect(Set(places.all) == [2, 4, 6])
        #expect(places.keys(of: 1) == nil)
        #expect(places.keys(of: 4) == [other, address])
    }

    @Test func `who left is told in order and once, unless it has lapsed`() {
        var places = OpenPlaces()
        for place in 0..<6 {
            _ = places.enter(UInt64(place), [(digest("visitor"), 100)])
            places.leave(UInt64(place), at: start + .seconds(place))
        }
        let batch = places.takeLeft(2, since: start)
        #expect(batch.map(\.place) == [0, 1])
        places.putBack(batch)
        #expect(places.takeLeft(3, since: start + .seconds(1)).map(\.place) == [1, 2, 3])
        #expect(places.takeLeft(3, since: start + .seconds(5)).map(\.place) == [5])
        #expect(places.takeLeft(3, since: start).isEmpty)
    }

    @Test func `a digest is one subject's, one limit's and one secret's`() {
        let one = digest("a").key("rate")
        #expect(one == digest("a").key("rate"))
        #expect(one != digest("b").key("rate"))
        #expect(one != digest("a", secret: "another").key("rate"))
        let other = LimitSecret("secret").digest(of: LimitKey(.addressStreams, of: "a"))
        #expect(one != other.key("rate"))
        // HMAC-SHA256 of "limit:visitor_streams:a" under "secret", its first half.
        #expect(one == "replyx:{limit}:rate:ca17ed13b67689f31c36d03b36e9e881")
    }
}
