import Foundation
import Testing

@testable import Persistence

/// What is bound comes back as it was.
@Suite struct ValueTests {
    private static let texts = [
        "", " ", "plain", "it's", "a \"quoted\" word", #"back\slash \\ \n"#, "{braces}", "{}", "a,b", "NULL", "null",
        "новое сообщение", "👩‍👩‍👧 e\u{301}", "line\nbreak\ttab\r", "$1", "%s", "\u{FEFF}bom", "\u{1}",
    ]

    private func roundTrip<V: Bindable & Readable>(
        _ value: V, _ type: String, on connection: PostgresConnection
    ) async throws -> V {
        try await connection.run(Statement("test.\(type)", "SELECT $1::\(type)"), value)[0].get(0)
    }

    @Test func `every kind of value makes the round trip`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            for value in [Int64.min, -1, 0, 1, .max] {
                #expect(try await roundTrip(value, "bigint", on: connection) == value)
                #expect(try await roundTrip(Int(value), "bigint", on: connection) == Int(value))
            }
            for value in [Int32.min, 0, .max] {
                #expect(try await roundTrip(value, "integer", on: connection) == value)
            }
            for value in [true, false] {
                #expect(try await roundTrip(value, "boolean", on: connection) == value)
            }
            for value in [0, -0.1, 1e300, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .infinity, -.infinity] {
                #expect(try await roundTrip(value, "double precision", on: connection) == value)
            }
            #expect(try await roundTrip(Double.nan, "double precision", on: connection).isNaN)
            for value in Self.texts {
                #expect(try await roundTrip(value, "text", on: connection) == value)
            }
            let identifier = UUID()
            #expect(try await roundTrip(identifier, "uuid", on: connection) == identifier)
            for value in [[], [0], Array(UInt8.min...UInt8.max)] as [[UInt8]] {
                #expect(try await roundTrip(value, "bytea", on: connection) == value)
            }
            await connection.close()
        }
    }

    @Test func `NULL makes the round trip as nil`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            #expect(try await roundTrip(nil as Int64?, "bigint", on: connection) == nil)
            #expect(try await roundTrip(7 as Int64?, "bigint", on: connection) == 7)
            #expect(try await roundTrip(nil as String?, "text", on: connection) == nil)
            #expect(try await roundTrip("" as String?, "text", on: connection) == "")
            #expect(try await roundTrip(nil as UUID?, "uuid", on: connection) == nil)
            #expect(try await roundTrip(nil as [UInt8]?, "bytea", on: connection) == nil)
            #expect(try await roundTrip(nil as [String]?, "text[]", on: connection) == nil)
            await connection.close()
        }
    }

    @Test func `arrays make the round trip`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            #expect(try await roundTrip([] as [Int64], "bigint[]", on: connection) == [])
            #expect(try await roundTrip([.min, 0, .max] as [Int64], "bigint[]", on: connection) == [.min, 0, .max])
            #expect(try await roundTrip([1, nil, 3] as [Int64?], "bigint[]", on: connection) == [1, nil, 3])
            #expect(try await roundTrip([true, false], "boolean[]", on: connection) == [true, false])
            #expect(try await roundTrip([] as [String], "text[]", on: connection) == [])
            #expect(try await roundTrip(Self.texts, "text[]", on: connection) == Self.texts)
            let gaps: [String?] = [nil, "", "NULL", nil, "{\"\\"]
            #expect(try await roundTrip(gaps, "text[]", on: connection) == gaps)
            let identifiers = [UUID(), UUID()]
            #expect(try await roundTrip(identifiers, "uuid[]", on: connection) == identifiers)
            // Files of bytes can be bound; there is no reader for them, so the server compares.
            let files: [[UInt8]] = [[], [0, 92, 34, 255]]
            let rows = try await connection.run(
                Statement("test.files", #"SELECT $1::bytea[] = ARRAY['', '\x005c22ff'::bytea]"#), files)
            #expect(try rows[0].get(0) == true)
            await connection.close()
        }
    }

    @Test func `a NUL is refused before anything is sent`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            let statement = Statement("test.text", "SELECT $1::text, $2::text[]")
            for binds in [["a\0b", ["c"]], ["a", ["c", "\0"]]] as [[any Bindable]] {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.run(Command(statement, binds: binds))
                }
                #expect(error?.kind == .unusableBind)
                #expect(error?.statement == "test.text")
            }
            #expect(try await connection.run(statement, "a", ["c"]).count == 1)
            await connection.close()
        }
    }

    @Test func `a column that holds something else is an error, not a crash`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let connection = try await database.connect()
            let rows = try await connection.run(
                Statement("test.other", "SELECT 'x'::text, NULL::bigint, '{{1},{2}}'::bigint[], 99999999999::bigint"))
            #expect(throws: PostgresError.self) { try rows[0].get(0, as: Int64.self) }
            #expect(throws: PostgresError.self) { try rows[0].get(0, as: Int64?.self) }
            #expect(throws: PostgresError.self) { try rows[0].get(1, as: Int64.self) }
            #expect(throws: PostgresError.self) { try rows[0].get(2, as: [Int64].self) }
            #expect(throws: PostgresError.self) { try rows[0].get(3, as: Int32.self) }
            let error = #expect(throws: PostgresError.self) { try rows[0].get(9, as: String.self) }
            #expect(error?.kind == .unexpectedValue)
            await connection.close()
        }
    }
}
