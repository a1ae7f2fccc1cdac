import Domain
import Foundation
import Testing

/// Every state × every command × every kind of actor × every circumstance, against the table.
@Suite struct HandoffModelTests {
    private static let now = Timestamp(microseconds: 1_000_000_000)
    private static let ann = Message.Author(id: .init(1), name: "Ann")
    private static let bob = Message.Author(id: .init(2), name: "Bob")
    private static let eve = Message.Author(id: .init(3), name: "Eve")

    private static func desk(
        _ person: Message.Author, _ role: Operator.Role = .operator, isPresent: Bool = true, hasRoom: Bool = true
    ) -> Desk {
        Desk(person: person, role: role, isPresent: isPresent, hasRoom: hasRoom)
    }

    private static let desks = [ann, bob].flatMap { person in
        Operator.Role.allCases.flatMap { role in
            [(true, true), (false, true), (true, false)].map { desk(person, role, isPresent: $0, hasRoom: $1) }
        }
    }

    private static let actors: [HandoffActor] =
        [.visitor, .assistant, .detector, .clock] + desks.map { .operator($0) }

    private static let commands: [HandoffCommand] =
        [
            .request(id: UUID(), reason: .visitor), .request(id: nil, reason: .visitor), .takeOver, .release, .cancel,
            .expire, .loseOperator, .idle, .reset,
        ]
        + [eve, ann].flatMap { who in
            [(true, true), (false, true), (true, false)].map {
                .transfer(to: desk(who, isPresent: $0, hasRoom: $1))
            }
        }

    private static let handoffs: [Handoff] = Handoff.Status.allCases.map { status in
        Handoff(
            status: status, epoch: 5, assignee: status == .active ? ann : nil,
            requestedAt: status == .none ? nil : Timestamp(microseconds: 1),
            deadline: status == .requested ? now : nil, requestID: status == .none ? nil : UUID())
    }

    private static let scenes: [HandoffMachine.Scene] = [true, false].flatMap { isOpen in
        [true, false].flatMap { isLost in
            [true, false].map { isIdle in
                HandoffMachine.Scene(
                    now: now, isOpen: isOpen, deadline: Timestamp(microseconds: 2_000_000_000),
                    isOperatorLost: isLost, isIdle: isIdle)
            }
        }
    }

    private static func decide(
        _ handoff: Handoff, _ command: HandoffCommand, _ actor: HandoffActor, _ scene: HandoffMachine.Scene
    ) -> Result<HandoffMachine.Step, HandoffRefusal> {
        do {
            return .success(try HandoffMachine(handoff, in: scene).decide(command, by: actor))
        } catch {
            return .failure(error)
        }
    }

    private func each(
        _ body: (
            Handoff, HandoffCommand, HandoffActor, HandoffMachine.Scene, Result<HandoffMachine.Step, HandoffRefusal>
        )
            -> Void
    ) {
        for handoff in Self.handoffs {
            for command in Self.commands {
                for actor in Self.actors {
                    for scene in Self.scenes {
                        body(handoff, command, actor, scene, Self.decide(handoff, command, actor, scene))
                    }
                }
            }
        }
    }

    @Test func `what moves, moves as the table says, by one epoch, and says what it did`() {
        var moves = 0
        each { handoff, command, actor, scene, result in
            guard case .success(.moved(let move)) = result else { return }
            moves += 1
            #expect(HandoffTable.mayTry(command.name, actor))
            #expect(move.to.status == HandoffTable.target(of: command.name, from: handoff.status))
            #expect(move.from == handoff && move.to.epoch == handoff.epoch + 1)
            #expect((move.to.status == .active) == (move.to.assignee != nil))
            #expect((move.to.status == .requested) == (move.to.deadline != nil))
            #expect(scene.isOpen || actor == .clock || command == .reset)
            #expect((move.notice == nil) == (command == .reset))
            #expect(move.event != nil || command == .reset)
        }
        #expect(moves > 500)
    }

