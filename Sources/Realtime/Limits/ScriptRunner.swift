import Logging
import Synchronization

/// Has Redis run a script, or says soon that it does not.
final class ScriptRunner: Sendable {
    private let client: RedisClient?
    private let patience: Duration
    private let logger: Logger
    private let trust = Mutex(RedisTrust())
    private let refusal = Mutex<String?>(nil)

    init(_ client: RedisClient?, patience: Duration, logger: Logger) {
        self.client = client
        self.patience = patience
        self.logger = logger
    }

    var isConnected: Bool { client?.isConnected ?? false }

    /// - Returns: what the script returned; nil where it is unknown whether it ran.
    func run(
        _ script: RedisScript, keys: [String], arguments: [String], within limit: Duration? = nil
    ) async -> [Int64]? {
        guard let client, client.isConnected, trust.withLock({ $0.mayAsk(at: .now) }) else { return nil }
        // Not in the caller's task: a request that is called off would close the connection under everybody.
        let reply = await Task { await self.ask(client, script, keys, arguments, until: .now + (limit ?? patience)) }
            .value
        if let numbers = reply?.integers {
            trust.withLock { $0.answered() }
            refusal.withLock { $0 = nil }
            return numbers
        }
        trust.withLock { $0.failed(at: .now) }
        if let code = reply?.errorCode { refused(code, by: client) }
        return nil
    }

    private func ask(
        _ client: RedisClient, _ script: RedisScript, _ keys: [String], _ arguments: [String],
        until end: ContinuousClock.Instant
    ) async -> RedisValue? {
        var reply: RedisValue?
        for whole in [false, true] {
            let command = script.command(keys: keys, arguments: arguments, whole: whole)
            reply = try? await client.send([command], within: ContinuousClock.now.duration(to: end)).first
            guard reply?.errorCode == "NOSCRIPT" else { break }
        }
        return reply
    }

    private func refused(_ code: String, by client: RedisClient) {
        let isNews = refusal.withLock { last in
            defer { last = code }
            return last != code
        }
        if isNews {
            logger.warning(
                "Redis refuses the limits' scripts; each node limits by itself", metadata: ["code": "\(code)"])
        }
        // It was the primary once, or is about to be it.
        if ["READONLY", "MASTERDOWN", "LOADING"].contains(code) { client.reconnect() }
    }
}

extension RedisValue {
    fileprivate var integers: [Int64]? {
        guard let array else { return nil }
        let integers = array.compactMap(\.integer)
        return integers.count == array.count ? integers : nil
    }
}
