import CHiredis
package import NIOCore

/// A command with its arguments, as an array of bulk strings on the wire. Nothing in an argument needs quoting.
package struct RedisCommand: Sendable, Equatable {
    /// hiredis counts a command's bytes in an `int`.
    private static let sizeLimit = 512 << 20

    let arguments: [String]

    package init(_ arguments: String...) {
        self.init(arguments)
    }

    package init(_ arguments: [String]) {
        precondition(!arguments.isEmpty, "A command has a name")
        self.arguments = arguments
    }

    /// Bytes on the wire, at most.
    var size: Int {
        arguments.reduce(into: 32) { $0 += $1.utf8.count + 32 }
    }

    package func write(to buffer: inout ByteBuffer) {
        precondition(size <= Self.sizeLimit, "A command of more than 512 MiB")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        var lengths: [Int] = []
        lengths.reserveCapacity(arguments.count)
        for argument in arguments {
            bytes.append(contentsOf: argument.utf8)
            lengths.append(argument.utf8.count)
        }
        // hiredis asks for a pointer also to an argument of no bytes at the end.
        bytes.append(0)
        // The pointers lead into `bytes`, which stands still until the closure returns; hiredis copies what they
        // lead to and keeps none of them. What it returns is ours to free, after the buffer has its copy.
        bytes.withUnsafeBytes { raw in
            guard var next = raw.baseAddress?.assumingMemoryBound(to: CChar.self) else { return }
            var pointers: [UnsafePointer<CChar>?] = []
            pointers.reserveCapacity(lengths.count)
            for length in lengths {
                pointers.append(next)
                next += length
            }
            var wire: UnsafeMutablePointer<CChar>?
            let count = redisFormatCommandArgv(&wire, Int32(lengths.count), &pointers, lengths)
            guard count > 0, let wire else { fatalError("Out of memory") }
            defer { redisFreeCommand(wire) }
            buffer.writeBytes(UnsafeRawBufferPointer(start: wire, count: Int(count)))
        }
    }
}
