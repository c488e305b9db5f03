import Builder
import MeshCore
import Synchronization
import Testing

@Suite struct BuildSlotsTests {
    @Test func noMoreRunAtOnceThanThereAreSlots() async throws {
        let slots = BuildSlots(3)
        let running = Running()
        try await withThrowingTaskGroup { group in
            for _ in 0..<100 {
                group.addTask {
                    try await slots.enter()
                    running.enter()
                    await Task.yield()
                    running.leave()
                    slots.leave()
                }
            }
            try await group.waitForAll()
        }
        #expect(running.most <= 3)
        #expect(running.now == 0)
    }

    @Test func whoGivesUpFreesItsPlace() async throws {
        let slots = BuildSlots(1)
        try await slots.enter()
        let waiting = Task { try await slots.enter() }
        waiting.cancel()
        let refused = await waiting.result
        #expect(throws: MeshError.self) { try refused.get() }
        slots.leave()
        // Would wait for ever if the one that gave up still held a place.
        try await slots.enter()
        slots.leave()
    }
}

private final class Running: Sendable {
    private let counts = Mutex((now: 0, most: 0))
    var now: Int { counts.withLock { $0.now } }
    var most: Int { counts.withLock { $0.most } }
    func enter() { counts.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) } }
    func leave() { counts.withLock { $0.now -= 1 } }
}
