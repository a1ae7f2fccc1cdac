import Dispatch
import Foundation
import Synchronization

/// The executor of one connection: a thread of its own, on which libpq may wait without holding up anyone else.
/// The thread lives until ``stop()``.
final class ConnectionThread: SerialExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isStopped = false
        var identity: pthread_t?
    }

    private let state = Mutex(State())
    /// One signal for each job and one for the stop.
    private let wake = DispatchSemaphore(value: 0)

    init() {
        let thread = Thread { [self] in work() }
        thread.name = "postgres"
        thread.stackSize = 1 << 20
        thread.start()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        wake.signal()
    }

    /// Ends the thread after the jobs that are queued. Called by the actor's deinit: a job keeps its actor alive,
    /// so none can follow.
    func stop() {
        state.withLock { $0.isStopped = true }
        wake.signal()
    }

    func checkIsolated() {
        let isHere = state.withLock { state in
            state.identity.map { pthread_equal($0, pthread_self()) != 0 } ?? false
        }
        precondition(isHere, "Not on the connection's thread")
    }

    private func work() {
        state.withLock { $0.identity = pthread_self() }
        while true {
            wake.wait()
            let (job, isStopped) = state.withLock { state in
                (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isStopped)
            }
            if let job {
                job.runSynchronously(on: asUnownedSerialExecutor())
            } else if isStopped {
                return
            }
        }
    }
}
