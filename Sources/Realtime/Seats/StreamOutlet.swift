package import NIOCore

/// Where a stream's bytes leave: the one thing that a seat knows of its connection. All of it is called on the
/// connection's event loop.
package protocol StreamOutlet: AnyObject {
    func write(_ frame: ByteBuffer)
    func flush()
    /// Bytes that were written and that the kernel has not taken yet.
    var pendingBytes: Int { get }
    /// Whether fewer than 64 KiB are pending.
    var isWritable: Bool { get }
    /// Ends the response in order and closes the connection once everything is out.
    func finish()
    /// Closes the connection now; what is pending is dropped.
    func abort()
}
