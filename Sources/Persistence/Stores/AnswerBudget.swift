package import Domain

/// How many answers an assistant has given in a day, against what its owner allows. PostgreSQL's clock says the day
/// (UTC).
package struct AnswerBudget: Sendable {
    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// Takes one answer. Two who ask at once for the last one do not both get it.
    /// - Returns: whether there was one left.
    package func take(for id: Assistant.ID) async throws -> Bool {
        try await pool.perform { try !$0.run(.take, id).isEmpty }
    }
}

extension Statement {
    /// The row of the day is locked by the update, so the limit is looked at once the one before has written.
    fileprivate static let take = Statement(
        "answer_counts.take",
        """
        INSERT INTO answer_counts AS c (assistant_id, day, answers)
        SELECT a.id, (clock_timestamp() AT TIME ZONE 'UTC')::date, 1 FROM assistants a
        WHERE a.id = $1 AND coalesce(a.daily_answers, 1) > 0
        ON CONFLICT (assistant_id, day) DO UPDATE SET answers = c.answers + 1
        WHERE c.answers < (SELECT coalesce(daily_answers, 2147483647) FROM assistants WHERE id = c.assistant_id)
        RETURNING 1
        """)
}
