package import Domain
package import NIOCore

/// Server-Sent Events as bytes. The format is the HTML standard's ("Server-sent events", parsing an event stream);
/// lines end in LF only, every event's data is one line, an `id` is always a ``Cursor``.
package enum SSEFrame {
    package static let mediaType = "text/event-stream"
    package static let contentType = mediaType + "; charset=utf-8"

    package enum ResetReason: String, Sendable {
        /// Events after the cursor are no longer kept.
        case erased
        /// The cursor is beyond the newest event: it is not from this log.
        case ahead
        case generation
        case malformed
    }

    package enum ByeReason: String, Sendable {
        /// The server is going away; another is there, or the same again soon.
        case drain
        case expired
        case slow
        case overload
        case erased
    }

    /// - Parameter milliseconds: how long the client waits before it opens the stream again.
    package static func retry(milliseconds: Int) -> ByteBuffer {
        ByteBuffer(string: "retry: \(milliseconds)\n\n")
    }

    package static func event(_ event: StreamEvent, in stream: StreamKey, number: Int64) -> ByteBuffer {
        let data = event.data(in: stream)
        var buffer = ByteBufferAllocator().buffer(capacity: data.utf8.count + 48)
        buffer.writeString("id: \(event.generation)-\(number)\ndata: ")
        write(line: data, to: &buffer)
        return buffer
    }

    /// Without an `id`: the client's cursor stays.
    package static func ephemeral(_ event: EphemeralEvent) -> ByteBuffer {
        let data = event.data
        var buffer = ByteBufferAllocator().buffer(capacity: data.utf8.count + 16)
        buffer.writeStaticString("data: ")
        write(line: data, to: &buffer)
        return buffer
    }

    /// - Parameter movesCursor: whether the beat carries the head as an `id`. The one that ends a replay does, so that
    ///   the first reconnect has a cursor; the later ones leave the client's cursor alone.
    package static func heartbeat(head: Cursor, at moment: Timestamp, movesCursor: Bool) -> ByteBuffer {
        let id = movesCursor ? "id: \(head)\n" : ""
        return ByteBuffer(string: #"\#(id)event: hb\#ndata: {"head":"\#(head)","at":"\#(moment.rfc3339)"}\#n\#n"#)
    }

    package static func reset(_ reason: ResetReason, head: Cursor) -> ByteBuffer {
        ByteBuffer(
            string: #"id: \#(head)\#nevent: reset\#ndata: {"reason":"\#(reason.rawValue)","head":"\#(head)"}\#n\#n"#)
    }

    /// The last words of a stream that the server ends.
    package static func bye(_ reason: ByeReason, retryMilliseconds: Int) -> ByteBuffer {
        ByteBuffer(
            string: #"event: bye\#ndata: {"reason":"\#(reason.rawValue)"}\#n\#nretry: \#(retryMilliseconds)\#n\#n"#)
    }

    /// JSON has no line break in it unless somebody put one between its tokens (`json` columns keep their text). A
    /// break would end the field and let the rest of the line be read as fields of its own, so it becomes a space.
    private static func write(line: String, to buffer: inout ByteBuffer) {
        if line.utf8.contains(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
            buffer.writeBytes(
                line.utf8.lazy.map { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") ? UInt8(ascii: " ") : $0 })
        } else {
            buffer.writeString(line)
        }
        buffer.writeStaticString("\n\n")
    }
}
