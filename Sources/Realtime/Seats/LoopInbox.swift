import Domain
import NIOCore
import Synchronization

/// What other threads have for one event loop's table, in the order in which it was put in. The loop takes all of
/// it in one turn, so a thousand events cost one wake-up.
final class LoopInbox: Sendable {
    enum Item: Sendable {
        case deliver(ByteBuffer, of: StreamKey, number: Int64)
        case show(ByteBuffer, of: StreamKey)
        case join(NIOLoopBound<StreamSeat>, frames: [ByteBuffer], seen: Cursor, end: Int64)
        case endAll(of: Account.ID, SSEFrame.ByeReason)
    }

    private struct State: Sendable {
        var items: [Item] = []
        var isScheduled = false
        /// Deliveries were dropped: nobody on this loop may go on as if nothing had happened.
        var hasOverflowed = false
    }

    /// A loop that is this far behind is stuck; its clients are better off elsewhere.
    private static let limit = 65_536

    let loop: any EventLoop
    let table: NIOLoopBoundBox<LoopTable>
    private let state = Mutex(State())

    init(loop: any EventLoop, index: Int, feeds: AccountFeeds, settings: StreamSettings) {
        self.loop = loop
        table = .makeBoxSendingValue(
            LoopTable(index: index, feeds: feeds, settings: settings), eventLoop: loop)
        let table = self.table
        loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in table.value.tick() }
    }

    /// May be called under a lock: it only appends.
    func put(_ item: Item) {
        let mustSchedule = state.withLock { state in
            if state.items.count < Self.limit {
                state.items.append(item)
            } else {
                switch item {
                case .deliver: state.hasOverflowed = true
                case .show: break
                case .join, .endAll: state.items.append(item)
                }
            }
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if mustSchedule { loop.execute { self.takeAll() } }
    }

    private func takeAll() {
        let (items, hasOverflowed) = state.withLock { state in
            defer { state = State() }
            return (state.items, state.hasOverflowed)
        }
        let table = self.table.value
        for item in items {
            switch item {
            case .deliver(let frame, let stream, let number): table.deliver(frame, of: stream, number: number)
            case .show(let frame, let stream): table.show(frame, of: stream)
            case .join(let seat, let frames, let seen, let end):
                table.join(seat.value, frames: frames, seen: seen, end: end)
            case .endAll(let account, let reason): table.endAll(of: account, reason)
            }
        }
        if hasOverflowed { table.endAll(.overload) }
        table.flush()
    }
}
