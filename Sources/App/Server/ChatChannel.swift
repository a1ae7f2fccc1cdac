import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// A connection of the server, once it has been set up.
struct ChatConnection: ServerChildChannelValue {
    typealias Library = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let channel: any Channel
    /// The library's side of the connection, made when its first ordinary request comes; `nil` if none came before the
    /// connection ended or became a stream.
    let library: EventLoopFuture<Library?>
}

/// HTTP/1.1 for both kinds of request: ordinary ones are the library's, streams get the lean seat of
/// ``ConnectionHandler``. An idle stream costs 13 KB less this way than as a response body
/// (docs/decisions/0004-lean-seat.md).
struct ChatChannel: ServerChildChannel, HTTPChannelHandler {
    let responder: Responder
    let streams: StreamResponder
    let executors: LoopExecutors
    let limits: ConnectionHandler.Limits

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<ChatConnection> {
        channel.eventLoop.makeCompletedFuture {
            let library = channel.eventLoop.makePromise(of: ChatConnection.Library?.self)
            do {
                var decoderLimits = NIOHTTPDecoderLimitConfiguration()
                decoderLimits.maxHeaderFieldSize = limits.headerBytes
                decoderLimits.maxHeaderListSize = limits.headerBytes
                decoderLimits.maxHeaderFieldCount = limits.headerFields
                // By hand, because `configureHTTPServerPipeline` sets no bound to what the decoder keeps: after a request
                // to upgrade it parses nothing more, and keeps everything.
                let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: decoderLimits)
                try channel.pipeline.syncOperations.addHandlers(
                    HTTPResponseEncoder(),
                    ByteToMessageHandler(decoder, maximumBufferSize: limits.unparsedBytes),
                    HTTP1ToHTTPServerCodec(secure: false),
                    ConnectionHandler(streams: streams, limits: limits, library: library))
            } catch {
                library.succeed(nil)
                throw error
            }
            return ChatConnection(channel: channel, library: library.futureResult)
        }
    }

    func handle(value connection: ChatConnection, logger: Logger) async {
        guard let library = try? await connection.library.get() else { return }
        // A hop to another thread would cost more than most answers do.
        await withTaskExecutorPreference(executors[connection.channel.eventLoop]) {
            await handleHTTP(asyncChannel: library, logger: logger)
        }
    }
}
