import NIOCore
import NIOHTTP1

/// One call to somebody else's server.
struct OutboundRequest: Sendable {
    var method = HTTPMethod.GET
    let url: String
    var headers = HTTPHeaders()
    var body: ByteBuffer?

    /// What belongs to the connection, not to the caller: the guard alone says to whom and how it speaks.
    private static let reserved = [
        "Host", "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Expect",
    ]

    var sentHeaders: HTTPHeaders {
        var headers = headers
        for name in Self.reserved { headers.remove(name: name) }
        // Compressed answers are not unpacked: a small one could become gigabytes.
        headers.replaceOrAdd(name: "Accept-Encoding", value: "identity")
        return headers
    }
}

/// How much, and how long. Every time is measured from the start of the request.
struct OutboundLimits: Sendable {
    /// For one address to take the connection, TLS included; up to three are tried.
    var connection = Duration.seconds(5)
    var head = Duration.seconds(30)
    var answer = Duration.seconds(120)
    var requestBytes = 1 << 20
    var answerBytes = 4 << 20
}

/// What came back, whatever the status: a redirect is an answer like any other, it is not followed.
struct OutboundAnswer: Sendable {
    let status: Int
    let headers: HTTPHeaders
    let body: OutboundBody
}
