import NIOCore
import ServiceLifecycle

/// Runs tasks on an event loop, so that a request is answered on its connection's own thread.
///
/// Nothing that answers a request blocks: the database has threads of its own, passwords and files have theirs.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) {
        self.loop = loop
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// A service that runs on an event loop, where what it is woken by and what it wakes are.
struct LoopService<Base: Service>: Service {
    let base: Base
    let executor: LoopExecutor?

    func run() async throws {
        try await withTaskExecutorPreference(executor) { try await base.run() }
    }
}

/// One executor a loop, for as long as the process lives.
struct LoopExecutors: Sendable {
    private let executors: [ObjectIdentifier: LoopExecutor]

    init(_ loops: some EventLoopGroup) {
        executors = Dictionary(
            uniqueKeysWithValues: loops.makeIterator().map { (ObjectIdentifier($0), LoopExecutor($0)) })
    }

    subscript(loop: any EventLoop) -> LoopExecutor? { executors[ObjectIdentifier(loop)] }
}
