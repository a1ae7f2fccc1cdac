import CHiredis
package import NIOCore

/// Reads replies out of bytes that come in pieces of any size: hiredis' reader, which calls back for every part it
/// has read, and the values that are built of the parts. hiredis 0.14 reads version 2 of the protocol and arrays
/// nested at most 7 deep.
///
/// After a failure a parser is of no more use.
package final class RedisParser {
    /// Bytes of one reply that is not complete yet.
    package static let replyLimit = 64 << 20

    /// Both are owned here: made in `init`, freed once in `deinit`, and never handed out. The reader keeps the
    /// functions' address, so they go last.
    private let reader: UnsafeMutablePointer<redisReader>
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    /// Arrays whose elements are still coming, outermost first.
    private var unfinished: [(missing: Int, values: [RedisValue])] = []
    private var finished: RedisValue?
    /// Bytes that came since the last complete reply.
    private var pending = 0

    package init() {
        functions = .allocate(capacity: 1)
        functions.initialize(to: .building)
        guard let reader = redisReaderCreateWithFunctions(functions) else { fatalError("Out of memory") }
        self.reader = reader
        // Unretained: only the calls below make the reader call back, and they keep this object alive.
        reader.pointee.privdata = Unmanaged.passUnretained(self).toOpaque()
    }

    deinit {
        redisReaderFree(reader)
        functions.deinitialize(count: 1)
        functions.deallocate()
    }

    /// Takes bytes in. All complete replies are to be taken with ``next()`` before more is fed.
    /// - Throws: ``RedisFailure/malformed`` when a reply grows beyond ``replyLimit``.
    package func feed(_ bytes: ByteBuffer) throws(RedisFailure) {
        pending += bytes.readableBytes
        guard pending <= Self.replyLimit else { throw .malformed }
        // The reader copies.
        let outcome = bytes.withUnsafeReadableBytes { raw in
            redisReaderFeed(reader, raw.baseAddress?.assumingMemoryBound(to: CChar.self), raw.count)
        }
        guard outcome == REDIS_OK else { throw .malformed }
    }

    /// - Returns: the oldest complete reply; nil when the rest of it is still to come.
    /// - Throws: ``RedisFailure/malformed``
    package func next() throws(RedisFailure) -> RedisValue? {
        var token: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &token) == REDIS_OK else { throw .malformed }
        guard token != nil, let value = finished else { return nil }
        finished = nil
        pending = reader.pointee.len - reader.pointee.pos
        return value
    }

    fileprivate func begin(_ count: Int) {
        guard count > 0 else { return add(.array([])) }
        var values: [RedisValue] = []
        // The number is only announced: what is reserved for it is bounded.
        values.reserveCapacity(min(count, 1024))
        unfinished.append((count, values))
    }

    fileprivate func add(_ value: RedisValue) {
        var value = value
        while var array = unfinished.popLast() {
            array.values.append(value)
            array.missing -= 1
            guard array.missing == 0 else { return unfinished.append(array) }
            value = .array(array.values)
        }
        finished = value
    }
}

extension redisReplyObjectFunctions {
    /// Each returns what the reader takes for the object it made: it only has to be something else than NULL, and
    /// there is nothing to free.
    fileprivate static let building = redisReplyObjectFunctions(
        createString: { task, bytes, count in
            tell(task) { parser in
                let text = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
                parser.add(task?.pointee.type == REDIS_REPLY_ERROR ? .error(text) : .text(text))
            }
        },
        createArray: { task, count in tell(task) { $0.begin(Int(count)) } },
        createInteger: { task, number in tell(task) { $0.add(.integer(number)) } },
        createNil: { task in tell(task) { $0.add(.null) } },
        freeObject: { _ in }
    )

    /// The reader hands each task the pointer it was given at its birth: the parser, which is alive while it reads.
    private static func tell(
        _ task: UnsafePointer<redisReadTask>?, _ body: (RedisParser) -> Void
    ) -> UnsafeMutableRawPointer? {
        guard let parser = task?.pointee.privdata else { return nil }
        body(Unmanaged<RedisParser>.fromOpaque(parser).takeUnretainedValue())
        return parser
    }
}
