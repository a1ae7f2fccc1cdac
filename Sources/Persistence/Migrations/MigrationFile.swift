import Foundation

/// A numbered SQL file: `0001_spine.sql`.
struct MigrationFile: Sendable {
    let number: Int
    /// The file's name.
    let name: String
    let bytes: [UInt8]

    /// All files of a directory in order, from 1 without a gap. Other kinds of files are left alone.
    static func all(in directory: String) throws -> [MigrationFile] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".sql") }
                .sorted()
        } catch {
            throw MigrationError("The migrations' directory cannot be read: \(directory)")
        }
        var files: [MigrationFile] = []
        for name in names {
            guard let number = number(of: name) else {
                throw MigrationError("\(name) is no migration's name: it has to look like 0001_what_it_does.sql")
            }
            if let before = files.last, before.number == number {
                throw MigrationError("Two migrations have the number \(number): \(before.name) and \(name)")
            }
            guard number == files.count + 1 else {
                let missing = String(String(10_001 + files.count).dropFirst())
                throw MigrationError("The migration \(missing) is missing before \(name)")
            }
            guard let data = FileManager.default.contents(atPath: directory + "/" + name) else {
                throw MigrationError("The migration \(name) cannot be read")
            }
            files.append(MigrationFile(number: number, name: name, bytes: [UInt8](data)))
        }
        return files
    }

    private static func number(of name: String) -> Int? {
        let digits = name.prefix { $0.isASCII && $0.isNumber }
        guard digits.count == 4, name.dropFirst(4).first == "_", name.count > "0001_.sql".count else { return nil }
        return Int(digits)
    }

    func text() throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw MigrationError("The migration \(name) is not UTF-8 text")
        }
        return text
    }
}
