import Domain
import HummingbirdCore
import NIOCore
import Synchronization

/// What a route decided about a request for a stream.
struct StreamPlan: Sendable {
    let stream: StreamKey
    /// The client's cursor as it was sent.
    let requestedCursor: String?
    /// When the credential ends by itself.
    let expiresAt: NIODeadline
    let credential: StreamCredential
    /// Called once, when the stream is over or never came to be.
    var atEnd: @Sendable () -> Void = {}
}

/// A seat on offer: it stands in the context of a request that came for a stream, and a route that lets the caller in
/// takes it. Routes, credentials and limits are so the same code for both kinds of request.
final class StreamOffer: Sendable {
    private let plan = Mutex<StreamPlan?>(nil)

    func take(_ plan: StreamPlan) {
        self.plan.withLock { $0 = plan }
    }

    var taken: StreamPlan? { plan.withLock { $0 } }
}
