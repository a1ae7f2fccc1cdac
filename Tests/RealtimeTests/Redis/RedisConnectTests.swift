import Foundation
import NIOCore
import NIOPosix
import Testing

@testable import Realtime

/// Being let in by a server, or not.
@Suite struct RedisConnectTests {
    @Test func `the password and the user are given`() async throws {
        let options = ["--requirepass", "s3cret@/:%", "--user", "replyx", "on", ">hunter2", "~*", "&*", "+@all"]
        try await TestRedis.with(options) { redis in
            let place = "127.0.0.1:\(redis.port)"
            for right in [":s3cret%40%2F%3A%25@\(place)", "replyx:hunter2@\(place)"] {
                #expect(await redis.failure(to: "redis://\(right)") == nil)
            }
            #expect(await redis.failure(to: "unix://replyx:hunter2@\(redis.socket)") == nil)
            for wrong in [":hunter3", "replyx:hunter3", "nobody:hunter3"] {
                let failure = await redis.failure(to: "redis://\(wrong)@\(place)")
                #expect(failure == .refused("WRONGPASS invalid username-password pair or user is disabled."))
            }
            #expect(await redis.failure(to: redis.url) == .refused("NOAUTH Authentication required."))
        }
    }

    @Test func `a server that quotes the password does not bring it into an error`() async throws {
        try await TestRedis.with(["--rename-command", "AUTH", ""]) { redis in
            let failure = await redis.failure(to: "redis://replyx:hunter2@127.0.0.1:\(redis.port)")
            #expect(failure == .refused("AUTH: ERR"))
        }
    }

    @Test func `a password that the server does not want is an error`() async throws {
        try await TestRedis.with { redis in
            let failure = await redis.failure(to: "redis://:hunter2@127.0.0.1:\(redis.port)")
            guard case .refused(let reason) = failure else { throw RedisFailure.malformed }
            #expect(reason.hasPrefix("ERR AUTH <password> called without any password configured"))
        }
    }

    @Test func `the database and the name are set`() async throws {
        try await TestRedis.with { redis in
            for url in ["\(redis.url)/3", "unix://\(redis.socket)?db=3"] {
                let connection = try await redis.connect(url)
                let info = try await connection.send([RedisCommand("CLIENT", "INFO")], within: .seconds(5))[0].text
                #expect(info?.contains(" db=3 ") == true)
                #expect(info?.contains(" name=test ") == true)
            }
            #expect(await redis.failure(to: "\(redis.url)/16") == .refused("ERR DB index is out of range"))
        }
    }

    @Test func `where nobody listens nobody is`() async throws {
        try await TestRedis.with { redis in
            redis.stop()
            #expect(await redis.failure(to: redis.url) == .away)
            #expect(await redis.failure(to: "unix://\(redis.socket)") == .away)
        }
    }

    @Test func `TLS is for a server that is trusted and is the one that was meant`() async throws {
        try await TestRedis.with(tls: true) { redis in
            let url = "rediss://localhost:\(redis.port)"
            let connection = try await redis.connect(url, rootsFile: redis.rootsFile)
            let value = String(repeating: "0123456789abcdef", count: 50_000)
            #expect(try await connection.send([RedisCommand("ECHO", value)], within: .seconds(5)) == [.text(value)])

            let ofOther = RedisFailure.refused("TLS: the server's certificate is not for this host")
            let meant = await redis.failure(to: "rediss://127.0.0.1:\(redis.port)", rootsFile: redis.rootsFile)
            #expect(meant == ofOther)
            let trusted = await redis.failure(to: url)
            #expect(trusted == .refused("TLS: the server's certificate is not trusted"))
            // A server that is asked without TLS closes.
            let plain = await redis.failure(to: redis.url)
            #expect(plain == .closed)
        }
    }

    @Test func `a server that falls silent under TLS is left at the deadline`() async throws {
        try await TestRedis.with(["--enable-debug-command", "yes"], tls: true) { redis in
            let connection = try await redis.connect("rediss://localhost:\(redis.port)", rootsFile: redis.rootsFile)
            let other = try await redis.connect("unix://\(redis.socket)")
            async let silence = outcome(other, [RedisCommand("DEBUG", "SLEEP", "20")], within: .seconds(30))
            let isSilent = try await eventually {
                await redis.failure(to: "unix://\(redis.socket)", within: .milliseconds(100)) == .timedOut
            }
            #expect(isSilent)
            let began = ContinuousClock.now
            let late = await outcome(connection, [RedisCommand("PING")], within: .milliseconds(200))
            #expect(late == .failure(.timedOut))
            await connection.ended()
            // NIO would wait for five seconds for an answer to the goodbye.
            #expect(began.duration(to: .now) < .seconds(5))
            redis.stop()
            #expect(await silence == .failure(.closed))
        }
    }

