import CoreMetrics
import Synchronization

/// The process's metrics, and their text for Prometheus (its "text-based format", version 0.0.4).
final class PrometheusRegistry: MetricsFactory {
    struct Key: Hashable, Comparable {
        let label: String
        /// As they are written: `reason="gone"`.
        let dimensions: String

        static func < (a: Key, b: Key) -> Bool { (a.label, a.dimensions) < (b.label, b.dimensions) }
    }

    /// Series a process may have; more are counted together, so that a label that grows cannot take the memory.
    private static let limit = 5000

    private let metrics = Mutex<[Key: any PrometheusMetric]>([:])
    private let overflow = CounterCell()

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        find(label, dimensions) { CounterCell() } as? CounterCell ?? overflow
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        find(label, dimensions) { GaugeCell() } as? GaugeCell ?? GaugeCell()
    }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        if aggregate {
            return find(label, dimensions) { HistogramCell(bounds: HistogramCell.counts, unit: 1) } as? HistogramCell
                ?? HistogramCell(bounds: [], unit: 1)
        }
        return find(label, dimensions) { GaugeCell() } as? GaugeCell ?? GaugeCell()
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        find(label, dimensions) { HistogramCell(bounds: HistogramCell.seconds, unit: 1e-9) } as? HistogramCell
            ?? HistogramCell(bounds: [], unit: 1)
    }

    /// Metrics live as long as the process: a counter that is made anew goes on where it was.
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}

    private func find(
        _ label: String, _ dimensions: [(String, String)], _ make: () -> any PrometheusMetric
    ) -> (any PrometheusMetric)? {
        let key = Key(
            label: label, dimensions: dimensions.map { #"\#($0)="\#(Self.escaped($1))""# }.joined(separator: ","))
        return metrics.withLock { metrics in
            if let known = metrics[key] { return known }
            guard metrics.count < Self.limit else { return nil }
            let made = make()
            metrics[key] = made
            return made
        }
    }

    private static func escaped(_ value: String) -> String {
        value.reduce(into: "") { text, character in
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.append(character)
            }
        }
    }

    /// All series, sorted, each family behind its type.
    func text() -> String {
        let sorted = metrics.withLock { $0.sorted { $0.key < $1.key } }
        var text = ""
        var family = ""
        for (key, metric) in sorted {
            if key.label != family {
                family = key.label
                text += "# TYPE \(family) \(metric.type)\n"
            }
            metric.write(key, to: &text)
        }
        return text
    }
}

/// One series, or a histogram's several.
protocol PrometheusMetric: AnyObject, Sendable {
    var type: String { get }
    func write(_ key: PrometheusRegistry.Key, to text: inout String)
}

extension PrometheusRegistry.Key {
    /// `name{dimensions}` with a suffix to the name and a further dimension.
    func series(suffix: String = "", _ more: String = "") -> String {
        let all = [dimensions, more].filter { !$0.isEmpty }.joined(separator: ",")
        return label + suffix + (all.isEmpty ? "" : "{\(all)}")
    }
}
