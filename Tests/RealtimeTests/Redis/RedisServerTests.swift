import Testing

@testable import Realtime

@Suite struct RedisServerTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let url: String
        let address: RedisServer.Address
        var database = 0
        var user: String?
        var password: String?
        let description: String

        var testDescription: String { url }
    }

    private static let rows = [
        Row(url: "redis://localhost", address: .host("localhost", port: 6379), description: "redis://localhost:6379/0"),
        Row(url: "REDIS://h/", address: .host("h", port: 6379), description: "redis://h:6379/0"),
        Row(
            url: "redis://redis_1.internal:6380/7", address: .host("redis_1.internal", port: 6380), database: 7,
            description: "redis://redis_1.internal:6380/7"),
        Row(
            url: "redis://:secret@10.0.0.1:1", address: .host("10.0.0.1", port: 1), password: "secret",
            description: "redis://10.0.0.1:1/0"),
        Row(
            url: "redis://replyx:p%40ss%2F%3A%25+@h/15", address: .host("h", port: 6379), database: 15,
            user: "replyx", password: "p@ss/:%+", description: "redis://h:6379/15"),
        Row(
            url: "redis://a%3Ab:p:a@ss@h", address: .host("h", port: 6379), user: "a:b", password: "p:a@ss",
            description: "redis://h:6379/0"),
        Row(
            url: "redis://:%D0%BF%D0%B0%D1%80%D0%BE%D0%BB%D1%8C@h", address: .host("h", port: 6379),
            password: "пароль", description: "redis://h:6379/0"),
        Row(
            url: "redis://[::1]:6390/2", address: .host("::1", port: 6390), database: 2,
            description: "redis://[::1]:6390/2"),
        Row(
            url: "redis://[fe80::1%eth0]", address: .host("fe80::1%eth0", port: 6379),
            description: "redis://[fe80::1%eth0]:6379/0"),
        Row(url: "rediss://h:6380", address: .host("h", port: 6380), description: "rediss://h:6380/0"),
        Row(
            url: "unix:///run/redis.sock", address: .socket(path: "/run/redis.sock"),
            description: "unix:///run/redis.sock?db=0"),
        Row(
            url: "unix://u:p@/run/my%20redis.sock?db=4", address: .socket(path: "/run/my redis.sock"), database: 4,
            user: "u", password: "p", description: "unix:///run/my redis.sock?db=4"),
    ]

    @Test(arguments: rows)
    func `a URL names a server`(_ row: Row) throws {
        let server = try RedisServer(row.url)
        #expect(server.address == row.address)
        #expect(server.database == row.database)
        #expect(server.credentials?.user == row.user)
        #expect(server.credentials?.password == row.password)
        #expect(server.isEncrypted == row.url.hasPrefix("rediss"))
        #expect("\(server)" == row.description)
    }

    @Test(arguments: [
        "", "localhost:6379", "http://h", "redis:/h", "redis//h", "redis://", "redis:///0", "redis://:6379",
        "redis://h:",
        "redis://h:0", "redis://h:65536", "redis://h:+1", "redis://h:6379x", "redis://h/x", "redis://h/-1",
        "redis://h/65536", "redis://h/1/2", "redis://h?db=1", "redis://h/0?db=1", "redis://h#1", "redis://h h",
        "redis://hé", "redis://h\0", "redis://a/b@h", "redis://::1", "redis://[::1", "redis://[]", "redis://[h]",
        "redis://[::1]6379", "redis://h,i:6379", "redis://hunter2@h", "redis://:@h", "redis://hunter2:@h",
        "redis://:hunter2%@h", "redis://:hunter2%4@h", "redis://:hunter2%zz@h", "redis://:hunter2%FF@h",
        "redis://:hunter2%00@h", "redis://:hunter2#@h", "redis://:hunter2/@h", "redis://:hunter2?@h",
        "redis://:hunter2\n@h", "unix://", "unix:///", "unix://run/redis.sock", "unix:///a?db=", "unix:///a?db=x",
        "unix:///a?db=1&c=2", "unix:///a?timeout=1", "unix:///a%00", "unix://:hunter2@h/a",
        "unix:///" + String(repeating: "a", count: 107), "redis://" + String(repeating: "h", count: 254),
        "redis://:" + String(repeating: "hunter2", count: 1200) + "@h",
    ])
    func `a URL that names none is refused in a sentence without the password`(_ url: String) {
        #expect {
            try RedisServer(url)
        } throws: { error in
            let sentence = "\(error)"
            return error is RedisServer.Invalid && sentence.hasPrefix("REDIS_URL ") && !sentence.contains("hunter2")
        }
    }

    @Test func `nothing that prints a server prints its password`() throws {
        let server = try RedisServer("redis://replyx:hunter2@h")
        var dumped = ""
        dump(server, to: &dumped)
        #expect(!"\(server) \(String(reflecting: server)) \(dumped)".contains("hunter2"))
    }

    @Test func `roots are for TLS alone, and must be readable`() throws {
        #expect(throws: RedisServer.Invalid.self) { try RedisServer("redis://h", rootsFile: "/dev/null") }
        #expect(throws: RedisServer.Invalid.self) { try RedisServer("rediss://h", rootsFile: "/nowhere.pem") }
        #expect(throws: RedisServer.Invalid.self) { try RedisServer("rediss://h", rootsFile: "/dev/null") }
    }
}