    @Test func `what is refused names why and only what would be allowed`() {
        each { handoff, command, actor, scene, result in
            guard case .failure(let refusal) = result else { return }
            for name in refusal.allowed {
                #expect(HandoffTable.mayTry(name, actor))
                #expect(HandoffTable.target(of: name, from: handoff.status) != nil)
            }
            switch refusal.why {
            case .notYours: #expect(!HandoffTable.mayTry(command.name, actor))
            case .dialogClosed: #expect(!scene.isOpen)
            case .wrongState(let status):
                #expect(status == handoff.status)
                #expect(HandoffTable.target(of: command.name, from: status) == nil)
            case .heldBy(let holder): #expect(holder == handoff.assignee && handoff.status == .active)
            case .offline, .full, .toOneself, .notYet: #expect(HandoffTable.mayTry(command.name, actor))
            }
        }
    }

    @Test func `in favourable circumstances everything that the table allows is done`() {
        let scene = HandoffMachine.Scene(
            now: Self.now, isOpen: true, deadline: Timestamp(microseconds: 2_000_000_000), isOperatorLost: true,
            isIdle: true)
        let commands: [HandoffCommand] = [
            .request(id: nil, reason: .visitor), .takeOver, .transfer(to: Self.desk(Self.eve)), .release, .cancel,
            .expire, .loseOperator, .idle, .reset,
        ]
        #expect(Set(commands.map(\.name)) == Set(HandoffCommand.Name.allCases))
        let actors: [HandoffActor] = [
            .visitor, .assistant, .detector, .clock, .operator(Self.desk(Self.ann)),
            .operator(Self.desk(Self.bob)), .operator(Self.desk(Self.bob, .admin)),
        ]
        for handoff in Self.handoffs {
            for actor in actors {
                for command in commands {
                    let isAllowed = HandoffTable.allowed(in: handoff.status, to: actor, handoff: handoff)
                        .contains(command.name)
                    let result = Self.decide(handoff, command, actor, scene)
                    if case .success = result {
                        #expect(isAllowed, "\(command.name) by \(actor) in \(handoff.status)")
                    } else {
                        #expect(!isAllowed, "\(command.name) by \(actor) in \(handoff.status): \(result)")
                    }
                }
            }
        }
    }

    @Test func `who takes over speaks only if they are there, have room, and nobody has it`() {
        let requested = Self.handoffs[1]
        let active = Self.handoffs[2]
        let scene = Self.scenes[0]
        func why(_ handoff: Handoff, _ desk: Desk) -> HandoffRefusal.Why? {
            if case .failure(let refusal) = Self.decide(handoff, .takeOver, .operator(desk), scene) {
                refusal.why
            } else {
                nil
            }
        }
        #expect(why(requested, Self.desk(Self.bob)) == nil)
        #expect(why(requested, Self.desk(Self.bob, isPresent: false)) == .offline)
        #expect(why(requested, Self.desk(Self.bob, hasRoom: false)) == .full)
        #expect(why(active, Self.desk(Self.bob, .owner)) == .heldBy(Self.ann))
        // Again by the same: also when all their places are taken, by this dialog for one.
        #expect(
            Self.decide(active, .takeOver, .operator(Self.desk(Self.ann, hasRoom: false)), scene)
                == .success(.unchanged))
    }

    @Test func `who lost their operator comes first, and who asks twice keeps their place`() throws {
        var active = Self.handoffs[2]
        active.requestedAt = Timestamp(microseconds: 77)
        let scene = Self.scenes[0]
        guard case .moved(let lost) = try HandoffMachine(active, in: scene).decide(.loseOperator, by: .clock) else {
            Issue.record("an operator who is gone is lost")
            return
        }
        #expect(lost.to.requestedAt == Timestamp(microseconds: 77) && lost.to.reason == .operatorOffline)
        let again = try HandoffMachine(lost.to, in: scene).decide(.request(id: UUID(), reason: .visitor), by: .visitor)
        #expect(again == .unchanged)
    }

    @Test func `a request that was granted and handed back is no new request`() throws {
        let scene = Self.scenes[0]
        let id = UUID()
        let handed = Handoff(status: .released, epoch: 9, requestID: id)
        let again = try HandoffMachine(handed, in: scene).decide(.request(id: id, reason: .visitor), by: .visitor)
        #expect(again == .unchanged)
        let other = try HandoffMachine(handed, in: scene).decide(.request(id: UUID(), reason: .visitor), by: .visitor)
        #expect(other != .unchanged)
    }

    @Test func `every notice has its words in every language`() {
        let texts = HandoffNotice.allCases.flatMap { notice in Assistant.Locale.allCases.map(notice.text) }
        #expect(Set(texts).count == texts.count && texts.allSatisfy { $0.count > 5 })
    }
}
