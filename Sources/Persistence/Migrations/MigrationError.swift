/// Why migrations were not applied. The file it is about is named.
package struct MigrationError: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
