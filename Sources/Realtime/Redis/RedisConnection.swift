import NIOCore

/// One connection to a Redis server. Any number of tasks may send at once: their commands are pipelined and each gets
/// its own replies. It is never opened again; dropped, it closes.
package final class RedisConnection: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<RedisHandler>

    /// - Parameter handler: the one at the end of the channel's pipeline. To be called on the channel's loop.
    init(_ channel: any Channel, handler: RedisHandler) {
        self.channel = channel
        self.handler = NIOLoopBound(handler, eventLoop: channel.eventLoop)
    }

    deinit {
        channel.close(promise: nil)
    }

    package var isOpen: Bool { channel.isActive }

    /// Whoever waits is told at once, though the goodbye of TLS may take a moment more.
    package func close() {
        channel.eventLoop.execute { [handler] in handler.value.end(.closed) }
    }

    /// Returns once the connection is closed, by whomever. A cancelled task closes it.
    package func ended() async {
        await withTaskCancellationHandler {
            try? await channel.closeFuture.get()
        } onCancel: {
            close()
        }
    }

    /// Sends the commands in one go and waits for their replies. What other tasks send may stand between them.
    /// - Parameter limit: what the whole of it may take. Past it the connection is closed, as replies come in order
    ///   and a late one holds up all others.
    /// - Returns: one reply for each command, in order; a command that was turned down has ``RedisValue/error(_:)``.
    /// - Throws: never ``RedisFailure/away``. A cancelled task closes the connection and throws `closed`; where nothing
    ///   had been sent yet, the connection stays.
    package func send(
        _ commands: [RedisCommand], within limit: Duration
    ) async throws(RedisFailure) -> [RedisValue] {
        guard !commands.isEmpty else { return [] }
        guard !Task.isCancelled else { throw .closed }
        let size = commands.reduce(0) { $0 + $1.size }
        guard size <= RedisHandler.byteLimit else { throw .refused("the commands are too long") }
        let deadline = NIODeadline.now() + TimeAmount(limit)
        var bytes = channel.allocator.buffer(capacity: size)
        for command in commands { command.write(to: &bytes) }
        let wire = bytes
        let loop = channel.eventLoop
        let replies = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: RedisHandler.Waiter) in
                if loop.inEventLoop {
                    handler.value.send(wire, count: commands.count, until: deadline, for: waiter)
                } else {
                    loop.execute { [handler] in
                        handler.value.send(wire, count: commands.count, until: deadline, for: waiter)
                    }
                }
            }
        } onCancel: {
            close()
        }
        return try replies.get()
    }
}
