import NIOCore
import Testing

@testable import Realtime

@Suite struct RedisCommandTests {
    @Test(arguments: [
        (["PING"], "*1\r\n$4\r\nPING\r\n"),
        (["SET", "", "a b\r\n\"c\""], "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$8\r\na b\r\n\"c\"\r\n"),
        (["SET", "k", ""], "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"),
        (["ECHO", "é🙂"], "*2\r\n$4\r\nECHO\r\n$6\r\né🙂\r\n"),
        (["ECHO", "a\0b"], "*2\r\n$4\r\nECHO\r\n$3\r\na\0b\r\n"),
    ])
    func `a command is an array of its arguments`(_ arguments: [String], _ wire: String) {
        var buffer = ByteBuffer(string: "before")
        let command = RedisCommand(arguments)
        command.write(to: &buffer)
        #expect(String(buffer: buffer) == "before" + wire)
        #expect(wire.utf8.count <= command.size)
    }

    @Test func `a command of many arguments is written whole`() {
        var buffer = ByteBuffer()
        let command = RedisCommand(["DEL"] + (0..<5000).map { "key \($0)" })
        command.write(to: &buffer)
        #expect(String(buffer: buffer).hasPrefix("*5001\r\n$3\r\nDEL\r\n$5\r\nkey 0\r\n"))
        #expect(String(buffer: buffer).hasSuffix("$8\r\nkey 4999\r\n"))
        #expect(buffer.readableBytes <= command.size)
    }
}
