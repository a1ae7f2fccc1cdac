import Dispatch
import Domain
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import App

/// With lookups that hang until they are let go, on one thread.
@Suite(.timeLimit(.minutes(1))) struct HostResolverTests {
    private let gate = DispatchSemaphore(value: 0)
    private let asked = Asked()

    private final class Asked: Sendable {
        let names = Mutex<[String]>([])
    }

    /// `slow` hangs, other names have an address.
    private func resolver(_ threads: NIOThreadPool, timeLimit: TimeAmount) -> SystemResolver {
        SystemResolver(timeLimit: timeLimit, threads: threads) { [gate, asked] name in
            asked.names.withLock { $0.append(name) }
            if name == "slow" { gate.wait() }
            return [.v4(1)]
        }
    }

    private func withThread(_ body: (NIOThreadPool) async throws -> Void) async throws {
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        do {
            try await body(threads)
            try await threads.shutdownGracefully()
        } catch {
            gate.signal()
            try await threads.shutdownGracefully()
            throw error
        }
    }

    @Test func `a name that hangs is given up, and nobody is looked up who has gone`() async throws {
        try await withThread { threads in
            let impatient = resolver(threads, timeLimit: .milliseconds(50))
            await #expect(throws: OutboundRefusal.unresolvable) { try await impatient.addresses(of: "slow") }
            await #expect(throws: OutboundRefusal.unresolvable) { try await impatient.addresses(of: "queued") }
            gate.signal()
            let patient = resolver(threads, timeLimit: .seconds(30))
            let addresses = try await patient.addresses(of: "later")
            #expect(addresses == [.v4(1)])
            #expect(asked.names.withLock { $0 } == ["slow", "later"])
        }
    }

    @Test func `a cancelled caller does not wait`() async throws {
        try await withThread { threads in
            let caller = Task { try await resolver(threads, timeLimit: .hours(1)).addresses(of: "slow") }
            caller.cancel()
            await #expect(throws: CancellationError.self) { try await caller.value }
            gate.signal()
        }
    }

    @Test func `the system knows this machine`() async throws {
        let addresses = try await SystemResolver().addresses(of: "localhost")
        #expect(!addresses.isEmpty)
        #expect(addresses.allSatisfy { !$0.isPublic })
        #expect(Set(addresses).count == addresses.count)
    }
}
