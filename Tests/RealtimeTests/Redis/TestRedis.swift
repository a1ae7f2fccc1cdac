import Foundation
import NIOCore
import NIOPosix
import Testing

@testable import Realtime

/// A Redis of one test: on a port and a socket of its own, in a folder of its own, with nothing on disk.
final class TestRedis {
    struct NotStarted: Error {}

    static let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.any()

    let folder: URL
    let port: Int
    private let options: [String]
    private var running: Shell?

    private init(folder: URL, port: Int, options: [String]) {
        self.folder = folder
        self.port = port
        self.options = options
    }

    /// - Parameters:
    ///   - options: of `redis-server`.
    ///   - tls: whether its port takes TLS alone, with a certificate for `localhost` that it has signed itself.
    static func with<Result>(
        _ options: [String] = [], tls: Bool = false, _ body: (TestRedis) async throws -> Result
    ) async throws -> Result {
        // Short, as a socket's path has room for 107 bytes.
        let folder = URL(fileURLWithPath: "/tmp/rx-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // Another process may have the port, and then Redis ends at once.
        for _ in 0..<5 {
            let port = Int.random(in: 21_000..<32_000)
            let ports = tls ? try Self.tls(in: folder, port: port) : ["--port", "\(port)"]
            let redis = TestRedis(folder: folder, port: port, options: ports + options)
            defer { redis.stop() }
            guard try await redis.start() else { continue }
            return try await body(redis)
        }
        throw NotStarted()
    }

    private static func tls(in folder: URL, port: Int) throws -> [String] {
        let (key, certificate) = (folder.path + "/key.pem", folder.path + "/cert.pem")
        let arguments =
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            + ["-keyout", key, "-out", certificate]
        guard try Shell("openssl req -x509 \(Shell.quoted(arguments))").end() == 0 else { throw NotStarted() }
        return ["--port", "0", "--tls-port", "\(port)", "--tls-auth-clients", "no"]
            + ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    }

    var url: String { "redis://127.0.0.1:\(port)" }
    /// What a client that trusts its certificate is given.
    var rootsFile: String { folder.path + "/cert.pem" }
    var socket: String { folder.path + "/redis.sock" }

    /// - Returns: whether it answers on its own socket, so that no other server is taken for it.
    func start() async throws -> Bool {
        let arguments =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder.path, "--unixsocket", socket]
            + options
        // The shell becomes Redis, and leaves somebody behind who kills it when the pipe is closed: by us, or by the
        // end of this process.
        running = try Shell(
            "exec 3<&0; (read -r line <&3; kill -9 $$) & exec redis-server \(Shell.quoted(arguments)) 3<&-")
        for _ in 0..<300 {
            if await answers() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        stop()
        return false
    }

    /// Kills it: what it held is gone.
    func stop() {
        running?.end()
        running = nil
        try? FileManager.default.removeItem(atPath: socket)
    }

    /// One that asks for a password answers too.
    private func answers() async -> Bool {
        guard FileManager.default.fileExists(atPath: socket) else { return false }
        switch await failure(to: "unix://\(socket)") {
        case nil, .refused: return true
        default: return false
        }
    }

    func connect(
        _ url: String? = nil, rootsFile: String? = nil, within limit: Duration = .seconds(5)
    ) async throws(RedisFailure) -> RedisConnection {
        guard let server = try? RedisServer(url ?? self.url, rootsFile: rootsFile) else { throw .away }
        return try await RedisConnection.connect(to: server, on: Self.loop, name: "test", within: limit)
    }

    /// - Returns: whether, at last, a client waits in BLPOP.
    func isAskedToBlock() async throws -> Bool {
        let watcher = try await connect()
        return try await eventually {
            let list = try await watcher.send([RedisCommand("CLIENT", "LIST")], within: .seconds(5))[0].text ?? ""
            return list.contains("cmd=blpop")
        }
    }

    /// - Returns: why no connection could be made; nil when one was.
    func failure(
        to url: String, rootsFile: String? = nil, within limit: Duration = .seconds(5)
    ) async -> RedisFailure? {
        do throws(RedisFailure) {
            try await connect(url, rootsFile: rootsFile, within: limit).close()
            return nil
        } catch {
            return error
        }
    }
}

/// A command of the shell that runs until it ends or its input does. (Foundation's `Process` waits for everyone who
/// has inherited from it, and several at once hold each other.)
final class Shell {
    struct NotStarted: Error {}

    private let input: UnsafeMutablePointer<FILE>

    init(_ command: String) throws {
        guard let input = popen("{ \(command); } >/dev/null 2>&1", "we") else { throw NotStarted() }
        self.input = input
    }

    /// Closes its input and waits for it.
    @discardableResult
    func end() -> Int32 {
        pclose(input)
    }

    static func quoted(_ words: [String]) -> String {
        words.map { "'" + $0.replacing("'", with: "'\\''") + "'" }.joined(separator: " ")
    }
}

/// Looks again until it is so, at most for 5 s.
func eventually(_ isSo: () async throws -> Bool) async throws -> Bool {
    let end = ContinuousClock.now + .seconds(5)
    while ContinuousClock.now < end {
        if try await isSo() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return false
}
