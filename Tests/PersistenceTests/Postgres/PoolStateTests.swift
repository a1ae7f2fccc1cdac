import Testing

@testable import Persistence

@Suite struct PoolStateTests {
    private typealias State = PoolState<String, String>

    private let now = ContinuousClock.now
    private let refused = PostgresError(.connectFailed, message: "refused")

    private func name(_ request: State.Request) -> String {
        switch request {
        case .use(let connection): "use \(connection)"
        case .open: "open"
        case .wait: "wait"
        case .refuse(let error): "refuse \(error.kind)"
        }
    }

    private func granted(_ release: State.Release) -> [String] {
        release.granted.map { "\($0.waiter): \(name($0.request))" }
    }

    @Test func `places are given out up to the size, then callers wait in order`() {
        var state = State(size: 2, idleLimit: .seconds(300))
        #expect((0..<3).map { _ in name(state.request(at: now)) } == ["open", "open", "wait"])
        state.wait("first", id: 1)
        state.wait("second", id: 2)
        #expect(granted(state.release("a", at: now)) == ["first: use a"])
        #expect(granted(state.release(nil, at: now)) == ["second: open"])
        #expect(granted(state.release("a", at: now)) == [])
        #expect(name(state.request(at: now)) == "use a")
        #expect(state.taken == 2)
    }

    @Test func `who gave up is granted nothing`() {
        var state = State(size: 1, idleLimit: .seconds(300))
        _ = state.request(at: now)
        state.wait("first", id: 1)
        state.wait("second", id: 2)
        #expect(state.giveUp(1) == "first")
        #expect(granted(state.release("a", at: now)) == ["second: use a"])
        #expect(state.giveUp(2) == nil)
    }

    @Test func `after a failure everyone is refused until the pause is over, then one may try`() {
        var state = State(size: 4, idleLimit: .seconds(300))
        _ = state.request(at: now)
        _ = state.failed(refused, at: now) { _ in now + .seconds(1) }
        #expect(name(state.request(at: now)) == "refuse connectFailed")
        let later = now + .seconds(1)
        #expect((0..<2).map { _ in name(state.request(at: later)) } == ["open", "refuse connectFailed"])
        state.opened()
        #expect(name(state.request(at: later)) == "open")
    }

    @Test func `failures in a row are counted, and a success forgets them`() {
        var state = State(size: 1, idleLimit: .zero)
        var counts: [Int] = []
        for _ in 0..<3 {
            _ = state.request(at: now)
            _ = state.failed(refused, at: now) {
                counts.append($0)
                return now
            }
        }
        _ = state.request(at: now)
        state.opened()
        _ = state.release(nil, at: now)
        _ = state.request(at: now)
        _ = state.failed(refused, at: now) {
            counts.append($0)
            return now
        }
        #expect(counts == [1, 2, 3, 1])
    }

    @Test func `those who wait are refused when nothing is left that could serve them`() {
        var state = State(size: 2, idleLimit: .seconds(300))
        _ = state.request(at: now)
        _ = state.request(at: now)
        state.wait("first", id: 1)
        #expect(granted(state.failed(refused, at: now) { _ in now + .seconds(1) }) == [])
        #expect(granted(state.release(nil, at: now)) == ["first: refuse connectFailed"])
        #expect(state.waiting == 0)
    }

    @Test func `connections that nobody needs are closed after a while`() {
        var state = State(size: 2, idleLimit: .seconds(300))
        _ = state.request(at: now)
        _ = state.request(at: now)
        _ = state.release("a", at: now)
        _ = state.release("b", at: now)
        #expect(name(state.request(at: now)) == "use b")
        #expect(state.release("b", at: now + .seconds(301)).surplus == ["a"])
    }
}
