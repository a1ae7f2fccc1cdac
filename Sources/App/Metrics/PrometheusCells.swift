import CoreMetrics
import Synchronization

/// A number that only rises.
final class CounterCell: CounterHandler, PrometheusMetric {
    private let value = Atomic<Int64>(0)

    func increment(by amount: Int64) {
        value.wrappingAdd(amount, ordering: .relaxed)
    }

    /// Prometheus takes a counter that falls for a restart, so it does not.
    func reset() {}

    var type: String { "counter" }

    func write(_ key: PrometheusRegistry.Key, to text: inout String) {
        text += "\(key.series()) \(value.load(ordering: .relaxed))\n"
    }
}

/// A number that rises and falls.
final class GaugeCell: MeterHandler, RecorderHandler, PrometheusMetric {
    private let value = Mutex<Double>(0)

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { self.value.withLock { $0 = value } }
    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    func increment(by amount: Double) { value.withLock { $0 += amount } }
    func decrement(by amount: Double) { value.withLock { $0 -= amount } }

    var type: String { "gauge" }

    func write(_ key: PrometheusRegistry.Key, to text: inout String) {
        text += "\(key.series()) \(value.withLock { $0 })\n"
    }
}

/// How often values fell under each of some bounds.
final class HistogramCell: RecorderHandler, TimerHandler, PrometheusMetric {
    static let counts: [Double] = [1, 2, 4, 8, 16, 32, 64, 128]
    static let seconds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

    private struct State: Sendable {
        var buckets: [Int]
        var count = 0
        var sum = 0.0
    }

    private let bounds: [Double]
    /// What a recorded number is multiplied by: nanoseconds become seconds.
    private let unit: Double
    private let state: Mutex<State>

    init(bounds: [Double], unit: Double) {
        self.bounds = bounds
        self.unit = unit
        state = Mutex(State(buckets: Array(repeating: 0, count: bounds.count)))
    }

    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration)) }

    func record(_ value: Double) {
        let value = value * unit
        state.withLock { state in
            state.count += 1
            state.sum += value
            if let bucket = bounds.firstIndex(where: { value <= $0 }) { state.buckets[bucket] += 1 }
        }
    }

    var type: String { "histogram" }

    func write(_ key: PrometheusRegistry.Key, to text: inout String) {
        let state = state.withLock { $0 }
        var sum = 0
        for (bound, count) in zip(bounds, state.buckets) {
            sum += count
            text += "\(key.series(suffix: "_bucket", #"le="\#(bound)""#)) \(sum)\n"
        }
        text += "\(key.series(suffix: "_bucket", #"le="+Inf""#)) \(state.count)\n"
        text += "\(key.series(suffix: "_sum")) \(state.sum)\n"
        text += "\(key.series(suffix: "_count")) \(state.count)\n"
    }
}
