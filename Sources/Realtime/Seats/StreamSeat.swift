package import Domain
package import NIOCore

/// One client's place in a stream: how far it has come and where its bytes go. It has no task and no buffer of its
/// own. Belongs to its connection's event loop: created, used and dropped there.
package final class StreamSeat {
    enum State {
        /// Reading what was missed. Exits: ``live``, ``closed``.
        case opening
        /// In its loop's table. Exits: ``closed``.
        case live
        case closed
    }

    let stream: StreamKey
    /// When the credential ends; the stream ends with it.
    let expiresAt: NIODeadline
    /// What the client was let in by; `nil` where only time ends that.
    let credential: StreamCredential?
    private(set) var outlet: (any StreamOutlet)?
    private(set) var state = State.opening
    var generation: Int64 = 0
    /// The number of the newest event written; nothing at or below it is written again.
    var last: Int64 = 0
    /// Where this seat stands in its table's lists.
    var tableIndex = -1
    var groupIndex = -1
    /// In which second of the heartbeat's round it is this seat's turn.
    var turn: UInt8 = 0
    var isDirty = false
    /// Bytes written so far, for seeing progress.
    private(set) var written = 0
    private var whenWritable: CheckedContinuation<Bool, Never>?

    package init(
        stream: StreamKey, expiresAt: NIODeadline, credential: StreamCredential? = nil, outlet: any StreamOutlet
    ) {
        self.stream = stream
        self.expiresAt = expiresAt
        self.credential = credential
        self.outlet = outlet
    }

    /// Bytes that have left for the kernel.
    var drained: Int { written - (outlet?.pendingBytes ?? 0) }
    var pendingBytes: Int { outlet?.pendingBytes ?? 0 }

    func write(_ frame: ByteBuffer) {
        guard let outlet, state != .closed else { return }
        written += frame.readableBytes
        outlet.write(frame)
    }

    func flush() {
        outlet?.flush()
    }

    func becomeLive() {
        assert(state == .opening)
        state = .live
    }

    /// Suspends until fewer than 64 KiB are pending.
    /// - Parameter continuation: resumed with whether the seat is still open.
    func awaitWritable(_ continuation: CheckedContinuation<Bool, Never>) {
        precondition(whenWritable == nil, "one replay writes to a seat")
        guard state != .closed, let outlet else { return continuation.resume(returning: false) }
        guard !outlet.isWritable else { return continuation.resume(returning: true) }
        whenWritable = continuation
    }

    package func writabilityChanged() {
        guard let outlet, outlet.isWritable, let continuation = whenWritable else { return }
        whenWritable = nil
        continuation.resume(returning: true)
    }

    enum Ending {
        /// With last words, after everything that was written.
        case saying(ByteBuffer)
        /// At once: the client takes nothing any more.
        case aborting
        /// The connection is gone already.
        case gone
    }

    /// Closes the seat; later calls do nothing.
    func end(_ ending: Ending) {
        guard state != .closed, let outlet else { return }
        if case .saying(let words) = ending { outlet.write(words) }
        state = .closed
        self.outlet = nil
        let waiter = whenWritable
        whenWritable = nil
        switch ending {
        case .saying: outlet.finish()
        case .aborting: outlet.abort()
        case .gone: break
        }
        waiter?.resume(returning: false)
    }
}
