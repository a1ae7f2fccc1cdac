import CLibcrypto
import Domain
import NIOPosix
import Synchronization

/// Passwords as scrypt hashes (RFC 7914), by libcrypto. The parameters stand in the hash, so that they can rise.
struct Passwords: Sendable {
    enum Failure: Error {
        /// Too many are being hashed already.
        case busy
        case unusableHash
    }

    /// 2^15 · 8 · 128 B = 32 MiB and about 80 ms a password.
    private static let logN: UInt64 = 15
    private static let blockSize: UInt64 = 8
    private static let parallelization: UInt64 = 1
    private static let keyLength = 32

    /// Passwords that may wait for their turn: about five seconds' worth.
    private static let queueLimit = 64

    /// Hashing is on a thread of its own: it may cost logins time, never streams.
    private let pool: NIOThreadPool
    private let waiting = Waiting()

    private final class Waiting: Sendable {
        let count = Atomic(0)
    }

    init(pool: NIOThreadPool) {
        self.pool = pool
    }

    /// - Returns: `scrypt$<log2 N>$<r>$<p>$<salt>$<key>`, salt and key in hexadecimal.
    func hash(_ password: String) async throws -> String {
        let salt = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        let key = try await derive(password, salt: salt, logN: Self.logN, Self.blockSize, Self.parallelization)
        return "scrypt$\(Self.logN)$\(Self.blockSize)$\(Self.parallelization)$\(salt.hexadecimal)$\(key.hexadecimal)"
    }

    func verify(_ password: String, against hash: String) async throws -> Bool {
        let parts = hash.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == "scrypt", let logN = UInt64(parts[1]), logN < 24,
            let blockSize = UInt64(parts[2]), let parallelization = UInt64(parts[3]),
            let salt = [UInt8](hexadecimal: parts[4]), let key = [UInt8](hexadecimal: parts[5])
        else { throw Failure.unusableHash }
        let derived = try await derive(password, salt: salt, logN: logN, blockSize, parallelization)
        return derived.isEqualInConstantTime(to: key)
    }

    /// Whether the hash was made with less than what is asked for today.
    static func isOutdated(_ hash: String) -> Bool {
        let parts = hash.split(separator: "$").dropFirst().prefix(3).map { UInt64($0) ?? 0 }
        return parts.count < 3 || parts[0] < logN || parts[1] < blockSize || parts[2] < parallelization
    }

    /// Costs what a check costs, for an address that nobody has: the time must not tell.
    func pretend(_ password: String) async throws {
        _ = try await derive(
            password, salt: [UInt8](repeating: 0, count: 16), logN: Self.logN, Self.blockSize, Self.parallelization)
    }

    private func derive(
        _ password: String, salt: [UInt8], logN: UInt64, _ blockSize: UInt64, _ parallelization: UInt64
    ) async throws -> [UInt8] {
        guard waiting.count.wrappingAdd(1, ordering: .relaxed).oldValue < Self.queueLimit else {
            waiting.count.wrappingSubtract(1, ordering: .relaxed)
            throw Failure.busy
        }
        defer { waiting.count.wrappingSubtract(1, ordering: .relaxed) }
        let secret = Array(password.utf8)
        return try await pool.runIfActive {
            var key = [UInt8](repeating: 0, count: Self.keyLength)
            let done = secret.withUnsafeBytes { secret in
                EVP_PBE_scrypt(
                    secret.bindMemory(to: CChar.self).baseAddress, secret.count, salt, salt.count, 1 << logN,
                    blockSize, parallelization, 256 * 1024 * 1024, &key, key.count)
            }
            guard done == 1 else { throw Failure.unusableHash }
            return key
        }
    }
}

extension [UInt8] {
    init?(hexadecimal text: some StringProtocol) {
        let digits = text.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count.isMultiple(of: 2), digits.allSatisfy({ $0 != nil }) else { return nil }
        self = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0]! << 4 | digits[$0 + 1]!) }
    }

    func isEqualInConstantTime(to other: [UInt8]) -> Bool {
        guard count == other.count else { return false }
        return zip(self, other).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
