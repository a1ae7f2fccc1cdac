import Domain
import NIOCore
import NIOSSL

/// The one door to every URL that an account can set: model servers, webhooks. Whoever may set a URL must not get this
/// server to speak to what only it can reach (server-side request forgery).
///
/// A name is resolved once, all its addresses are judged, and the connection goes to one that was judged: DNS cannot
/// say one thing to the check and another to the call. Redirects are not followed, no proxy is asked, and size and time
/// have bounds.
struct OutboundGuard: Sendable {
    /// Ranges that may be called although they are not public (`REPLYX_OUTBOUND_ALLOW`).
    let allowed: [IPRange]
    private let resolver: any HostResolver
    private let tls: TLSConfiguration

    /// A host of many addresses is tried at no more than these.
    private static let addressLimit = 3

    init(
        allowed: [IPRange], resolver: any HostResolver = SystemResolver(), tls: TLSConfiguration = .withSystemRoots
    ) {
        self.allowed = allowed
        self.resolver = resolver
        self.tls = tls
    }

    /// For when a URL is saved: all that can be said without asking anybody. What a name leads to is judged at each call.
    @discardableResult
    func check(_ url: String) throws(OutboundRefusal) -> OutboundTarget {
        let target = try OutboundTarget(url)
        if case .address(let address) = target.host, !allows(address) { throw .notPublic }
        return target
    }

    /// Calls, and lets `read` take the answer. When it returns or throws, or its task is cancelled, the connection is
    /// closed: no connection serves two calls, so none can carry one account's to what was judged for another.
    /// - Throws: ``OutboundRefusal``; `CancellationError`; what `read` throws.
    func send<Value>(
        _ request: OutboundRequest, within limits: OutboundLimits = OutboundLimits(),
        isolation: isolated (any Actor)? = #isolation,
        _ read: (OutboundAnswer) async throws -> Value
    ) async throws -> Value {
        let target = try check(request.url)
        guard (request.body?.readableBytes ?? 0) <= limits.requestBytes else { throw OutboundRefusal.requestTooLarge }
        let start = NIODeadline.now()
        var candidates = try await addresses(of: target).prefix(Self.addressLimit)
        while let address = candidates.popFirst() {
            let call = OutboundCall(to: target, at: address, tls: tls, limits: limits, start: start)
            defer { call.end() }
            let answer: OutboundAnswer
            do {
                answer = try await call.answer(to: request)
            } catch let refusal as OutboundRefusal {
                // Nothing was sent yet, and the next address was judged like this one.
                if !candidates.isEmpty && [.unreachable, .timedOut(.connection)].contains(refusal) { continue }
                throw refusal
            }
            return try await read(answer)
        }
        throw OutboundRefusal.unresolvable
    }

    /// One address that is not allowed refuses them all. A name that leads both outside and inside is either an attack
    /// or a mistake, and which of its addresses is called must not depend on their order.
    private func addresses(of target: OutboundTarget) async throws -> [IPAddress] {
        switch target.host {
        case .address(let address):
            return [address]
        case .name(let name):
            let addresses = try await resolver.addresses(of: name)
            guard addresses.allSatisfy(allows) else { throw OutboundRefusal.notPublic }
            return addresses
        }
    }

    private func allows(_ address: IPAddress) -> Bool {
        address.isPublic || allowed.contains { $0.contains(address) }
    }
}
