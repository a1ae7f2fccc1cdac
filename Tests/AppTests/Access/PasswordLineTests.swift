import Synchronization
import Testing

@testable import App

@Suite struct PasswordLineTests {
    /// What came to its turn, in that order.
    private final class Turns: Sendable {
        private let names = Mutex<[String]>([])
        var all: [String] { names.withLock { $0 } }
        func note(_ name: String) { names.withLock { $0.append(name) } }
    }

    private struct NeverSeen: Error {}

    private func until(_ isSo: () -> Bool) async throws {
        for _ in 0..<2000 {
            if isSo() { return }
            try await Task.sleep(for: .milliseconds(1))
        }
        throw NeverSeen()
    }

    /// Lets everybody join behind somebody who is inside, in the order of `names`, then lets them through one by one.
    private func turns(
        of names: [(who: String, isKnown: Bool)], _ limits: PasswordLine.Limits = .init()
    ) async throws -> (turns: [String], sentAway: [String]) {
        let line = PasswordLine(limits: limits)
        #expect(await line.enter("first", isKnown: false))
        let turns = Turns()
        let away = Turns()
        try await withThrowingTaskGroup { group in
            for (number, (who, isKnown)) in names.enumerated() {
                group.addTask {
                    guard await line.enter(who, isKnown: isKnown) else { return away.note(who) }
                    turns.note(who)
                    line.leave()
                }
                // One after the other into the line.
                try await until { line.count + away.all.count == number + 1 }
            }
            line.leave()
            try await group.waitForAll()
        }
        return (turns.all, away.all)
    }

    @Test func `who comes once waits for one turn of each other and not for all of theirs`() async throws {
        let flood = Array(repeating: (who: "office", isKnown: false), count: 20)
        let (turns, away) = try await turns(of: flood + [("home", false)])
        #expect(away.isEmpty && turns.count == 21)
        #expect(try #require(turns.firstIndex(of: "home")) <= 1)
    }

    @Test func `every second turn is a known browser's however many strangers wait`() async throws {
        let strangers = (0..<40).map { (who: "address \($0)", isKnown: false) }
        let known = (0..<3).map { (who: "device \($0)", isKnown: true) }
        let (turns, away) = try await turns(of: strangers + known)
        #expect(away.isEmpty && turns.count == 43)
        #expect(turns.prefix(6).filter { $0.hasPrefix("device") }.count == 3)
    }

    @Test func `a line that is too long sends one of its own away and nobody else`() async throws {
        var limits = PasswordLine.Limits()
        limits.line = 4
        let flood = Array(repeating: (who: "office", isKnown: false), count: 10)
        let (turns, away) = try await turns(of: [("home", false)] + flood + [("device", true)], limits)
        #expect(away.count == 6 && Set(away) == ["office"])
        #expect(turns.contains("home") && turns.contains("device"))
    }

    @Test func `where all lines together are too long the longest gives way`() async throws {
        var limits = PasswordLine.Limits()
        limits.all = 6
        let flood = Array(repeating: (who: "office", isKnown: false), count: 6)
        let (turns, away) = try await turns(of: flood + [("a", false), ("b", false), ("device", true)], limits)
        #expect(away == ["office", "office", "office"])
        #expect(Set(turns) == ["office", "a", "b", "device"])
    }

    @Test func `who has waited too long is sent away when their turn comes`() async throws {
        var limits = PasswordLine.Limits()
        limits.patience = .milliseconds(30)
        let line = PasswordLine(limits: limits)
        #expect(await line.enter("first", isKnown: false))
        async let late = line.enter("late", isKnown: false)
        try await until { line.count == 1 }
        try await Task.sleep(for: .milliseconds(80))
        line.leave()
        #expect(await late == false)
        // The place is free for the next.
        #expect(await line.enter("next", isKnown: false))
    }

    @Test func `never more than one is inside and nobody is forgotten`() async {
        let line = PasswordLine()
        final class Box: Sendable {
            let counts = Mutex((now: 0, most: 0, served: 0))
        }
        let box = Box()
        await withTaskGroup { group in
            for number in 0..<300 {
                group.addTask {
                    guard await line.enter("\(number % 12)", isKnown: number.isMultiple(of: 5)) else { return }
                    box.counts.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1), $0.served + 1) }
                    await Task.yield()
                    box.counts.withLock { $0.now -= 1 }
                    line.leave()
                }
            }
        }
        let (now, most, served) = box.counts.withLock { $0 }
        #expect(now == 0 && most == 1 && served == 300)
    }
}
