import ServiceLifecycle
import Synchronization

/// Tells Redis which places are still taken and which were left. One task does both, one after the other, so that a
/// place is never renewed after it was given up.
extension StreamCounts: Service {
    /// Places told in one step; with their keys some 500 commands for Redis.
    private static let batchCount = 200
    /// Between two steps, so that others get their answers.
    private static let pause = Duration.milliseconds(20)
    private static let patience = Duration.seconds(1)

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.tick() }
                await self.tell()
                group.cancelAll()
            }
        }
        // The last words, in a task that is not cancelled.
        _ = await Task { await self.tellLeft() }.value
    }

    /// Twenty times a renewal, to look whether one is due.
    private func tick() async {
        while (try? await Task.sleep(for: timing.renewal / 20)) != nil { workCame.yield() }
    }

    private func tell() async {
        var waiting: [OpenPlaces.Place] = []
        var due = ContinuousClock.now + timing.renewal
        for await _ in work {
            guard scripts.isConnected else {
                // It may come back empty.
                due = .now
                continue
            }
            if places.withLock({ $0.takeUntold() }) { due = .now }
            if waiting.isEmpty && due <= .now {
                waiting = places.withLock { $0.all }
                due = .now + timing.renewal
            }
            while await tellLeft(), !waiting.isEmpty, await renew(waiting.suffix(Self.batchCount)) {
                waiting.removeLast(min(Self.batchCount, waiting.count))
                guard (try? await Task.sleep(for: Self.pause)) != nil else { return }
            }
        }
    }

    private func renew(_ batch: ArraySlice<OpenPlaces.Place>) async -> Bool {
        // Only now: some were left since the round began.
        let open = places.withLock { places in batch.map { ($0, places.keys(of: $0) ?? []) } }
        let pairs = open.flatMap { place, keys in keys.map { ($0.placesKey, StreamPlace(id: place).name) } }
        guard !pairs.isEmpty else { return true }
        let answer = await scripts.run(
            .renew, keys: pairs.map(\.0), arguments: [validity] + pairs.map(\.1), within: Self.patience)
        return answer != nil
    }

    /// - Returns: whether nothing is left to tell.
    private func tellLeft() async -> Bool {
        while true {
            let batch = places.withLock { $0.takeLeft(Self.batchCount, since: .now - timing.validity) }
            guard !batch.isEmpty else { return true }
            let pairs = batch.flatMap { left in left.keys.map { ($0.placesKey, StreamPlace(id: left.place).name) } }
            let answer = await scripts.run(
                .leave, keys: pairs.map(\.0), arguments: pairs.map(\.1), within: Self.patience)
            guard answer != nil else {
                places.withLock { $0.putBack(batch) }
                return false
            }
        }
    }
}
