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

    fileprivate struct State: Sendable {
        var known: [Assistant.ID: (known: Known, readAt: ContinuousClock.Instant)] = [:]
        /// Numbers that are nobody's, apart: guessing them crowds out no assistant.
        var unknown: [Assistant.ID: ContinuousClock.Instant] = [:]
        /// Questions under way: who asks meanwhile gets the same answer.
        var asked: [Assistant.ID: Task<Known?, any Error>] = [:]
    }

    private let store: AssistantStore
    private let entrances: EntranceStore
    private let state = Mutex(State())

    init(store: AssistantStore, entrances: EntranceStore) {
        self.store = store
        self.entrances = entrances
    }

    /// Whether ``find(_:)`` answers without asking anybody.
    func remembers(_ id: Assistant.ID) -> Bool {
        let now = ContinuousClock.now
        return state.withLock { $0.remembered(id, at: now) != nil }
    }

    /// - Returns: `nil` where there is none.
    func find(_ id: Assistant.ID) async throws -> Known? {
        // The time before the question: what is remembered is at least as new as it says.
        let now = ContinuousClock.now
        let question: Task<Known?, any Error>? = state.withLock { state in
            if state.remembered(id, at: now) != nil { return nil }
            if let asked = state.asked[id] { return asked }
            // Not structured: it answers several, and must not end with the first of them.
            let task = Task { try await ask(id, at: now) }
            state.asked[id] = task
            return task
        }
        guard let question else { return state.withLock { $0.known[id]?.known } }
        return try await question.value
    }

    private func ask(_ id: Assistant.ID, at now: ContinuousClock.Instant) async throws -> Known? {
        defer { state.withLock { $0.asked[id] = nil } }
        var known: Known?
        if let assistant = try await store.find(id), let entrance = try await entrances.entrance(of: id) {
            known = Known(assistant: assistant, entrance: entrance)
        }
        state.withLock { $0.remember(known, as: id, readAt: now, limit: Self.limit, freshness: Self.freshness) }
        return known
    }
}

extension AssistantDirectory.State {
    /// `nil`: must be asked for.
    fileprivate func remembered(_ id: Assistant.ID, at now: ContinuousClock.Instant) -> Void? {
        if let entry = known[id], now - entry.readAt < .seconds(4) { return () }
        if let readAt = unknown[id], now - readAt < .seconds(4) { return () }
        return nil
    }

    fileprivate mutating func remember(
        _ found: AssistantDirectory.Known?, as id: Assistant.ID, readAt: ContinuousClock.Instant, limit: Int,
        freshness: Duration
    ) {
        if let found {
            unknown[id] = nil
            if known.count >= limit { known = known.filter { readAt - $0.value.readAt < freshness } }
            if known.count < limit { known[id] = (found, readAt) }
        } else {
            known[id] = nil
            // What is older goes whole: it is cheaper to ask again than to look for what is new among it.
            if unknown.count >= limit { unknown = [:] }
            unknown[id] = readAt
        }
    }
}
