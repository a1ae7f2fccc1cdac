import Domain

/// What of a dialog's ephemeral events still applies: pieces of an answer that has ended, or that was begun before a
/// human took over, are not shown. Pure; the clients hold to the same rule.
struct EphemeralGate: Sendable {
    enum Verdict: String, Sendable {
        case pass
        /// Its answer has ended.
        case ended
        /// Its answer was begun in an epoch that is over.
        case epoch
    }

    /// More answers than this are not being written in one dialog at a time.
    static let remembered = 8

    private var ended: [String] = []
    private var epoch: Int64 = 0

    mutating func judge(_ event: EphemeralEvent) -> Verdict {
        guard let part = event.part else { return .pass }
        if part.epoch < epoch { return .epoch }
        epoch = part.epoch
        return ended.contains(part.streamID) ? .ended : .pass
    }

    /// Takes what a durable event of the dialog says of answers and epochs. Both stand in its payload as numbers and
    /// strings of ours; a message's own text cannot imitate them, because its quotation marks are escaped.
    mutating func note(_ event: StreamEvent) {
        if event.type == "message:new", let id = event.payload.value(after: #""stream_id":""#) {
            ended.append(id)
            if ended.count > Self.remembered { ended.removeFirst() }
        } else if event.type.hasPrefix("handoff_"), let number = event.payload.value(after: #""epoch":"#) {
            epoch = max(epoch, Int64(number) ?? 0)
        }
    }
}

extension String {
    /// What stands after the first place of `key` until the value ends. By bytes: it is asked of every message.
    fileprivate func value(after key: String) -> String? {
        let (bytes, key) = (utf8, Array(key.utf8))
        var place = bytes.startIndex
        while let found = bytes[place...].firstIndex(of: key[0]) {
            let rest = bytes[found...]
            if rest.starts(with: key) {
                let value = rest.dropFirst(key.count).prefix { byte in !",}\"".utf8.contains(byte) }
                return String(Substring(value))
            }
            place = bytes.index(after: found)
        }
        return nil
    }
}
