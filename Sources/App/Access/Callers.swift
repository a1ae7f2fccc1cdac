import Domain

/// A visitor who has proved which assistant they talk to and which guest they are.
struct VisitorCaller: Sendable {
    let assistant: Assistant
    let guest: Guest
    let pass: VisitorPass
}

/// The two ways in which visitors say which assistant they mean.
enum VisitorDoor: String, Sendable, CaseIterable {
    /// By the site token of the embedding page.
    case site
    /// By the assistant's number, where it allows that.
    case widget
}
