import Domain
import Hummingbird
import Logging
import NIOCore

/// What goes along with one request.
struct ChatContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// A seat, where the request came for a stream.
    var offer: StreamOffer?
    /// The client's, if it is sane, or one of ours; on every answer and in every log line.
    var requestID = ""
    /// Where the request came from: the connection's own address, or what a trusted proxy says.
    var address = ""
    let allowedOrigin = AllowedOrigin()

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// A path parameter that is a number of ours.
    /// - Throws: 404: what is no number names nothing.
    func id<Subject>(_ name: String, of subject: Subject.Type = Subject.self) throws -> Identifier<Subject> {
        guard let text = parameters.get(name), let value = Int64(text), value > 0, String(value) == text else {
            throw Problem.notFound
        }
        return Identifier(value)
    }
}
