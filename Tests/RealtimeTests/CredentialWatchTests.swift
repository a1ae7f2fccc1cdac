import Domain
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Realtime

@Suite struct CredentialWatchTests {
    private final class Check: CredentialCheck {
        struct Away: Error {}

        private let state = Mutex<(ended: Set<StreamCredential>, isAway: Bool)>(([], false))
        func end(_ credential: StreamCredential) { state.withLock { _ = $0.ended.insert(credential) } }
        func setAway(_ isAway: Bool) { state.withLock { $0.isAway = isAway } }
        func ended(of credentials: Set<StreamCredential>) async throws -> Set<StreamCredential> {
            try state.withLock { state in
                guard !state.isAway else { throw Away() }
                return state.ended.intersection(credentials)
            }
        }
    }

    private func watch(_ hub: EventHub, _ check: Check) -> CredentialWatch {
        CredentialWatch(hub: hub, check: check, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test func `the streams that stand on what has ended end with bye expired, and no other`() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let log = MemoryLog()
        let hub = EventHub(loops: loops, settings: StreamSettings())
        let opener = StreamOpener(hub: hub, log: log, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let check = Check()
        let gone = StreamCredential.session(UUID())
        let stays = StreamCredential.session(UUID())
        var clients: [(TestClient, StreamCredential)] = []
        for (number, loop) in loops.makeIterator().enumerated() {
            for credential in [gone, stays] {
                let stream = StreamKey.account(.init(1))
                let client = try await TestClient.seated(on: loop, in: stream, standingOn: credential)
                await opener.open(stream, requested: nil, seat: client.seat, on: loop)
                clients.append((client, credential))
                #expect(number < 2)
            }
        }
        let watch = watch(hub, check)
        try await watch.look()
        for (client, _) in clients { #expect(try await !client.isFinished()) }
        check.setAway(true)
        check.end(gone)
        await #expect(throws: Check.Away.self) { try await watch.look() }
        for (client, _) in clients { #expect(try await !client.isFinished()) }
        check.setAway(false)
        try await watch.look()
        for (client, credential) in clients {
            // Through the loop's queue, behind what the watch put there.
            #expect(try await client.isFinished() == (credential == gone))
            let byes = try await client.events().filter { $0.name == "bye" }
            #expect(byes.count == (credential == gone ? 1 : 0))
            if let bye = byes.first { #expect(bye.data.contains("expired")) }
        }
        try await loops.shutdownGracefully()
    }

    @Test func `a stream that still reads what it missed ends too`() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let hub = EventHub(loops: loops, settings: StreamSettings())
        let check = Check()
        let gone = StreamCredential.session(UUID())
        let loop = loops.next()
        let client = try await TestClient.seated(on: loop, in: .account(.init(1)), standingOn: gone)
        let seat = client.seat
        try await loop.submit { hub.table(of: loop).watch(seat.value) }.get()
        check.end(gone)
        try await watch(hub, check).look()
        #expect(try await client.isFinished())
        try await loops.shutdownGracefully()
    }
}
