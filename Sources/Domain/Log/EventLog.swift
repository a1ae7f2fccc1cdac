/// What the log says of itself, read at one moment.
package struct LogHead: Sendable, Equatable {
    package let generation: Int64
    /// The account's newest number.
    package let accountSeq: Int64
    /// The dialog's newest number, where a dialog was asked for.
    package let dialogSeq: Int64?

    package init(generation: Int64, accountSeq: Int64, dialogSeq: Int64?) {
        self.generation = generation
        self.accountSeq = accountSeq
        self.dialogSeq = dialogSeq
    }

    /// Where a stream ends now.
    package func cursor(in stream: StreamKey) -> Cursor? {
        switch stream {
        case .account: Cursor(generation: generation, number: accountSeq)
        case .dialog: dialogSeq.map { Cursor(generation: generation, number: $0) }
        }
    }
}

/// The log as the side that streams it reads it. PostgreSQL is behind it; nothing else may answer.
package protocol EventLog: Sendable {
    /// Both heads in one snapshot; `nil` where the account or the dialog is no more.
    func head(of stream: StreamKey) async throws -> LogHead?

    /// The events after a number, ascending, at most `limit` and fewer where they are large; none only at the end.
    func events(in stream: StreamKey, after number: Int64, limit: Int) async throws -> [StreamEvent]

    /// The newest numbers of many accounts in one question; accounts that are no more are absent.
    func heads(of accounts: [Account.ID]) async throws -> (generation: Int64, seqs: [Account.ID: Int64])
}

/// Where committed events go at once, so that nobody who follows need wait for somebody to look.
package protocol EventSink: Sendable {
    /// - Parameter events: of any accounts, each account's ascending. Never blocks, never fails: what it misses, the
    ///   auditor finds.
    func ingest(_ events: [StreamEvent])
}

/// Where ephemeral events go.
package protocol EphemeralSink: Sendable {
    /// Never blocks, never fails; may be lost.
    func show(_ event: EphemeralEvent)
}
