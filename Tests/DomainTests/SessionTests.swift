import Testing

@testable import Domain

@Suite struct RefreshVerdictTests {
    @Test(
        arguments: [
            (5, 5, 0, .rotate), (5, 5, 99_999, .rotate), (4, 5, 0, .again), (4, 5, 30, .again), (4, 5, 31, .reused),
            (3, 5, 0, .reused), (0, 5, 1, .reused), (6, 5, 0, .unknown),
        ] as [(Int64, Int64, Int, RefreshVerdict)])
    func `a refresh token is good once, and for half a minute more`(
        _ shown: Int64, _ newest: Int64, _ seconds: Int, _ verdict: RefreshVerdict
    ) {
        #expect(RefreshVerdict(shown: shown, newest: newest, age: .seconds(seconds)) == verdict)
    }
}

@Suite struct RoleTests {
    @Test func `a role covers itself and what is below it`() {
        let table: [(Operator.Role, [Operator.Role])] = [
            (.owner, [.owner, .admin, .operator]), (.admin, [.admin, .operator]), (.operator, [.operator]),
        ]
        for (role, covered) in table {
            #expect(Operator.Role.allCases.filter { role.covers($0) } == covered)
        }
    }

    @Test func `only owners make owners and admins`() {
        let table: [(Operator.Role, [Operator.Role])] = [
            (.owner, [.owner, .admin, .operator]), (.admin, [.operator]), (.operator, []),
        ]
        for (role, managed) in table {
            #expect(Operator.Role.allCases.filter { role.mayManage($0) } == managed)
        }
    }
}
