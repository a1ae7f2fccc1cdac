/// Why something that was asked for is not done. A closed list: the layer that speaks HTTP answers every case.
package enum Refusal: Error, Equatable, Sendable {
    case textMissing
    case textBlank
    /// The limit in Unicode scalars.
    case textTooLong(limit: Int)
    case textHasNUL
    /// Not there, or not the caller's: one case, so that no answer tells which.
    case unknownDialog
    case dialogClosed
    /// The same `client_message_id` was used for another text.
    case messageKeyReused
    /// The handoff has moved on since the writer began (DESIGN: the fence).
    case epochPassed
}
