import Domain
import Testing

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_915_473_042_999, "2025-11-23T16:31:13.042Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (4_102_444_799_999_999, "2099-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000Z"),
        ] as [(Int64, String)])
    func `a time is written in UTC with milliseconds`(_ microseconds: Int64, _ text: String) {
        #expect(Timestamp(microseconds: microseconds).rfc3339 == text)
    }
}
