import CLibpq
import Dispatch
import Foundation
import Synchronization

/// Owns a `PGcancel`: freed exactly once.
///
/// `@unchecked Sendable`: nothing writes to a `PGcancel` between `PQgetCancel` and `PQfreeCancel`, and libpq
/// documents `PQcancel` as callable from any thread, even from a signal handler.
struct CancelHandle: ~Copyable, @unchecked Sendable {
    private let raw: OpaquePointer

    init?(of connection: OpaquePointer) {
        guard let raw = PQgetCancel(connection) else { return nil }
        self.raw = raw
    }

    deinit {
        PQfreeCancel(raw)
    }

    /// Asks the server to end what the connection is running. Blocks, without a deadline of its own.
    func send() {
        var complaint = [CChar](repeating: 0, count: 256)
        _ = PQcancel(raw, &complaint, Int32(complaint.count))
    }
}

/// Ends a connection's statement from outside its thread, and keeps a late cancel request from hitting the next
/// user's statement.
final class Canceller: Sendable {
    /// How long the server may take to end a cancelled statement before its connection is dropped.
    static let patience: Duration = .seconds(1)

    private final class Target: Sendable {
        let handle: CancelHandle
        init(_ handle: consuming CancelHandle) { self.handle = handle }
    }

    private struct State {
        var target: Target?
        var isRunning = false
        var requested: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let requests = DispatchGroup()

    func aim(_ handle: consuming CancelHandle?) {
        let target: Target? = if let handle { Target(handle) } else { nil }
        state.withLock { $0.target = target }
    }

    /// When the calling task was cancelled.
    var requested: ContinuousClock.Instant? { state.withLock { $0.requested } }

    /// The task's cancellation: ends the running statement, and keeps the next ones from starting.
    func cancel() {
        let target = state.withLock { state -> Target? in
            guard state.requested == nil else { return nil }
            state.requested = .now
            guard state.isRunning, let target = state.target else { return nil }
            requests.enter()
            return target
        }
        guard let target else { return }
        // Opens a connection of its own to the server, so it may take long: not on a thread that others need.
        Thread.detachNewThread { [requests] in
            target.handle.send()
            requests.leave()
        }
    }

    /// - Returns: false when the task is cancelled, and nothing must be started.
    func begin() -> Bool {
        state.withLock { state in
            guard state.requested == nil else { return false }
            state.isRunning = true
            return true
        }
    }

    func end() {
        state.withLock { $0.isRunning = false }
    }

    /// Waits until a request that is under way has been taken by the server, so that it cannot hit what runs next.
    /// - Returns: false when it has not within ``patience``: then nothing may run on this connection any more.
    func settle() -> Bool {
        guard requested != nil else { return true }
        return requests.wait(timeout: .now() + .seconds(1)) == .success
    }

    /// Forgets the cancellation, for the next task.
    func reset() {
        state.withLock { $0.requested = nil }
    }
}
