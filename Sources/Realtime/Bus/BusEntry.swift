import Domain

/// One entry of a shard's stream, as fields of text. What routes it stands beside the payload, never inside: no node
/// parses JSON to find out that nobody here wants it.
struct BusEntry: Equatable, Sendable {
    enum Content: Equatable, Sendable {
        case event(StreamEvent)
        case live(EphemeralEvent)
        /// Sent by a node to itself, to see that what it sends comes back.
        case probe
    }

    /// Who put it there and from which log.
    struct Origin: Hashable, Sendable {
        /// Of one run of one process.
        let node: String
        /// Which database the events are rows of. Two installations may share a Redis by mistake, and both have an
        /// account 1.
        let log: String
    }

    let origin: Origin
    /// Rises with every entry of the node.
    let number: Int64
    let content: Content

    init(origin: Origin, number: Int64, content: Content) {
        self.origin = origin
        self.number = number
        self.content = content
    }

    // MARK: Fields

    /// Names and values in turn. Entries of a kind have the same names in the same order, which Redis stores once.
    var fields: [String] {
        let origin = ["n", self.origin.node, "o", self.origin.log, "x", "\(number)"]
        switch content {
        case .event(let event):
            return origin + [
                "k", "event", "a", "\(event.accountID)", "g", "\(event.generation)", "s", "\(event.seq)",
                "d", event.dialog.map { "\($0.dialogID)" } ?? "",
                "q", event.dialog?.seq.map { "\($0)" } ?? "",
                "t", event.type, "m", "\(event.at.microseconds)", "p", event.payload,
            ]
        case .live(let event):
            return origin + [
                "k", "live", "a", "\(event.accountID)", "d", "\(event.dialogID)", "i", event.part?.streamID ?? "",
                "e", event.part.map { "\($0.epoch)" } ?? "", "t", event.kind.rawValue,
                "m", "\(event.at.microseconds)", "p", event.payload,
            ]
        case .probe:
            return origin + ["k", "probe"]
        }
    }

    /// - Returns: `nil` for what this version does not understand, or what is no entry at all.
    init?(fields: [String]) {
        var values: [String: String] = [:]
        for index in stride(from: 0, to: fields.count - 1, by: 2) { values[fields[index]] = fields[index + 1] }
        guard fields.count.isMultiple(of: 2), let node = values["n"], let log = values["o"],
            let number = values.number("x")
        else { return nil }
        origin = Origin(node: node, log: log)
        self.number = number
        let content: Content? =
            switch values["k"] {
            case "event": StreamEvent(values).map { .event($0) }
            case "live": EphemeralEvent(values).map { .live($0) }
            case "probe": .probe
            default: nil
            }
        guard let content else { return nil }
        self.content = content
    }
}

extension StreamEvent {
    fileprivate init?(_ values: [String: String]) {
        guard let account = values.number("a"), let generation = values.number("g"), let seq = values.number("s"),
            let type = values.eventType, let at = values.number("m"), let payload = values.payload
        else { return nil }
        // Both are always there, and empty where there is none.
        guard let dialog = values.number(orEmpty: "d"), let dialogSeq = values.number(orEmpty: "q") else { return nil }
        let place = dialog.map { Place(dialogID: Identifier($0), seq: dialogSeq) }
        self.init(
            generation: generation, accountID: Identifier(account), seq: seq, dialog: place, type: type,
            payload: payload, at: Timestamp(microseconds: at))
    }
}

extension EphemeralEvent {
    fileprivate init?(_ values: [String: String]) {
        guard let kind = values["t"].flatMap(Kind.init), let account = values.number("a"),
            let dialog = values.number("d"), let at = values.number("m"), let payload = values.payload
        else { return nil }
        var part: Part?
        if let id = values["i"], !id.isEmpty {
            guard let epoch = values.number("e") else { return nil }
            part = Part(streamID: id, epoch: epoch)
        }
        self.init(
            kind, accountID: Identifier(account), dialogID: Identifier(dialog), part: part, payload: payload,
            at: Timestamp(microseconds: at))
    }
}

extension [String: String] {
    /// Digits only, at most 18.
    fileprivate func number(_ name: String) -> Int64? {
        guard let text = self[name], (1...18).contains(text.utf8.count),
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int64(text)
    }

    /// - Returns: `nil` for what is neither a number nor empty.
    fileprivate func number(orEmpty name: String) -> Int64?? {
        guard let text = self[name] else { return nil }
        if text.isEmpty { return .some(nil) }
        return number(name).map { .some($0) }
    }

    /// It goes into JSON as it is.
    fileprivate var eventType: String? {
        guard let text = self["t"], (1...64).contains(text.utf8.count),
            text.utf8.allSatisfy({ $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ":") || ($0 | 0x20).isLetter })
        else { return nil }
        return text
    }

    fileprivate var payload: String? {
        guard let text = self["p"], (2...1024 * 1024).contains(text.utf8.count), text.utf8.first == UInt8(ascii: "{"),
            text.utf8.last == UInt8(ascii: "}")
        else { return nil }
        return text
    }
}

extension UInt8 {
    fileprivate var isLetter: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) }
}
