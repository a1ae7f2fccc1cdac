import Domain
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import App

/// Over real sockets. `127.0.0.1` and `127.0.0.2` stand for two hosts.
@Suite(.timeLimit(.minutes(1))) struct OutboundGuardTests {
    private static let loopback = "127.0.0.0/8, ::1"

    private func door(
        allow: String = loopback, _ resolver: any HostResolver = SystemResolver()
    ) throws -> OutboundGuard {
        OutboundGuard(allowed: try IPRange.list(allow), resolver: resolver)
    }

    private func text(
        _ door: OutboundGuard, _ url: String, within limits: OutboundLimits = OutboundLimits()
    ) async throws -> String {
        try await door.send(OutboundRequest(url: url), within: limits) { String(buffer: try await $0.body.whole()) }
    }

    @Test func `a request is sent and answered, with the name as Host`() async throws {
        let server = try await StubServer { $0.answer("pong", headers: "X-Kind: test\r\n") }
        defer { server.stop() }
        var request = OutboundRequest(
            method: .POST, url: "http://localhost:\(server.port)/v1/chat?stream=true", body: ByteBuffer(string: "ping"))
        request.headers.add(name: "Authorization", value: "Bearer secret")
        request.headers.add(name: "host", value: "elsewhere.example")
        request.headers.add(name: "Transfer-Encoding", value: "chunked")
        let answer = try await door().send(request) { answer in
            #expect(answer.headers["x-kind"] == ["test"])
            return (answer.status, String(buffer: try await answer.body.whole()))
        }
        #expect(answer == (200, "pong"))
        _ = await server.next()
        guard case .request(let text) = await server.next() else { throw Missing() }
        let lines = Set(text.split(separator: "\r\n").map { $0.lowercased() })
        #expect(text.hasPrefix("POST /v1/chat?stream=true HTTP/1.1\r\n"))
        #expect(text.hasSuffix("\r\n\r\nping"))
        #expect(
            lines.isSuperset(of: [
                "host: localhost:\(server.port)", "authorization: bearer secret", "content-length: 4",
                "accept-encoding: identity",
            ]))
        #expect(!text.contains("elsewhere") && !text.lowercased().contains("transfer-encoding"))
    }

    @Test(arguments: ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"])
    func `what leads to this machine is reached only where that is allowed`(_ host: String) async throws {
        let server = try await StubServer { $0.answer("inside") }
        defer { server.stop() }
        await #expect(throws: OutboundRefusal.notPublic) {
            try await text(door(allow: ""), "http://\(host):\(server.port)/")
        }
        #expect(try await text(door(), "http://\(host):\(server.port)/") == "inside")
        // The first connection that the server saw is the allowed one's.
        #expect(await server.next() == .opened)
        guard case .request = await server.next() else { throw Missing() }
        #expect(await server.next() == .closed)
    }

    @Test(.enabled(if: StubServer.hasIPv6)) func `an address of IPv6 is called`() async throws {
        let server = try await StubServer(host: "::1") { $0.answer("six") }
        defer { server.stop() }
        #expect(try await text(door(), "http://[::1]:\(server.port)/") == "six")
        _ = await server.next()
        guard case .request(let text) = await server.next() else { throw Missing() }
        #expect(text.lowercased().contains("host: [::1]:\(server.port)\r\n"))
    }

    @Test func `the connection goes to the address that was judged, whatever the name says later`() async throws {
        // DNS rebinding: the second answer is another one. The system itself has a third for this name.
        let resolver = ScriptedResolver([["127.0.0.2"], ["127.0.0.3"]])
        let door = try door(allow: "127.0.0.2", resolver)
        let judged = try await StubServer(host: "127.0.0.2") { $0.answer("judged") }
        defer { judged.stop() }
        let other = try await StubServer(port: judged.port) { $0.answer("rebound") }
        defer { other.stop() }
        #expect(try await text(door, "http://localhost:\(judged.port)/") == "judged")
        #expect(resolver.asked == ["localhost"])
        await #expect(throws: OutboundRefusal.notPublic) {
            try await text(door, "http://localhost:\(judged.port)/")
        }
        #expect(resolver.asked.count == 2)
    }

    @Test func `a name has no connection left of an address that it had before`() async throws {
        let resolver = ScriptedResolver([["127.0.0.1"], ["127.0.0.2"]])
        let first = try await StubServer { $0.answer("first") }
        defer { first.stop() }
        let other = try await StubServer(host: "127.0.0.2", port: first.port) { $0.answer("second") }
        defer { other.stop() }
        let door = try door(resolver)
        #expect(try await text(door, "http://models.test:\(first.port)/") == "first")
        #expect(try await text(door, "http://models.test:\(first.port)/") == "second")
    }

    @Test(arguments: [["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["2a00::1", "::ffff:127.0.0.1"], ["::1"]])
    func `one address that is not allowed refuses the name`(_ addresses: [String]) async throws {
        let door = try door(allow: "", ScriptedResolver([addresses]))
        await #expect(throws: OutboundRefusal.notPublic) { try await text(door, "http://models.test/") }
    }

    @Test func `an address that takes no connection is followed by the next one`() async throws {
        let server = try await StubServer { $0.answer("there") }
        defer { server.stop() }
        let door = try door(ScriptedResolver([["::1", "127.0.0.2", "127.0.0.1"]]))
        #expect(try await text(door, "http://models.test:\(server.port)/") == "there")
        let tooFar = try self.door(ScriptedResolver([["::1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]]))
        await #expect(throws: OutboundRefusal.unreachable) {
            try await text(tooFar, "http://models.test:\(server.port)/")
        }
    }

    @Test func `a name without an address says so`() async throws {
        await #expect(throws: OutboundRefusal.unresolvable) { try await text(door(), "http://nowhere.invalid/") }
    }

    @Test func `a redirect is an answer and is not followed`() async throws {
        let server = try await StubServer { channel in
            channel.answer("", status: "307 Temporary Redirect", headers: "Location: http://127.0.0.1:1/inside\r\n")
        }
        defer { server.stop() }
        let request = OutboundRequest(url: "http://127.0.0.1:\(server.port)/")
        let (status, place) = try await door().send(request) { ($0.status, $0.headers["location"]) }
        #expect(status == 307)
        #expect(place == ["http://127.0.0.1:1/inside"])
        _ = await server.next()
        guard case .request = await server.next() else { throw Missing() }
        #expect(await server.next() == .closed)
    }

    @Test func `a compressed answer is left as it is`() async throws {
        let server = try await StubServer { $0.answer("not gzip at all", headers: "Content-Encoding: gzip\r\n") }
        defer { server.stop() }
        #expect(try await text(door(), "http://127.0.0.1:\(server.port)/") == "not gzip at all")
    }

    private struct Missing: Error {}
}

/// Answers in the order it was given; after the last there is none.
final class ScriptedResolver: HostResolver {
    private let state: Mutex<(answers: [[String]], asked: [String])>

    init(_ answers: [[String]]) { state = Mutex((answers, [])) }

    var asked: [String] { state.withLock { $0.asked } }

    func addresses(of name: String) async throws -> [IPAddress] {
        try state.withLock {
            $0.asked.append(name)
            guard !$0.answers.isEmpty else { throw OutboundRefusal.unresolvable }
            return $0.answers.removeFirst().compactMap { IPAddress($0) }
        }
    }
}
