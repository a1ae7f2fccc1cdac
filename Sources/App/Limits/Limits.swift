import Domain
import Hummingbird
import Realtime

/// What visitors and strangers may do in a time, on all nodes together.
struct Limits: Sendable {
    let settings: LimitSettings
    let rates: RateLimiter
    let streams: StreamCounts

    /// What an attempt has cost, so that it can be given back.
    struct Receipt: Sendable {
        fileprivate let charges: [Charge]
    }

    // MARK: Visitors

    /// - Throws: 429.
    func message(of caller: VisitorCaller, _ context: ChatContext) async throws -> Receipt {
        try await both(
            .visitorMessages, .addressMessages, caller.subject, context.network, settings.visitorMessages)
    }

    /// Whatever a visitor asks for, streams and messages too.
    func request(of pass: VisitorPass, _ context: ChatContext) async throws {
        guard let guest = pass.guest else { return try await lookUp(context) }
        _ = try await both(
            .visitorRequests, .addressRequests, pass.subject(guest), context.network, settings.visitorRequests)
    }

    /// Somebody asks for what is not remembered here.
    func lookUp(_ context: ChatContext) async throws {
        let count = settings.visitorRequests * settings.addressFactor
        _ = try await take([charge(.addressRequests, context.network, count)])
    }

    func newDialog(_ context: ChatContext) async throws -> Receipt {
        try await take([charge(.addressDialogs, context.network, settings.addressDialogs)])
    }

    /// An attempt that came to nothing: its neighbours behind the address shall not pay for it.
    func giveBack(_ receipt: Receipt) async {
        guard settings.isOn else { return }
        await rates.giveBack(receipt.charges)
    }

    // MARK: Strangers

    /// Something that costs a password's hashing.
    func attempt(_ context: ChatContext) async throws {
        _ = try await take([charge(.addressAttempts, context.network, settings.addressAttempts)])
    }

    // MARK: Streams

    enum Place: Sendable {
        case taken(@Sendable () -> Void)
        case full
    }

    func stream(of credential: StreamCredential, _ context: ChatContext) async -> Place {
        guard settings.isOn, case .visitor(let pass) = credential, let guest = pass.guest else { return .taken {} }
        let place = await streams.enter([
            StreamClaim(LimitKey(.visitorStreams, of: pass.subject(guest)), limit: settings.visitorStreams),
            StreamClaim(
                LimitKey(.addressStreams, of: context.network),
                limit: settings.visitorStreams * settings.addressFactor),
        ])
        guard let place else { return .full }
        return .taken { [streams] in streams.leave(place) }
    }

    // MARK: Taking

    private func both(
        _ visitor: LimitName, _ address: LimitName, _ subject: String, _ network: String, _ count: Int
    ) async throws -> Receipt {
        try await take([charge(visitor, subject, count), charge(address, network, count * settings.addressFactor)])
    }

    private func charge(_ name: LimitName, _ subject: String, _ count: Int) -> Charge {
        Charge(key: LimitKey(name, of: subject), rate: Rate(count: count, per: .seconds(60)))
    }

    private func take(_ charges: [Charge]) async throws -> Receipt {
        guard settings.isOn else { return Receipt(charges: []) }
        switch await rates.take(charges) {
        case .allowed: return Receipt(charges: charges)
        case .refused(let after, let standing): throw Problem.rateLimited(after, standing)
        }
    }
}

extension VisitorCaller {
    fileprivate var subject: String { pass.subject(guest.mark) }
}

extension VisitorPass {
    fileprivate func subject(_ guest: GuestMark) -> String { "\(assistantID):\(guest.text)" }
}

extension ChatContext {
    /// Whom an address counts as: itself, or for IPv6 its /64.
    var network: String { IPAddress(address)?.network ?? address }
}

extension Problem {
    static func rateLimited(_ after: Duration, _ standing: Standing?, code: String = "rate_limited") -> Problem {
        var problem = Problem(.tooManyRequests, code, "Too much in too short a time. Try again later.")
        problem.retryAfterSeconds = max(1, after.wholeSeconds)
        problem.standing = standing
        return problem
    }
}

extension Duration {
    /// Rounded up.
    var wholeSeconds: Int { Int(components.seconds) + (components.attoseconds > 0 ? 1 : 0) }
}
