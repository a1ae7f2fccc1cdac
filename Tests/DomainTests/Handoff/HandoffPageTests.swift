import Domain
import Foundation
import Testing

@Suite struct HandoffPageTests {
    @Test func `the page shows the table that the code has`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..")
        let page = try String(contentsOf: root.appending(path: "docs/handoff.md"), encoding: .utf8)
        let parts = page.components(separatedBy: "<!-- table -->\n")
        let shown = try #require(parts.count == 2 ? parts[1].components(separatedBy: "\n<!-- /table -->").first : nil)
        #expect(
            shown == HandoffTable.markdown, "put this between the marks of docs/handoff.md:\n\(HandoffTable.markdown)")
    }
}
