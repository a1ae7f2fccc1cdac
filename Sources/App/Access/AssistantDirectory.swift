import Domain
import Persistence
import Synchronization

/// Assistants as visitors' credentials need them, asked from the database and remembered for four seconds: every message
/// of every visitor asks, and what an owner changes must work within seconds.
final class AssistantDirectory: Sendable {
    private static let freshness = Duration.seconds(4)
    private static let limit = 10_000

    private struct Entry: Sendable {
        /// `nil`: there is none. Remembered too, so that guessing numbers does not reach the database each time.
        let assistant: Assistant?
        let readAt: ContinuousClock.Instant
    }

    private let store: AssistantStore
    private let entries = Mutex<[Assistant.ID: Entry]>([:])

    init(store: AssistantStore) {
        self.store = store
    }

    /// An assistant that serves visitors; `nil` where there is none or it is switched off.
    func active(_ id: Assistant.ID) async throws -> Assistant? {
        let now = ContinuousClock.now
        if let entry = entries.withLock({ $0[id] }), now - entry.readAt < Self.freshness { return entry.assistant }
        let assistant = try await store.find(id).flatMap { $0.profile.isActive ? $0 : nil }
        entries.withLock { entries in
            if entries.count >= Self.limit { entries = entries.filter { now - $0.value.readAt < Self.freshness } }
            if entries.count < Self.limit { entries[id] = Entry(assistant: assistant, readAt: now) }
        }
        return assistant
    }
}
