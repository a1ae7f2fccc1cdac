import CoreMetrics
import Testing

@testable import App

@Suite struct PrometheusTests {
    @Test func `each family stands behind its type and each series on a line`() {
        let registry = PrometheusRegistry()
        registry.makeCounter(label: "b_total", dimensions: [("reason", "x")]).increment(by: 2)
        registry.makeCounter(label: "b_total", dimensions: [("reason", "a\"\\\nb")]).increment(by: 1)
        registry.makeMeter(label: "a", dimensions: []).increment(by: 3)
        #expect(
            registry.text() == """
                # TYPE a gauge
                a 3.0
                # TYPE b_total counter
                b_total{reason="a\\"\\\\\\nb"} 1
                b_total{reason="x"} 2

                """)
    }

    @Test func `the same series is the same number`() {
        let registry = PrometheusRegistry()
        for _ in 0..<3 { registry.makeCounter(label: "c", dimensions: [("k", "v")]).increment(by: 1) }
        #expect(registry.text().contains(#"c{k="v"} 3"#))
    }

    @Test func `a histogram counts what lies under each bound`() {
        let registry = PrometheusRegistry()
        let batch = registry.makeRecorder(label: "h", dimensions: [], aggregate: true)
        for value in [1, 2, 3, 500] as [Int64] { batch.record(value) }
        let text = registry.text()
        #expect(text.contains(#"h_bucket{le="1.0"} 1"#))
        #expect(text.contains(#"h_bucket{le="2.0"} 2"#))
        #expect(text.contains(#"h_bucket{le="4.0"} 3"#))
        #expect(text.contains(#"h_bucket{le="128.0"} 3"#))
        #expect(text.contains(#"h_bucket{le="+Inf"} 4"#))
        #expect(text.contains("h_sum 506.0"))
    }

    @Test func `labels that grow without end do not take the memory`() {
        let registry = PrometheusRegistry()
        for number in 0..<20_000 { registry.makeCounter(label: "c", dimensions: [("k", "\(number)")]).increment(by: 1) }
        #expect(registry.text().split(separator: "\n").count <= 5001)
    }
}
