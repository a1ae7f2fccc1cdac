package import Domain
import FoundationEssentials

/// What open streams stand on, asked of the database.
package struct StreamCredentials: CredentialCheck {
    private let sessions: SessionStore
    private let entrances: EntranceStore

    package init(sessions: SessionStore, entrances: EntranceStore) {
        self.sessions = sessions
        self.entrances = entrances
    }

    package func ended(of credentials: Set<StreamCredential>) async throws -> Set<StreamCredential> {
        var logins: [UUID] = []
        var passes: [VisitorPass] = []
        for credential in credentials {
            switch credential {
            case .session(let id): logins.append(id)
            case .visitor(let pass): passes.append(pass)
            }
        }
        var ended: Set<StreamCredential> = []
        if !logins.isEmpty { ended = Set(try await sessions.ended(of: logins).map { .session($0) }) }
        if !passes.isEmpty {
            ended.formUnion(try await entrances.ended(of: passes).map(StreamCredential.visitor))
        }
        return ended
    }
}
