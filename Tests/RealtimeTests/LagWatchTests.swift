import Domain
import NIOCore
import Testing

@testable import Realtime

/// A connection that takes as much as the test lets it.
final class FakeOutlet: StreamOutlet {
    var pendingBytes = 0
    var isWritable: Bool { pendingBytes < 64 * 1024 }
    private(set) var written = ""
    private(set) var isFinished = false
    private(set) var isAborted = false
    var takesAll = true

    func write(_ frame: ByteBuffer) {
        written += String(buffer: frame)
        if !takesAll { pendingBytes += frame.readableBytes }
    }

    func flush() {}
    func finish() { isFinished = true }
    func abort() { isAborted = true }
}

@Suite struct LagWatchTests {
    private let outlet = FakeOutlet()
    private let seat: StreamSeat

    init() {
        seat = StreamSeat(stream: .account(Identifier(1)), expiresAt: .distantFuture, outlet: outlet)
        seat.becomeLive()
        outlet.takesAll = false
    }

    private func send(_ bytes: Int) {
        seat.write(ByteBuffer(repeating: 0x20, count: bytes))
    }

    private func at(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(1_000_000_000) + .milliseconds(milliseconds)
    }

    @Test func `a client that keeps up is fine`() {
        var watch = LagWatch()
        let found1 = watch.judge(seat, at: at(0))
        #expect(found1 == .fine)
        let found2 = watch.overdue(at: at(60_000))
        #expect(found2.isEmpty)
    }

    @Test func `more than a mebibyte pending is too much at once`() {
        var watch = LagWatch()
        send(LagWatch.hardLimit)
        let found3 = watch.judge(seat, at: at(0))
        #expect(found3 == .fine)
        send(1)
        let found4 = watch.judge(seat, at: at(1))
        #expect(found4 == .tooMuch)
    }

    @Test func `64 KiB still pending a second later is too much`() {
        var watch = LagWatch()
        send(LagWatch.steadyLimit + 1)
        _ = watch.judge(seat, at: at(0))
        let found5 = watch.overdue(at: at(900))
        #expect(found5.isEmpty)
        let found6 = watch.overdue(at: at(1000))
        #expect(found6.count == 1)
    }

    @Test func `a burst that is taken within the second is forgiven`() {
        var watch = LagWatch()
        send(LagWatch.steadyLimit * 2)
        _ = watch.judge(seat, at: at(0))
        outlet.pendingBytes = 10
        let found7 = watch.overdue(at: at(500))
        #expect(found7.isEmpty)
        send(LagWatch.steadyLimit)
        _ = watch.judge(seat, at: at(600))
        let found8 = watch.overdue(at: at(1500))
        #expect(found8.isEmpty)
    }

    @Test func `a client that takes nothing for five seconds is not there`() {
        var watch = LagWatch()
        send(100)
        _ = watch.judge(seat, at: at(0))
        let found9 = watch.overdue(at: at(4900))
        #expect(found9.isEmpty)
        let found10 = watch.overdue(at: at(5000))
        #expect(found10.count == 1)
    }

    @Test func `slow progress is progress`() {
        var watch = LagWatch()
        send(1000)
        _ = watch.judge(seat, at: at(0))
        for second in 1...20 as ClosedRange<Int64> {
            outlet.pendingBytes -= 10
            let found11 = watch.overdue(at: at(second * 1000))
            #expect(found11.isEmpty)
        }
    }

    @Test func `a replay may have much pending and may not stand still`() {
        let outlet = FakeOutlet()
        outlet.takesAll = false
        let opening = StreamSeat(stream: .account(Identifier(1)), expiresAt: .distantFuture, outlet: outlet)
        var watch = LagWatch()
        opening.write(ByteBuffer(repeating: 0x20, count: LagWatch.hardLimit * 2))
        let found12 = watch.judge(opening, at: at(0))
        #expect(found12 == .fine)
        let found13 = watch.overdue(at: at(4000))
        #expect(found13.isEmpty)
        let found14 = watch.overdue(at: at(5000))
        #expect(found14.count == 1)
    }
}
