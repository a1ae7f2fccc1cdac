/// Why a URL is not called, or its answer not taken. None of them carries any part of the URL: paths and queries hold
/// secrets.
enum OutboundRefusal: Error, Hashable, Sendable {
    enum Phase: Hashable, Sendable {
        case connection, head, answer
    }

    // Of the URL itself, known when it is saved.
    case malformed, tooLong, notHTTP, hasCredentials, noHost, badPort
    /// The host is, or its name leads to, an address that is not on the internet and not allowed.
    case notPublic
    case unresolvable, unreachable
    /// No TLS with that host: its certificate is not good for its name, or the handshake failed.
    case untrusted
    case requestTooLarge, answerTooLarge
    case timedOut(Phase)
    /// The connection broke, or what came is no HTTP.
    case interrupted
}

extension OutboundRefusal: CustomStringConvertible {
    var description: String {
        switch self {
        case .malformed: "This is not a URL, or it has characters that a URL cannot have"
        case .tooLong: "The URL is longer than \(OutboundTarget.lengthLimit) characters"
        case .notHTTP: "The URL must begin with http:// or https://"
        case .hasCredentials: "The URL must not contain a user name or password"
        case .noHost: "The URL names no host"
        case .badPort: "The URL's port is not a number from 1 to 65535"
        case .notPublic: "The URL leads to an address that is not on the public internet"
        case .unresolvable: "The URL's host has no address"
        case .unreachable: "The URL's host takes no connection"
        case .untrusted: "The URL's host could not prove who it is"
        case .requestTooLarge: "The request is too large"
        case .answerTooLarge: "The answer is too large"
        case .timedOut(.connection): "The URL's host did not take the connection in time"
        case .timedOut(.head): "The URL's host did not begin to answer in time"
        case .timedOut(.answer): "The URL's host did not finish its answer in time"
        case .interrupted: "The URL's host broke off its answer"
        }
    }
}
