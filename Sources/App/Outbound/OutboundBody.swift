import AsyncHTTPClient
import NIOCore

/// The bytes of an answer as they come, no faster than they are taken. It can be read once, within
/// ``OutboundGuard/send(_:within:isolation:_:)``.
struct OutboundBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    let source: HTTPClientResponse.Body
    let byteLimit: Int
    /// What an error of the library comes to.
    let refusal: @Sendable (any Error) -> any Error

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var source: HTTPClientResponse.Body.AsyncIterator
        fileprivate var bytesLeft: Int
        fileprivate let refusal: @Sendable (any Error) -> any Error

        /// - Throws: ``OutboundRefusal``; `CancellationError`.
        mutating func next() async throws -> ByteBuffer? {
            let chunk: ByteBuffer?
            do { chunk = try await source.next() } catch { throw refusal(error) }
            guard let chunk else { return nil }
            bytesLeft -= chunk.readableBytes
            guard bytesLeft >= 0 else { throw OutboundRefusal.answerTooLarge }
            return chunk
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(source: source.makeAsyncIterator(), bytesLeft: byteLimit, refusal: refusal)
    }

    /// All of it.
    func whole() async throws -> ByteBuffer {
        try await collect(upTo: byteLimit)
    }
}
