/// One reply of Redis (Redis documentation, "Redis serialization protocol specification", version 2). Simple and bulk
/// strings are both text; what is not UTF-8 in them is replaced.
package enum RedisValue: Sendable, Equatable {
    /// A null bulk string or a null array: a missing key, a blocking read that found nothing.
    case null
    case integer(Int64)
    case text(String)
    case array([RedisValue])
    /// The answer to a command that was refused. Redis may quote the command's arguments in it: log ``errorCode``.
    case error(String)

    package var integer: Int64? {
        if case .integer(let value) = self { value } else { nil }
    }

    package var text: String? {
        if case .text(let value) = self { value } else { nil }
    }

    package var array: [RedisValue]? {
        if case .array(let values) = self { values } else { nil }
    }

    /// The error's first word, e.g. `OOM`, `READONLY`, `NOAUTH`.
    package var errorCode: String? {
        guard case .error(let message) = self else { return nil }
        return String(message.prefix { $0 != " " }.prefix(64))
    }
}
