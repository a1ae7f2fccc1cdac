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
    private var running: (process: Process, leash: Pipe)?

    private init(folder: URL, port: Int, options: [String]) {
        self.folder = folder
        self.port = port
        self.options = options
    }

    /// - Parameter options: of `redis-server`; made by a closure, as they may name files in its folder and its port.
    static func with<Result>(
        _ options: (_ folder: URL, _ port: Int) throws -> [String] = { _, port in ["--port", "\(port)"] },
        _ body: (TestRedis) async throws -> Result
    ) async throws -> Result {
        // Short, as a socket's path has room for 107 bytes.
        let folder = URL(fileURLWithPath: "/tmp/rx-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // Another process may have the port, and then Redis ends at once.
        for _ in 0..<5 {
            let port = Int.random(in: 21_000..<32_000)
            let redis = TestRedis(folder: folder, port: port, options: try options(folder, port))
            defer { redis.stop() }
            guard try await redis.start() else { continue }
            return try await body(redis)
        }
        throw NotStarted()
    }

    var url: String { "redis://127.0.0.1:\(port)" }
    var socket: String { folder.path + "/redis.sock" }

    /// - Returns: whether it answers on its own socket, so that no other server is taken for it.
    func start() async throws -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        // Becomes Redis, and leaves somebody behind who kills it should this process end without stopping it.
        let script = """
            exec 3<&0
            (read -r line <&3; kill -9 $$) &
            exec redis-server "$@" 3<&- </dev/null
            """
        process.arguments =
            ["-c", script, "sh", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder.path]
            + ["--unixsocket", socket] + options
        let leash = Pipe()
        process.standardInput = leash
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        running = (process, leash)
        for _ in 0..<300 where process.isRunning {
            if await answers() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        stop()
        return false
    }

    /// Kills it: what it held is gone.
    func stop() {
        guard let (process, leash) = running else { return }
        running = nil
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        try? leash.fileHandleForWriting.close()
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

/// Looks again until it is so, at most for 5 s.
func eventually(_ isSo: () async throws -> Bool) async throws -> Bool {
    let end = ContinuousClock.now + .seconds(5)
    while ContinuousClock.now < end {
        if try await isSo() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return false
}
