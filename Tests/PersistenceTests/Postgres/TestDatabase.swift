import Foundation
import Logging
import Synchronization

@testable import Persistence

/// A database of one test, on the server that REPLYX_TEST_DATABASE_URL names (a superuser's URL of a database that
/// is used for nothing but creating others). It is dropped when the test is done.
struct TestDatabase: Sendable {
    let name: String
    let url: String

    var configuration: PostgresConfiguration { PostgresConfiguration(url: url, applicationName: "replyx test") }

    /// - Parameter migrated: whether it has the project's migrations applied.
    static func with<Result>(
        migrated: Bool = true, _ body: (TestDatabase) async throws -> Result
    ) async throws -> Result {
        await Gate.shared.enter()
        defer { Gate.shared.leave() }
        let name = "replyx_test_\(UUID().uuidString.lowercased().prefix(13))"
        let template = migrated ? try await Template.shared.name : "template0"
        try await maintain("CREATE DATABASE \"\(name)\" TEMPLATE \"\(template)\"")
        do {
            let result = try await body(TestDatabase(name: name, url: url(of: name)))
            try await maintain("DROP DATABASE \"\(name)\" WITH (FORCE)")
            return result
        } catch {
            try? await maintain("DROP DATABASE \"\(name)\" WITH (FORCE)")
            throw error
        }
    }

    func connect() async throws -> PostgresConnection {
        try await PostgresConnection.connect(configuration, logger: .quiet)
    }

    func pool(size: Int = 2, acquireTimeout: Duration = .seconds(2)) -> PostgresPool {
        PostgresPool(configuration, size: size, acquireTimeout: acquireTimeout, logger: .quiet)
    }

    /// The project's migrations: the folder beside the nearest Package.swift above this file.
    static var migrations: String {
        var folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        while folder.path != "/", !FileManager.default.fileExists(atPath: folder.path + "/Package.swift") {
            folder.deleteLastPathComponent()
        }
        return folder.path + "/Migrations"
    }

    /// Runs one statement on the maintenance database.
    static func maintain(_ sql: String) async throws {
        var configuration = PostgresConfiguration(url: try serverURL)
        configuration.statementTimeout = .seconds(30)
        let connection = try await PostgresConnection.connect(configuration, logger: .quiet)
        defer { Task { await connection.close() } }
        try await connection.script(sql, name: "maintain")
    }

    static var serverURL: String {
        get throws {
            struct NoServer: Error { let hint = "REPLYX_TEST_DATABASE_URL is not set" }
            guard let url = ProcessInfo.processInfo.environment["REPLYX_TEST_DATABASE_URL"] else { throw NoServer() }
            return url
        }
    }

    /// The server's URL with another database's name.
    static func url(of name: String) throws -> String {
        guard var parts = URLComponents(string: try serverURL) else { return try serverURL }
        parts.path = "/" + name
        return parts.string ?? ""
    }
}

/// Lets a few databases exist at a time: tests run all at once otherwise, more than a server takes connections.
private final class Gate: Sendable {
    static let shared = Gate()
    private let state = Mutex((free: 6, waiting: [CheckedContinuation<Void, Never>]()))

    func enter() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.free > 0 else {
                    state.waiting.append(continuation)
                    return false
                }
                state.free -= 1
                return true
            }
            if isFree { continuation.resume() }
        }
    }

    func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.resume()
    }
}

/// The database that migrated ones are copied from, made once for each process.
private actor Template {
    static let shared = Template()
    private var making: Task<String, any Error>?

    var name: String {
        get async throws {
            if let making { return try await making.value }
            let making = Task { try await Self.make() }
            self.making = making
            return try await making.value
        }
    }

    private static func make() async throws -> String {
        let name = "replyx_template_\(UUID().uuidString.lowercased().prefix(13))"
        try await TestDatabase.maintain("CREATE DATABASE \"\(name)\" TEMPLATE template0")
        let configuration = PostgresConfiguration(url: try TestDatabase.url(of: name))
        let migrator = Migrator(directory: TestDatabase.migrations, configuration: configuration, logger: .quiet)
        _ = try await migrator.migrate()
        made.withLock { $0 = name }
        atexit { Template.dropMade() }
        return name
    }

    private static let made = Mutex<String?>(nil)

    private static func dropMade() {
        guard let name = made.withLock({ $0 }) else { return }
        let isDone = DispatchSemaphore(value: 0)
        Task.detached {
            try? await TestDatabase.maintain("DROP DATABASE IF EXISTS \"\(name)\" WITH (FORCE)")
            isDone.signal()
        }
        _ = isDone.wait(timeout: .now() + 5)
    }
}

extension Logger {
    /// Says nothing.
    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
