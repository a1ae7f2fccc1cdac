import Crypto
import Domain
import FoundationEssentials

/// A script that Redis runs as one step. It returns an array of integers.
struct RedisScript: Sendable {
    private let text: String
    /// How Redis knows it, once it has seen it.
    private let digest: String

    init(_ text: String) {
        self.text = text
        digest = Insecure.SHA1.hash(data: Data(text.utf8)).hexadecimal
    }

    /// - Parameter whole: with the text, which Redis keeps then.
    func command(keys: [String], arguments: [String], whole: Bool) -> RedisCommand {
        let head = whole ? ["EVAL", text] : ["EVALSHA", digest]
        return RedisCommand(head + ["\(keys.count)"] + keys + arguments)
    }
}

// Times are Redis' own, the same for all nodes. Lua's numbers are doubles: microseconds since 1970 are exact in them, but
// only `%.0f` writes them whole.

extension RedisScript {
    /// As `Buckets.take`. For each key its charge's increment and ceiling; returns each bucket's level before.
    static let take = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local function keep(key, level)
          redis.call('SET', key, string.format('%.0f', now + level), 'PX', math.ceil(level / 1000))
        end
        local levels, after, refused = {}, {}, false
        for i, key in ipairs(KEYS) do
          local increment, ceiling = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
          local level = after[key]
          if not level then
            level = math.max(0, (redis.call('GET', key) or now) - now)
            -- The rate was lowered since, or the clock set back: nobody is held for longer than a full bucket.
            if level > ceiling then
              level = ceiling
              keep(key, level)
            end
          end
          levels[i] = level
          after[key] = level + increment
          refused = refused or after[key] > ceiling
        end
        if not refused then
          for key, level in pairs(after) do keep(key, level) end
        end
        return levels
        """)

    /// As `Buckets.giveBack`. For each key its charge's increment.
    static let giveBack = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        for i, key in ipairs(KEYS) do
          local level = (redis.call('GET', key) or now) - ARGV[i] - now
          if level > 0 then
            redis.call('SET', key, string.format('%.0f', now + level), 'PX', math.ceil(level / 1000))
          else
            redis.call('DEL', key)
          end
        end
        return {}
        """)

    static let clear = RedisScript("redis.call('DEL', KEYS[1]) return {}")

    /// Takes a place under every key or under none. The validity in milliseconds, the place, and for each key its limit;
    /// returns the number of the key that is full, 0 where none is.
    static let enter = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        for i, key in ipairs(KEYS) do
          redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
          if redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) then return {i} end
        end
        for _, key in ipairs(KEYS) do
          redis.call('ZADD', key, now + ARGV[1], ARGV[2])
          redis.call('PEXPIRE', key, ARGV[1])
        end
        return {0}
        """)

    /// Places that are still taken. The validity in milliseconds, and for each key a place. One that Redis has forgotten
    /// is known to it again.
    static let renew = RedisScript(
        """
        local time = redis.call('TIME')
        local till = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
        for i, key in ipairs(KEYS) do
          redis.call('ZADD', key, till, ARGV[1 + i])
          redis.call('PEXPIRE', key, ARGV[1])
        end
        return {}
        """)

    /// For each key a place that is free again.
    static let leave = RedisScript(
        """
        for i, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[i]) end
        return {}
        """)
}
