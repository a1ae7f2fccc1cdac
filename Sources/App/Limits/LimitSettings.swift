/// How much visitors may do (docs/limits.md).
struct LimitSettings: Sendable {
    var isOn = true
    /// A minute, of one visitor.
    var visitorMessages = 30
    /// A minute, of one visitor: whatever they ask for besides messages and streams.
    var visitorRequests = 240
    /// Open at once, of one visitor.
    var visitorStreams = 5
    /// How many visitors' worth one address has: offices and mobile networks have one for many.
    var addressFactor = 20
    /// New ones a minute, of one address.
    var addressDialogs = 10
    /// A minute, of one address: registrations, invitations and one-time links. Each costs a password's hashing.
    let addressAttempts = 10
}