    @Test func `a server without TLS is not spoken to in it`() async throws {
        try await TestRedis.with { redis in
            let failure = await redis.failure(to: "rediss://127.0.0.1:\(redis.port)", within: .seconds(1))
            #expect(failure == .refused("TLS: the handshake failed") || failure == .timedOut || failure == .closed)
        }
    }

    @Test(arguments: [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", RedisFailure.malformed),
        ("-DENIED Redis is running in protected mode\r\n", .refused("DENIED Redis is running in protected mode")),
        ("+OK\r\n-LOADING Redis is loading the dataset\r\n", .refused("LOADING Redis is loading the dataset")),
        ("+OK\r\n", .timedOut),
        ("", .timedOut),
    ])
    func `a server that answers otherwise is no server`(_ words: String, _ failure: RedisFailure) async throws {
        try await FakeServer.with(words) { server in
            await #expect(throws: failure) {
                _ = try await RedisConnection.connect(
                    to: server, on: TestRedis.loop, name: "test",
                    within: failure == .timedOut ? .milliseconds(200) : .seconds(10))
            }
        }
    }

    @Test func `an answer that nobody asked for ends the connection`() async throws {
        try await FakeServer.with("+OK\r\n+PONG\r\n+HELLO\r\n") { server in
            let connection = try await RedisConnection.connect(
                to: server, on: TestRedis.loop, name: "test", within: .seconds(5))
            await connection.ended()
            #expect(await outcome(connection, [RedisCommand("PING")], within: .seconds(5)) == .failure(.malformed))
        }
    }

    @Test func `a cancelled task does not wait for an answer`() async throws {
        try await FakeServer.with("") { server in
            try await expectClosedWhenCancelled(connectingTo: server)
        }
    }

    @Test func `a host that does not answer is given up at the deadline, or when the task is cancelled`() async throws {
        let listener = try await ServerBootstrap(group: TestRedis.loop)
            .serverChannelOption(.backlog, value: 0)
            .serverChannelOption(.autoRead, value: false)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(listener.localAddress?.port)
        // Nobody takes them, and when there is no room for more the kernel answers none.
        for _ in 0..<4 {
            let filler = ClientBootstrap(group: TestRedis.loop).connectTimeout(.milliseconds(200))
            _ = try? await filler.connect(host: "127.0.0.1", port: port).get()
        }
        let server = try RedisServer("redis://127.0.0.1:\(port)")
        let began = ContinuousClock.now
        await #expect(throws: RedisFailure.timedOut) {
            _ = try await RedisConnection.connect(
                to: server, on: TestRedis.loop, name: "test", within: .milliseconds(200))
        }
        #expect(began.duration(to: .now) < .seconds(5))
        try await expectClosedWhenCancelled(connectingTo: server)
        try await listener.close()
    }

    private func expectClosedWhenCancelled(connectingTo server: RedisServer) async throws {
        let connecting = Task {
            try await RedisConnection.connect(to: server, on: TestRedis.loop, name: "test", within: .seconds(30))
        }
        try await Task.sleep(for: .milliseconds(100))
        let began = ContinuousClock.now
        connecting.cancel()
        await #expect(throws: RedisFailure.closed) { _ = try await connecting.value }
        #expect(began.duration(to: .now) < .seconds(20))
    }
}

/// Takes connections on a socket, and at the first that it hears says what it was told to.
private enum FakeServer {
    private final class Parrot: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private var words: String?

        init(_ words: String) {
            self.words = words
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard let words, !words.isEmpty else { return }
            self.words = nil
            context.channel.writeAndFlush(ByteBuffer(string: words), promise: nil)
        }
    }

    static func with(_ words: String, _ body: (RedisServer) async throws -> Void) async throws {
        let socket = "/tmp/rx-\(UUID().uuidString.prefix(8)).sock"
        let channel = try await ServerBootstrap(group: TestRedis.loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Parrot(words))
                }
            }
            .bind(unixDomainSocketPath: socket).get()
        do {
            try await body(RedisServer("unix://\(socket)"))
        } catch {
            try await channel.close()
            throw error
        }
        try await channel.close()
    }
}
