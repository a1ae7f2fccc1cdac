import Domain
import NIOCore
import NIOHTTP1
import NIOSSL
import Testing

@testable import App

/// Servers that are slow, endless or somebody else.
@Suite(.timeLimit(.minutes(1))) struct OutboundBoundsTests {
    private let door: OutboundGuard

    init() throws {
        door = OutboundGuard(allowed: try IPRange.list("127.0.0.0/8"))
    }

    private func text(_ server: StubServer, within limits: OutboundLimits) async throws -> String {
        try await door.send(OutboundRequest(url: "http://127.0.0.1:\(server.port)/"), within: limits) {
            String(buffer: try await $0.body.whole())
        }
    }

    private static let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    @Test func `an answer that says it is too large is not read`() async throws {
        let server = try await StubServer { $0.send("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n") }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.answerTooLarge) {
            try await text(server, within: OutboundLimits(answerBytes: 1000))
        }
        _ = await server.wait(for: .closed)
    }

    @Test func `an answer is read up to its bound`() async throws {
        let server = try await StubServer { $0.answer(String(repeating: "x", count: 1000)) }
        defer { server.stop() }
        #expect(try await text(server, within: OutboundLimits(answerBytes: 1000)).count == 1000)
    }

    @Test func `an endless answer ends at its bound and the connection is closed`() async throws {
        let server = try await StubServer { channel in
            channel.send(Self.endless)
            channel.trickle("64\r\n\(String(repeating: "x", count: 100))\r\n", every: .milliseconds(1))
        }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.answerTooLarge) {
            try await text(server, within: OutboundLimits(answerBytes: 1000))
        }
        _ = await server.wait(for: .closed)
    }

    @Test func `a request that is too large is not sent`() async throws {
        let request = OutboundRequest(method: .POST, url: "http://127.0.0.1:1/", body: ByteBuffer(string: "12345"))
        await #expect(throws: OutboundRefusal.requestTooLarge) {
            try await door.send(request, within: OutboundLimits(requestBytes: 4)) { _ in }
        }
    }

    @Test func `a head that does not come is not waited for`() async throws {
        let server = try await StubServer { _ in }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.timedOut(.head)) {
            try await text(server, within: OutboundLimits(head: .milliseconds(200)))
        }
        _ = await server.wait(for: .closed)
    }

    @Test func `a head that does not end is not waited for`() async throws {
        let server = try await StubServer { channel in
            channel.send("HTTP/1.1 200 OK\r\n")
            channel.trickle("X-More: 1\r\n", every: .milliseconds(20))
        }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.timedOut(.head)) {
            try await text(server, within: OutboundLimits(head: .milliseconds(300)))
        }
        _ = await server.wait(for: .closed)
    }

    @Test func `a head has a size`() async throws {
        let server = try await StubServer { channel in
            channel.send("HTTP/1.1 200 OK\r\n")
            channel.trickle("X-More: \(String(repeating: "x", count: 8000))\r\n", every: .milliseconds(1))
        }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.interrupted) { try await text(server, within: OutboundLimits()) }
        _ = await server.wait(for: .closed)
    }

    @Test func `an answer that trickles has its time`() async throws {
        let server = try await StubServer { channel in
            channel.send(Self.endless)
            channel.trickle("1\r\nx\r\n", every: .milliseconds(20))
        }
        defer { server.stop() }
        let start = ContinuousClock.now
        await #expect(throws: OutboundRefusal.timedOut(.answer)) {
            try await text(server, within: OutboundLimits(answer: .milliseconds(500)))
        }
        #expect(start.duration(to: .now) >= .milliseconds(500))
        _ = await server.wait(for: .closed)
    }

    @Test func `an answer that stops midway has its time`() async throws {
        let server = try await StubServer { $0.send(Self.endless + "1\r\nx\r\n") }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.timedOut(.answer)) {
            try await text(server, within: OutboundLimits(answer: .milliseconds(300)))
        }
    }

    @Test(arguments: ["220 mail.test ESMTP\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", ""])
    func `an answer that breaks off, or is no HTTP, is none`(_ bytes: String) async throws {
        let server = try await StubServer { channel in
            channel.writeAndFlush(ByteBuffer(string: bytes)).whenComplete { _ in channel.close(promise: nil) }
        }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.interrupted) { try await text(server, within: OutboundLimits()) }
    }

    @Test func `a connection that is not taken is not waited for`() async throws {
        await #expect(throws: OutboundRefusal.unreachable) {
            try await door.send(OutboundRequest(url: "http://127.0.0.1:1/")) { _ in }
        }
        // The handshake belongs to the connection, and this server never answers one.
        let server = try await StubServer { _ in }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.timedOut(.connection)) {
            try await door.send(
                OutboundRequest(url: "https://127.0.0.1:\(server.port)/"),
                within: OutboundLimits(connection: .milliseconds(200))
            ) { _ in }
        }
    }

    @Test func `pieces come as they are written`() async throws {
        let server = try await StubServer { $0.send(Self.endless + "5\r\nfirst\r\n") }
        defer { server.stop() }
        let request = OutboundRequest(url: "http://127.0.0.1:\(server.port)/")
        let first = try await door.send(request) { answer in
            var pieces = answer.body.makeAsyncIterator()
            return try await pieces.next().map { String(buffer: $0) }
        }
        #expect(first == "first")
        // Whoever stops reading closes the connection by it.
        _ = await server.wait(for: .closed)
    }

    @Test(arguments: [endless + "1\r\nx\r\n", ""])
    func `a cancelled caller closes the connection`(_ bytes: String) async throws {
        let server = try await StubServer { $0.send(bytes) }
        defer { server.stop() }
        let caller = Task { try await text(server, within: OutboundLimits()) }
        #expect(await server.next() == .opened)
        _ = await server.next()
        caller.cancel()
        await #expect(throws: CancellationError.self) { try await caller.value }
        #expect(await server.next() == .closed)
    }

    @Test func `nothing can be read once the call is over`() async throws {
        let server = try await StubServer { $0.send(Self.endless + "1\r\nx\r\n") }
        defer { server.stop() }
        let body = try await door.send(OutboundRequest(url: "http://127.0.0.1:\(server.port)/")) { $0.body }
        await #expect(throws: OutboundRefusal.interrupted) { try await body.whole() }
    }

    @Test func `the certificate must be good for the name, which is what the server is asked for`() async throws {
        let resolver = { ScriptedResolver([["127.0.0.1"]]) }
        let allowed = try IPRange.list("127.0.0.1")
        let trusting = try TestCertificate.clientThatTrustsIt()
        let server = try await StubServer(tls: try TestCertificate.server()) { $0.answer("proven") }
        defer { server.stop() }
        func call(_ name: String, _ tls: TLSConfiguration) async throws -> String {
            try await OutboundGuard(allowed: allowed, resolver: resolver(), tls: tls)
                .send(OutboundRequest(url: "https://\(name):\(server.port)/")) {
                    String(buffer: try await $0.body.whole())
                }
        }
        #expect(try await call("models.test", trusting) == "proven")
        let before = await server.wait(for: .closed)
        #expect(before.contains(.serverName("models.test")))
        await #expect(throws: OutboundRefusal.untrusted) { try await call("other.test", trusting) }
        #expect(await server.wait(for: .closed).contains(.serverName("other.test")))
        await #expect(throws: OutboundRefusal.untrusted) { try await call("127.0.0.1", trusting) }
        await #expect(throws: OutboundRefusal.untrusted) {
            try await call("models.test", .withSystemRoots)
        }
    }
}
