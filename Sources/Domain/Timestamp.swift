/// A moment of PostgreSQL's clock, in microseconds since 1970-01-01T00:00:00Z.
package struct Timestamp: Hashable, Sendable, Comparable {
    package let microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    package static func < (a: Self, b: Self) -> Bool { a.microseconds < b.microseconds }

    /// RFC 3339 in UTC with milliseconds and `Z`, as every time on the wire: `2026-11-23T16:31:13.042Z`.
    package var rfc3339: String {
        let milliseconds = microseconds.floorDivided(by: 1000)
        let seconds = milliseconds.floorDivided(by: 1000)
        let days = seconds.floorDivided(by: 86_400)
        let date = Self.civil(fromDays: days)
        let second = Int(seconds - days * 86_400)
        var text = ""
        text.reserveCapacity(24)
        text.append(digits: date.year, width: 4)
        text.append("-")
        text.append(digits: date.month, width: 2)
        text.append("-")
        text.append(digits: date.day, width: 2)
        text.append("T")
        text.append(digits: second / 3600, width: 2)
        text.append(":")
        text.append(digits: second / 60 % 60, width: 2)
        text.append(":")
        text.append(digits: second % 60, width: 2)
        text.append(".")
        text.append(digits: Int(milliseconds - seconds * 1000), width: 3)
        text.append("Z")
        return text
    }

    /// The proleptic Gregorian date of a day number (0 is 1970-01-01), by the algorithm of Howard Hinnant's
    /// `civil_from_days` (chrono-compatible low-level date algorithms).
    private static func civil(fromDays days: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = Int(days) + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
            month: month,
            day: dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        )
    }
}

extension Timestamp: Encodable {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rfc3339)
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

extension String {
    fileprivate mutating func append(digits value: Int, width: Int) {
        let text = String(value)
        for _ in text.utf8.count..<Swift.max(width, text.utf8.count) { append("0") }
        append(text)
    }
}
