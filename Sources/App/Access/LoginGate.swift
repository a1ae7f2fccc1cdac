import Crypto
import Domain
import FoundationEssentials
import Hummingbird
import Persistence
import Realtime

/// Delays guesses of passwords and locks nobody out. Guesses wait in lines, one for each account and address: what
/// somebody does from elsewhere delays nobody. A browser that somebody has logged in from before has a line of its own,
/// so that not even a colleague behind the same address can hold it up (OWASP, "Device cookies").
final class LoginGate: Sendable {
    /// Five guesses are free; from then on one every two seconds, and none waits longer than six: with the line at the
    /// check itself it must be answered before a proxy gives up.
    private static let rate = Rate(count: 5, per: .seconds(10))
    private static let longestWait = Duration.seconds(6)
    private static let devicePrefix = "rxd_"

    private let rates: RateLimiter
    private let isOn: Bool
    private let deviceKeys: [SymmetricKey]
    private let line = PasswordLine()

    init(rates: RateLimiter, isOn: Bool, secrets: [String]) {
        self.rates = rates
        self.isOn = isOn
        deviceKeys = secrets.map { SymmetricKey(data: Data("device:\($0)".utf8)) }
    }

    /// Runs a check of a password when its turn has come.
    /// - Parameters:
    ///   - account: whose password it would be, by one name however it was spelt.
    ///   - device: what the browser was given when somebody logged in from it.
    ///   - isKnown: for somebody who is logged in.
    /// - Returns: what the check returns; after `true` the line is empty.
    /// - Throws: 429 with `login_delayed` where the line is too long.
    func guess(
        _ account: String, device: String?, _ context: ChatContext, isKnown: Bool = false,
        _ check: () async throws -> Bool
    ) async throws -> Bool {
        let account = account.lowercased()
        let browser = device.flatMap { known($0, by: account) }
        let who = browser ?? "address:\(context.network)"
        let key = LimitKey(.passwords, of: "\(who) \(account)")
        if isOn {
            switch await rates.take([Charge(key: key, rate: Self.rate, maximumWait: Self.longestWait)]) {
            case .allowed(let wait, _): if wait > .zero { try await Task.sleep(for: wait) }
            case .refused(let after, let standing):
                throw Problem.rateLimited(after, standing, code: "login_delayed")
            }
        }
        guard await line.enter(isKnown ? account : who, isKnown: isKnown || browser != nil) else {
            throw Problem.rateLimited(.seconds(1), nil, code: "login_delayed")
        }
        defer { line.leave() }
        let isRight = try await check()
        if isRight && isOn { await rates.clear(key) }
        return isRight
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

extension AccountStore.Credentials {
    /// One name for the account, however the address was spelt.
    var gateName: String { "operator:\(operatorID)" }
}
