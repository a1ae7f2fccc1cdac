import Domain

extension Message {
    /// The columns that ``init(row:from:)`` reads, of `messages m` and the author's `operators o`.
    static let columns = """
        m.id, m.dialog_id, m.seq, m.sender, m.text, (extract(epoch FROM m.created_at) * 1000000)::bigint,
        m.message_kind, m.system_type, m.client_message_id, m.author_id, o.first_name
        """
    static let columnCount = 11

    /// - Parameter first: where ``columns`` begin in the row.
    init(row: Row, from first: Int = 0) throws {
        let authorID: Operator.ID? = try row.get(first + 9)
        let authorName: String? = try row.get(first + 10)
        self.init(
            id: try row.get(first), dialogID: try row.get(first + 1), seq: try row.get(first + 2),
            sender: try row.get(first + 3), text: try row.get(first + 4), timestamp: try row.get(first + 5),
            kind: try row.get(first + 6), systemType: try row.get(first + 7),
            clientMessageID: try row.get(first + 8),
            author: authorID.map { Author(id: $0, name: Operator.displayName(firstName: authorName ?? "", id: $0)) })
    }
}
