import AsyncHTTPClient
import Domain
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// One request over a connection of its own to one judged address. The library pools connections and resolves names by
/// itself, both by client; so each call has a client, which knows one address for one name.
final class OutboundCall: Sendable {
    private let target: OutboundTarget
    private let limits: OutboundLimits
    private let client: HTTPClient
    private let connection: Connection
    private let headDeadline: NIODeadline
    private let deadline: NIODeadline
    private let timer: Scheduled<Void>

    init(
        to target: OutboundTarget, at address: IPAddress, tls: TLSConfiguration, limits: OutboundLimits,
        start: NIODeadline
    ) {
        let group = MultiThreadedEventLoopGroup.singleton
        let connection = Connection()
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow,
            timeout: .init(connect: TimeAmount(limits.connection)), decompression: .disabled)
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        // The name stays in `Host`, in SNI and in what the certificate is checked for.
        if case .name(let name) = target.host { configuration.dnsOverride = [name: address.description] }
        // Runs when the connection stands, TLS included, and before a byte of the request is sent.
        configuration.http1_1ConnectionDebugInitializer = { channel in
            guard channel.remoteAddress?.ipAddress.flatMap({ IPAddress($0) })?.unmapped == address.unmapped else {
                channel.close(promise: nil)
                return channel.eventLoop.makeFailedFuture(OutboundRefusal.notPublic)
            }
            connection.stands.store(true, ordering: .relaxed)
            return channel.eventLoop.makeSucceededVoidFuture()
        }
        let client = HTTPClient(eventLoopGroup: group, configuration: configuration)
        self.target = target
        self.limits = limits
        self.connection = connection
        self.client = client
        headDeadline = start + TimeAmount(limits.head)
        deadline = start + TimeAmount(limits.answer)
        timer = group.any().scheduleTask(deadline: deadline) { client.shutdown { _ in } }
    }

    private final class Connection: Sendable {
        let stands = Atomic(false)
    }

    /// - Throws: ``OutboundRefusal``; `CancellationError`.
    func answer(to request: OutboundRequest) async throws -> OutboundAnswer {
        var sent = HTTPClientRequest(url: target.url)
        sent.method = request.method
        sent.headers = request.sentHeaders
        sent.body = request.body.map { .bytes($0) }
        let response: HTTPClientResponse
        do {
            response = try await client.execute(sent, deadline: min(headDeadline, deadline))
        } catch {
            throw refusal(error)
        }
        if let length = response.headers.first(name: "Content-Length").flatMap({ Int($0) }),
            length > limits.answerBytes, request.method != .HEAD
        {
            throw OutboundRefusal.answerTooLarge
        }
        let body = OutboundBody(source: response.body, byteLimit: limits.answerBytes) { [self] in refusal($0) }
        return OutboundAnswer(status: Int(response.status.code), headers: response.headers, body: body)
    }

    /// Closes the connection. Not waited for: a peer may take its time with TLS's farewell.
    func end() {
        timer.cancel()
        client.shutdown { _ in }
    }

    private func refusal(_ error: any Error) -> any Error {
        if Task.isCancelled { return CancellationError() }
        let now = NIODeadline.now()
        if now >= deadline { return OutboundRefusal.timedOut(.answer) }
        switch error {
        case is OutboundRefusal: return error
        case let error as HTTPClientError where error == .deadlineExceeded: return OutboundRefusal.timedOut(.head)
        case let error as HTTPClientError where [.connectTimeout, .tlsHandshakeTimeout].contains(error):
            return OutboundRefusal.timedOut(.connection)
        case _ where connection.stands.load(ordering: .relaxed): return OutboundRefusal.interrupted
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: return OutboundRefusal.untrusted
        default: return OutboundRefusal.unreachable
        }
    }
}
