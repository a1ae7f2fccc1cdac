package import FoundationEssentials

/// What an open stream stands on. When that is no longer good, the stream ends.
package enum StreamCredential: Hashable, Sendable {
    /// An operator's login, whichever of its tokens opened the stream.
    case session(UUID)
    case visitor(VisitorPass)
}

/// Says which credentials are still good. The database is behind it.
package protocol CredentialCheck: Sendable {
    /// Of these, the ones that are no longer good.
    func ended(of credentials: Set<StreamCredential>) async throws -> Set<StreamCredential>
}
