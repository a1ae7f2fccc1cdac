import Domain
import Persistence
import Synchronization

/// Assistants as visitors' credentials need them, asked from the database and remembered for four seconds: every message
/// of every visitor asks, and what an owner changes must work within seconds.
final class AssistantDirectory: Sendable {
    struct Known: Sendable {
        let assistant: Assistant
        let entrance: Entrance
    }

    private static let freshness = Duration.seconds(4)
    private static let limit = 10_000

    private struct Entry: Sendable {
        /// `nil`: there is none. Remembered too, so that guessing numbers does not reach the database each time.
        let known: Known?
        let readAt: ContinuousClock.Instant
    }

    private let store: AssistantStore
    private let entrances: EntranceStore
    private let entries = Mutex<[Assistant.ID: Entry]>([:])

    init(store: AssistantStore, entrances: EntranceStore) {
        self.store = store
        self.entrances = entrances
    }

    /// - Returns: `nil` where there is none.
    func find(_ id: Assistant.ID) async throws -> Known? {
        // The time before the question: what is remembered is at least as new as it says.
        let now = ContinuousClock.now
        if let entry = entries.withLock({ $0[id] }), now - entry.readAt < Self.freshness { return entry.known }
        var known: Known?
        if let assistant = try await store.find(id), let entrance = try await entrances.entrances(of: [id])[id] {
            known = Known(assistant: assistant, entrance: entrance)
        }
        entries.withLock { entries in
            if entries.count >= Self.limit { entries = entries.filter { now - $0.value.readAt < Self.freshness } }
            if entries.count < Self.limit { entries[id] = Entry(known: known, readAt: now) }
        }
        return known
    }
}
