import Domain
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Turns a name into its addresses, in the order in which they should be tried.
protocol HostResolver: Sendable {
    /// - Throws: ``OutboundRefusal/unresolvable``; `CancellationError`.
    func addresses(of name: String) async throws -> [IPAddress]
}

/// The system's resolver: `/etc/hosts`, DNS, in the order of RFC 6724.
struct SystemResolver: HostResolver {
    var timeLimit = TimeAmount.seconds(5)
    var threads = Self.ownThreads
    var lookUp = Self.getAddresses

    /// `getaddrinfo` blocks and cannot be interrupted, and whose name it asks may be slow on purpose: it has threads of
    /// its own, so that nothing else waits for them.
    private static let ownThreads = {
        let threads = NIOThreadPool(numberOfThreads: 8)
        threads.start()
        return threads
    }()

    func addresses(of name: String) async throws -> [IPAddress] {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let promise = loop.makePromise(of: [IPAddress].self)
        let lookup = Lookup()
        // The first to complete the promise wins; the others are not heard.
        let timer = loop.scheduleTask(in: timeLimit) { promise.fail(OutboundRefusal.unresolvable) }
        threads.submit { [lookUp] state in
            // Nobody waits for it any more: the queue must not be as slow as the slowest name.
            guard state == .active, !lookup.isAbandoned.load(ordering: .relaxed) else {
                return promise.fail(OutboundRefusal.unresolvable)
            }
            promise.completeWith(Result { try lookUp(name) })
        }
        defer {
            timer.cancel()
            lookup.isAbandoned.store(true, ordering: .relaxed)
        }
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            promise.fail(CancellationError())
        }
    }

    private final class Lookup: Sendable {
        let isAbandoned = Atomic(false)
    }

    @Sendable private static func getAddresses(of name: String) throws -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &first) == 0 else { throw OutboundRefusal.unresolvable }
        defer { freeaddrinfo(first) }
        var addresses: [IPAddress] = []
        var next = first
        while let entry = next?.pointee {
            if let address = address(entry), !addresses.contains(address) { addresses.append(address) }
            next = entry.ai_next
        }
        guard !addresses.isEmpty else { throw OutboundRefusal.unresolvable }
        return addresses
    }

    private static func address(_ entry: addrinfo) -> IPAddress? {
        let pointer = UnsafeRawPointer(entry.ai_addr)
        switch entry.ai_family {
        case AF_INET:
            return pointer.map { $0.loadUnaligned(as: sockaddr_in.self) }
                .flatMap { withUnsafeBytes(of: $0.sin_addr) { IPAddress(bytes: $0) } }
        case AF_INET6:
            return pointer.map { $0.loadUnaligned(as: sockaddr_in6.self) }
                .flatMap { withUnsafeBytes(of: $0.sin6_addr) { IPAddress(bytes: $0) } }
        default:
            return nil
        }
    }
}
