import NIOCore

/// The end of a connection's pipeline: batches of commands go out, their replies come back in order. Everything in it
/// happens on the connection's event loop.
final class RedisHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    typealias Waiter = CheckedContinuation<Result<[RedisValue], RedisFailure>, Never>

    /// Commands that are not answered yet.
    static let commandLimit = 65_536
    /// Bytes that the kernel has not taken yet.
    static let byteLimit = 16 << 20

    /// For each of the first replies, which must not be errors, whether its command held a secret.
    private var greeting: ArraySlice<Bool>
    private let parser = RedisParser()
    private var queue = ReplyQueue<Waiter>()
    private var context: ChannelHandlerContext?
    /// Why the connection ended, once it has. Nothing is sent or taken in any more.
    private var ending: RedisFailure?
    private var alarm: (deadline: NIODeadline, task: Scheduled<Void>)?
    private var isFlushScheduled = false

    init(greeting: [Bool]) {
        self.greeting = greeting[...]
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(.closed)
        self.context = nil
    }

    // MARK: Out

    /// - Parameters:
    ///   - bytes: the commands, already in the protocol's form.
    ///   - waiter: gets one reply for each of the commands, or why there is none.
    func send(_ bytes: ByteBuffer, count: Int, until deadline: NIODeadline, for waiter: Waiter) {
        guard ending == nil, let context else { return waiter.resume(returning: .failure(ending ?? .closed)) }
        let unwritten = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        guard queue.awaited + count <= Self.commandLimit, unwritten + bytes.readableBytes <= Self.byteLimit else {
            return waiter.resume(returning: .failure(.refused("too much is on its way already")))
        }
        queue.append(waiter, count: count, deadline: deadline)
        watch(deadline)
        context.write(wrapOutboundOut(bytes), promise: nil)
        scheduleFlush(context)
    }

    /// What many send in one turn of the loop goes out together.
    private func scheduleFlush(_ context: ChannelHandlerContext) {
        guard !isFlushScheduled else { return }
        isFlushScheduled = true
        context.eventLoop.assumeIsolated().execute { [self] in
            isFlushScheduled = false
            self.context?.flush()
        }
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard ending == nil else { return }
        do throws(RedisFailure) {
            try parser.feed(unwrapInboundIn(data))
            while let reply = try parser.next() {
                if let isSecret = greeting.popFirst(), case .error(let message) = reply {
                    // Also from a server that has no place for us: it says so unasked, and closes.
                    return end(.refused(isSecret ? RedisServer.withoutSecrets(message) : message))
                }
                switch queue.take(reply) {
                case .more: break
                case .all(let replies, let waiter): waiter.resume(returning: .success(replies))
                case .unasked: return end(.malformed)
                }
            }
        } catch {
            end(error)
        }
    }

    // MARK: Ends

    /// One clock for all that wait: it is set to the earliest deadline, and looks again when that has come.
    private func watch(_ deadline: NIODeadline) {
        if let alarm {
            guard deadline < alarm.deadline else { return }
            alarm.task.cancel()
        }
        guard let context else { return }
        let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            guard let self else { return }
            alarm = nil
            guard let next = queue.earliestDeadline else { return }
            // Replies come in order, so the one that is late holds up all that follow.
            if next <= .now() { end(.timedOut) } else { watch(next) }
        }
        alarm = (deadline, task)
    }

    /// Closes the connection. Whoever waits, and whoever comes later, is told why.
    func end(_ reason: RedisFailure) {
        guard ending == nil else { return }
        ending = reason
        alarm?.task.cancel()
        alarm = nil
        for waiter in queue.removeAll() { waiter.resume(returning: .failure(reason)) }
        context?.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(.closed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(RedisTLS.refusal(error).map { .refused($0) } ?? .closed)
    }
}
