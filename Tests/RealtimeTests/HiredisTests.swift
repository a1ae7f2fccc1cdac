import CHiredis
import Testing

@Suite struct HiredisTests {
    @Test func `the protocol library is linked and reads a reply`() throws {
        let reader = try #require(redisReaderCreate())
        defer { redisReaderFree(reader) }
        let wire = "+PONG\r\n"
        #expect(redisReaderFeed(reader, wire, wire.utf8.count) == REDIS_OK)
        var reply: UnsafeMutableRawPointer?
        #expect(redisReaderGetReply(reader, &reply) == REDIS_OK)
        let pong = try #require(reply?.assumingMemoryBound(to: redisReply.self))
        defer { freeReplyObject(reply) }
        #expect(String(cString: pong.pointee.str) == "PONG")
    }
}
