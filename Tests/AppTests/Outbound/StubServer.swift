import NIOCore
import NIOPosix
import NIOSSL

/// A server of raw bytes: it lets the test say what is written, and when, and tells what it sees.
final class StubServer: Sendable {
    enum Seen: Equatable, Sendable {
        case opened, closed
        case request(String)
        case serverName(String?)
    }

    /// Called with a connection once a request is there whole.
    typealias Script = @Sendable (any Channel) -> Void

    let port: Int
    let seen: AsyncStream<Seen>
    private let listener: any Channel

    static var hasIPv6: Bool {
        (try? System.enumerateDevices())?.contains { $0.address?.ipAddress == "::1" } ?? false
    }

    init(
        host: String = "127.0.0.1", port: Int = 0, tls: TLSConfiguration? = nil, _ script: @escaping Script
    ) async throws {
        let (seen, continuation) = AsyncStream.makeStream(of: Seen.self)
        self.seen = seen
        let context = try tls.map { tls in
            var tls = tls
            tls.sslContextCallback = { values, promise in
                continuation.yield(.serverName(values.serverHostname))
                promise.succeed(.noChanges)
            }
            return try NIOSSLContext(configuration: tls)
        }
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.addHandler(Handler(script: script, seen: continuation))
                }
            }
            .bind(host: host, port: port).get()
        self.port = listener.localAddress?.port ?? 0
    }

    func stop() {
        listener.close(promise: nil)
    }

    /// The next thing that is seen.
    func next() async -> Seen? {
        for await seen in seen { return seen }
        return nil
    }

    /// Until `wanted` was seen; what came before it is returned.
    func wait(for wanted: Seen) async -> [Seen] {
        var before: [Seen] = []
        for await seen in seen {
            if seen == wanted { break }
            before.append(seen)
        }
        return before
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let script: Script
        private let seen: AsyncStream<Seen>.Continuation
        private var text = ""

        init(script: @escaping Script, seen: AsyncStream<Seen>.Continuation) {
            self.script = script
            self.seen = seen
        }

        func channelActive(context: ChannelHandlerContext) { seen.yield(.opened) }

        func channelInactive(context: ChannelHandlerContext) { seen.yield(.closed) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            text += String(buffer: unwrapInboundIn(data))
            guard let head = text.firstRange(of: "\r\n\r\n") else { return }
            let length = text[..<head.lowerBound].split(separator: "\r\n")
                .first { $0.lowercased().hasPrefix("content-length:") }
                .flatMap { Int($0.dropFirst(15).drop { $0 == " " }) }
            guard text[head.upperBound...].utf8.count >= length ?? 0 else { return }
            seen.yield(.request(text))
            text = ""
            script(context.channel)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

extension Channel {
    func send(_ text: String) {
        writeAndFlush(ByteBuffer(string: text), promise: nil)
    }

    /// An answer of one piece.
    func answer(_ text: String, status: String = "200 OK", headers: String = "") {
        send("HTTP/1.1 \(status)\r\nContent-Length: \(text.utf8.count)\r\n\(headers)\r\n\(text)")
    }

    /// Says `text` again and again, until the peer is gone.
    func trickle(_ text: String, every time: TimeAmount) {
        eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: time) { task in
            if self.isActive { self.send(text) } else { task.cancel() }
        }
    }
}
