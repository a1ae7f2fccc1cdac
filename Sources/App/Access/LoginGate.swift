import Crypto
import Domain
import FoundationEssentials
import Hummingbird
import Realtime
import Synchronization

/// Delays guesses of passwords and locks nobody out. Guesses wait in lines, one for each account and address: what
/// somebody does from elsewhere delays nobody. A browser that somebody has logged in from before has a line of its own,
/// so that not even a colleague behind the same address can hold it up (OWASP, "Device cookies").
final class LoginGate: Sendable {
    /// Five guesses are free; from then on one every two seconds, and none waits longer than ten.
    private static let rate = Rate(count: 5, per: .seconds(10))
    private static let longestWait = Duration.seconds(10)
    /// Guesses of one address that are being checked at once: each takes its time on the one thread for that.
    private static let atOnce = 4
    private static let devicePrefix = "rxd_"

    private let rates: RateLimiter
    private let isOn: Bool
    private let deviceKeys: [SymmetricKey]
    private let checking = Mutex<[String: Int]>([:])

    init(rates: RateLimiter, isOn: Bool, secrets: [String]) {
        self.rates = rates
        self.isOn = isOn
        deviceKeys = secrets.map { SymmetricKey(data: Data("device:\($0)".utf8)) }
    }

    /// Runs a check of a password when its turn has come.
    /// - Parameters:
    ///   - account: the address that somebody tries to log in with, whether there is such an operator or not.
    ///   - device: what the browser was given when somebody logged in from it.
    /// - Returns: what the check returns; after `true` the line is empty.
    /// - Throws: 429 with `login_delayed` where the line is too long.
    func guess(
        _ account: String, device: String?, _ context: ChatContext, _ check: () async throws -> Bool
    ) async throws -> Bool {
        let account = account.lowercased()
        let who = device.flatMap { self.known($0, by: account) } ?? "address:\(context.network)"
        let key = LimitKey(.passwords, of: "\(who) \(account)")
        if isOn {
            switch await rates.take([Charge(key: key, rate: Self.rate, maximumWait: Self.longestWait)]) {
            case .allowed(let wait, _): if wait > .zero { try await Task.sleep(for: wait) }
            case .refused(let after, let standing):
                throw Problem.rateLimited(after, standing, code: "login_delayed")
            }
        }
        guard begin(who) else { throw Problem.rateLimited(.seconds(1), nil, code: "login_delayed") }
        defer { end(who) }
        let isRight = try await check()
        if isRight && isOn { await rates.clear(key) }
        return isRight
    }

    private func begin(_ who: String) -> Bool {
        checking.withLock { checking in
            guard checking[who, default: 0] < Self.atOnce else { return false }
            checking[who, default: 0] += 1
            return true
        }
    }

    private func end(_ who: String) {
        checking.withLock { checking in
            checking[who] = checking[who].flatMap { $0 > 1 ? $0 - 1 : nil }
        }
    }

    // MARK: Devices

    /// What a browser is given when somebody logs in from it.
    func newDevice(for account: String) -> String {
        let id = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        return Self.devicePrefix + (id + proof(id, account.lowercased(), deviceKeys[0])).base64URL
    }

    private func known(_ device: String, by account: String) -> String? {
        guard device.hasPrefix(Self.devicePrefix), device.utf8.count < 100,
            let bytes = [UInt8](base64URL: device.dropFirst(Self.devicePrefix.count)), bytes.count == 48
        else { return nil }
        let id = Array(bytes.prefix(16))
        guard deviceKeys.contains(where: { proof(id, account, $0).isEqualInConstantTime(to: Array(bytes[16...])) })
        else { return nil }
        return "device:\(id.hexadecimal)"
    }

    private func proof(_ id: [UInt8], _ account: String, _ key: SymmetricKey) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Data(id + Array(account.utf8)), using: key))
    }
}
