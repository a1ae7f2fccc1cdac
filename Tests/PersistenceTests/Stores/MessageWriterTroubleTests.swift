import Domain
import Foundation
import Synchronization
import Testing

@testable import Persistence

@Suite struct MessageWriterTroubleTests {
    @Test func `an account that somebody holds delays nobody else`() async throws {
        try await Town.with { town in
            let held = try await town.house()
            let free = try await town.house()
            let waiting = try await town.dialog(in: held)
            let quick = try await town.dialog(in: free)
            let holder = try await town.database.connect()
            try await holder.script("BEGIN; SELECT FROM accounts WHERE id = \(held.account) FOR UPDATE", name: "hold")

            let isAnswered = Mutex(false)
            async let late = {
                defer { isAnswered.withLock { $0 = true } }
                return try await town.writer.append(
                    town.posting("late", by: waiting.guest, in: waiting.id, of: held))
            }()
            for number in 0..<50 {
                _ = try await town.writer.append(
                    town.posting("\(number)", by: quick.guest, in: quick.id, of: free))
            }
            #expect(isAnswered.withLock { $0 } == false)
            try await holder.script("COMMIT", name: "release")
            #expect(try await late.message.seq == 1)
            #expect(try await town.holes() == 0)
        }
    }

    @Test func `postings of a held account keep their order`() async throws {
        try await Town.with { town in
            let held = try await town.house()
            let dialog = try await town.dialog(in: held)
            let holder = try await town.database.connect()
            try await holder.script("BEGIN; SELECT FROM accounts WHERE id = \(held.account) FOR UPDATE", name: "hold")
            let numbers = try await withThrowingTaskGroup { group in
                for number in 0..<10 {
                    group.addTask {
                        (
                            number,
                            try await town.writer.append(
                                town.posting("\(number)", by: dialog.guest, in: dialog.id, of: held)
                            ).message.seq
                        )
                    }
                    try await Task.sleep(for: .milliseconds(20))
                }
                try await holder.script("COMMIT", name: "release")
                return try await group.reduce(into: [(Int, Int64?)]()) { $0.append($1) }
            }
            #expect(numbers.sorted { $0.0 < $1.0 }.map(\.1) == Array(1...10))
        }
    }

    @Test func `an account that stays held is answered as unavailable and nothing of it is stored`() async throws {
        var settings = MessageWriter.Settings()
        settings.patience = .milliseconds(800)
        try await Town.with(settings: settings) { town in
            let held = try await town.house()
            let dialog = try await town.dialog(in: held)
            let holder = try await town.database.connect()
            try await holder.script("BEGIN; SELECT FROM accounts WHERE id = \(held.account) FOR UPDATE", name: "hold")
            let posting = try town.posting("x", by: dialog.guest, in: dialog.id, of: held, key: UUID())
            await #expect(throws: MessageWriter.Failure.self) { try await town.writer.append(posting) }
            try await holder.script("COMMIT", name: "release")
            // A repeat with the same key is safe whatever became of the first.
            _ = try await town.writer.append(posting)
            #expect(try await town.number("SELECT count(*) FROM messages") == 1)
        }
    }

    @Test func `a lost connection costs no message and makes none twice`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            let outcomes = try await withThrowingTaskGroup { group in
                group.addTask {
                    for _ in 0..<10 {
                        try await Task.sleep(for: .milliseconds(30))
                        _ = try await town.number(
                            """
                            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                            WHERE application_name LIKE '%test%' AND pid <> pg_backend_pid()
                              AND datname = current_database() AND query LIKE '%posting%'
                               OR (query LIKE '%FROM messages%' AND pid <> pg_backend_pid())
                               OR (query = 'COMMIT' AND pid <> pg_backend_pid() AND datname = current_database())
                            """)
                    }
                    return 0
                }
                for writer in 0..<8 {
                    group.addTask {
                        var stored = 0
                        for step in 0..<20 {
                            let posting = try town.posting(
                                "\(writer)-\(step)", by: dialog.guest, in: dialog.id, of: house, key: UUID())
                            for _ in 0..<20 {
                                do {
                                    _ = try await town.writer.append(posting)
                                    stored += 1
                                    break
                                } catch is MessageWriter.Failure {
                                    try await Task.sleep(for: .milliseconds(50))
                                }
                            }
                        }
                        return stored
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(outcomes == 160)
            #expect(try await town.number("SELECT count(*) FROM messages") == 160)
            #expect(try await town.holes() == 0)
        }
    }

    @Test func `a backend that stands still costs no more than the time that was promised`() async throws {
        try await Town.with { town in
            let house = try await town.house()
            let dialog = try await town.dialog(in: house)
            _ = try await town.writer.append(town.posting("1", by: dialog.guest, in: dialog.id, of: house))
            let backend = pid_t(
                try await town.number(
                    """
                    SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query = 'COMMIT' LIMIT 1
                    """))
            kill(backend, SIGSTOP)
            defer { kill(backend, SIGCONT) }
            let posting = try town.posting("2", by: dialog.guest, in: dialog.id, of: house, key: UUID())
            let began = ContinuousClock.now
            do {
                // The stopped backend holds nothing here, so the batch may succeed on another connection.
                _ = try await town.writer.append(posting)
            } catch is MessageWriter.Failure {}
            #expect(ContinuousClock.now - began < .seconds(6))
            let repeated = try await town.writer.append(posting)
            #expect(repeated.message.seq == 2)
            #expect(try await town.number("SELECT count(*) FROM messages") == 2)
        }
    }
}
