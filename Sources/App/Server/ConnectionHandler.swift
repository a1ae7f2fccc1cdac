import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Realtime

/// The one handler of ours in a connection's pipeline. Ordinary requests pass through it to the library; a request for
/// a stream stays here, and if it is let in, this handler is where the stream's bytes leave. It also keeps a
/// connection's time: idle ones and requests that never end are closed.
///
/// Browsers and proxies reuse connections, so a stream may follow ordinary requests; nothing can follow a stream.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    struct Limits: Sendable {
        var headerBytes = 16 * 1024
        var headerFields = 100
        /// Bytes that have come and are no whole part of a request yet.
        var unparsedBytes = 64 * 1024
        /// Without a request for this long, a connection is closed.
        var idle = TimeAmount.seconds(75)
        /// A request must have come whole by then, and of an answer something must have been taken.
        var request = TimeAmount.seconds(30)
        /// What is under way when the server stops has this long to end.
        var farewell = TimeAmount.seconds(2)
    }

    /// What became of a request for a stream.
    private enum Kept {
        case none
        /// Behind an ordinary request whose answer is still being written. Exits: ``asked``.
        case held(HTTPRequest)
        /// The router is deciding. Exits: ``streaming``, or ``none`` when it was refused.
        case asked(Task<Void, Never>)
        /// For the rest of the connection's life. The task is there until the client has caught up.
        case streaming(StreamSeat, StreamPlan, opening: Task<Void, Never>?)
    }

    private let streams: StreamResponder
    private let limits: Limits
    private var library: EventLoopPromise<ChatConnection.Library?>?
    private var hasLibrary = false
    private var context: ChannelHandlerContext?
    private var kept = Kept.none
    /// Ordinary requests whose answer has not been written whole.
    private var unanswered = 0
    private var requestBegan: NIODeadline?
    private var lastActive = NIODeadline.now()
    private var closesWhenAnswered = false
    /// What was pending at the last look at the time.
    private var lastPending = 0

    init(streams: StreamResponder, limits: Limits, library: EventLoopPromise<ChatConnection.Library?>) {
        self.streams = streams
        self.limits = limits
        self.library = library
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        watch(after: limits.request)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        release(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        release(context)
        context.fireChannelInactive()
    }

    private func release(_ context: ChannelHandlerContext) {
        switch kept {
        case .streaming(let seat, let plan, let opening):
            opening?.cancel()
            streams.hub.left(seat, on: context.eventLoop)
            plan.atEnd()
        case .asked(let task): task.cancel()
        case .none, .held: break
        }
        kept = .none
        resolveLibrary(nil)
        self.context = nil
    }

    private func resolveLibrary(_ made: ChatConnection.Library?) {
        library?.succeed(made)
        library = nil
    }

    private var isKeepingRequest: Bool {
        if case .none = kept { false } else { true }
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        lastActive = .now()
        switch (part, kept) {
        case (.head, .held), (.head, .asked), (.head, .streaming):
            // Pipelined behind a stream. If that is let in, nothing can follow it; else the connection ends after its
            // answer, because this one gets none.
            closesWhenAnswered = true
        case (.head(let head), .none) where head.asksForStream:
            if unanswered == 0 { ask(head, context) } else { kept = .held(head) }
        case (.head(let head), .none):
            requestBegan = lastActive
            unanswered += 1
            // Behind a request to upgrade nothing is parsed any more.
            if head.method == .connect || head.headerFields[.upgrade] != nil { closesWhenAnswered = true }
            guard makeLibrary(context) else { return }
            context.fireChannelRead(data)
        case (.body, .none), (.end, .none):
            if case .end = part { requestBegan = nil }
            // After a refusal its request's end may still come.
            if unanswered > 0 || hasLibrary { context.fireChannelRead(data) }
        case (.body, _), (.end, _):
            // Nothing that comes with or behind a request for a stream means anything.
            break
        }
    }

    private func makeLibrary(_ context: ChannelHandlerContext) -> Bool {
        guard !hasLibrary else { return true }
        do {
            let made = try ChatConnection.Library(
                wrappingChannelSynchronously: context.channel, configuration: .init(isOutboundHalfClosureEnabled: true))
            hasLibrary = true
            resolveLibrary(made)
            return true
        } catch {
            context.close(promise: nil)
            return false
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
        // The library answers what is no HTTP at all too.
        unanswered = max(0, unanswered - 1)
        lastActive = .now()
        guard unanswered == 0 else { return context.write(data, promise: promise) }
        if case .held(let head) = kept {
            context.write(data, promise: promise)
            ask(head, context)
        } else if closesWhenAnswered {
            let written = promise ?? context.eventLoop.makePromise()
            closeAfter(written, context)
            context.writeAndFlush(data, promise: written)
        } else {
            context.write(data, promise: promise)
        }
    }

    // MARK: Streams

    private func ask(_ head: HTTPRequest, _ context: ChannelHandlerContext) {
        let loop = context.eventLoop
        let channel = context.channel
        let handler = NIOLoopBound(self, eventLoop: loop)
        // Not structured: a pipeline has no task to be the parent. It ends with the answer, or with the connection.
        kept = .asked(
            Task { [streams] in
                switch await streams.reply(to: head, on: channel) {
                case .response(let head, let body):
                    loop.execute { handler.value.refuse(head, body) }
                case .stream(let head, let plan):
                    let begun = try? await loop.submit { handler.value.begin(head, plan) }.get()
                    guard let seat = begun ?? nil else { return plan.atEnd() }
                    await streams.opener.open(plan.stream, requested: plan.requestedCursor, seat: seat, on: loop)
                    loop.execute { handler.value.hasOpened() }
                }
            })
    }

    private func refuse(_ head: HTTPResponse, _ body: ByteBuffer) {
        guard let context, case .asked = kept else { return }
        kept = .none
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        let written = context.eventLoop.makePromise(of: Void.self)
        if closesWhenAnswered { closeAfter(written, context) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
        lastActive = .now()
    }

    private func begin(_ head: HTTPResponse, _ plan: StreamPlan) -> NIOLoopBound<StreamSeat>? {
        guard let context, case .asked(let opening) = kept else { return nil }
        let seat = StreamSeat(
            stream: plan.stream, expiresAt: plan.expiresAt, credential: plan.credential, outlet: self)
        kept = .streaming(seat, plan, opening: opening)
        // Nothing ordinary can come after a stream: the task that waits for it may go.
        resolveLibrary(nil)
        boundKernelBuffers(context)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        return NIOLoopBound(seat, eventLoop: context.eventLoop)
    }

    private func hasOpened() {
        guard case .streaming(let seat, let plan, _) = kept else { return }
        kept = .streaming(seat, plan, opening: nil)
    }

    /// Else the kernel takes megabytes before a client that reads nothing is noticed, and keeps a dead one for hours.
    private func boundKernelBuffers(_ context: ChannelHandlerContext) {
        let options = context.channel.syncOptions
        try? options?.setOption(.socketOption(.so_sndbuf), value: 32 * 1024)
        // TCP_USER_TIMEOUT, in milliseconds (tcp(7)).
        try? options?.setOption(.tcpOption(.init(rawValue: 18)), value: 30_000)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .streaming(let seat, _, _) = kept { seat.writabilityChanged() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Ends

    /// Not before: closing drops what the kernel has not taken.
    private func closeAfter(_ written: EventLoopPromise<Void>, _ context: ChannelHandlerContext) {
        let channel = context.channel
        written.futureResult.whenComplete { _ in channel.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case let event as ChannelEvent where event == .inputClosed && (isKeepingRequest || !hasLibrary):
            context.close(promise: nil)
        case is ChannelShouldQuiesceEvent:
            guard isKeepingRequest || unanswered > 0 || pendingBytes > 0 else { return context.close(promise: nil) }
            closesWhenAnswered = true
            let channel = context.channel
            context.eventLoop.scheduleTask(in: limits.farewell) { channel.close(promise: nil) }
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // In the middle of a stream there is no place for an answer.
        if isKeepingRequest { return context.close(promise: nil) }
        if hasLibrary { return context.fireErrorCaught(error) }
        let head = HTTPResponse(status: .badRequest, headerFields: [.connection: "close", .contentLength: "0"])
        let written = context.eventLoop.makePromise(of: Void.self)
        closeAfter(written, context)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }

    // MARK: Time

    private func watch(after time: TimeAmount) {
        guard let context else { return }
        context.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in self?.lookAtTime() }
    }

    private func lookAtTime() {
        guard let context else { return }
        let now = NIODeadline.now()
        switch kept {
        case .streaming: return
        case .held, .asked: return watch(after: limits.idle)
        case .none: break
        }
        let isSlow = requestBegan.map { now - $0 >= limits.request } ?? false
        // An answer of which nothing was taken since the last look. One that is still being made has nothing pending.
        let pending = pendingBytes
        let isStuck = pending > 0 && pending == lastPending
        lastPending = pending
        let allowed = hasLibrary ? limits.idle : limits.request
        let isIdle = unanswered == 0 && pending == 0 && now - lastActive >= allowed
        if isSlow || isStuck || isIdle { return context.close(promise: nil) }
        watch(after: min(limits.request, allowed))
    }
}

extension ConnectionHandler: StreamOutlet {
    func write(_ frame: ByteBuffer) {
        context?.write(wrapOutboundOut(.body(frame)), promise: nil)
    }

    func flush() {
        context?.flush()
    }

    var pendingBytes: Int {
        guard let options = context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func finish() {
        guard let context else { return }
        let channel = context.channel
        let written = context.eventLoop.makePromise(of: Void.self)
        closeAfter(written, context)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
        // A client that does not take its last words has had its time.
        context.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
    }

    func abort() {
        context?.close(promise: nil)
    }
}

extension HTTPRequest {
    /// A request for a stream by its form alone; the same path with `Accept: application/json` is an ordinary request.
    fileprivate var asksForStream: Bool {
        guard method == .get, let path, path.prefix(while: { $0 != "?" }).hasSuffix("/events") else { return false }
        let accept = headerFields[.accept] ?? ""
        return !accept.contains("application/json") || accept.contains(SSEFrame.mediaType)
    }
}
