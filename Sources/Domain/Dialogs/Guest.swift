/// A visitor as the database knows one: the assistant they talk to and the SHA-256 of their secret.
package struct Guest: Hashable, Sendable {
    package let assistantID: Assistant.ID
    /// 32 bytes. The secret itself (`guest_id`) is neither stored nor logged.
    package let hash: [UInt8]

    package init(assistantID: Assistant.ID, hash: [UInt8]) {
        precondition(hash.count == 32, "a SHA-256 digest has 32 bytes")
        self.assistantID = assistantID
        self.hash = hash
    }
}
