import Actions
import Foundation
import MeshCore
import Synchronization
import TestSupport
import Testing

/// Time that stands still until it is told to go on.
final class HandClock: WallClock {
    private let time = Mutex<Milliseconds>(1_700_000_000_000)
    var now: Milliseconds { time.withLock { $0 } }
    func advance(_ milliseconds: Milliseconds) { time.withLock { $0 += milliseconds } }
}

@Suite struct StateFilesTests {
    let folder: TemporaryFolder
    let home: HomeLayout
    let clock = HandClock()

    init() throws {
        folder = try TemporaryFolder("state")
        home = HomeLayout(path: folder.path)
        try Files.makeDirectory(home.state)
    }

    func event(_ i: Int) -> NodeEvent { NodeEvent(source: "test", type: "counted", data: ["i": JSONValue(i)]) }

    @Test func eventsAreNumberedAcrossRestartsAndChained() throws {
        do {
            let log = try EventLog(home: home, clock: clock)
            for i in 1...3 { log.append(event(i)) }
        }
        let log = try EventLog(home: home, clock: clock)
        log.append(event(4))
        #expect(log.lastSeq == 4)
        #expect(log.events(after: 2)?.map(\.seq) == [3, 4])
        #expect(log.events(after: 4)?.isEmpty == true)
        #expect(log.events(after: 5) == nil, "the future is another log's")
        let lines = String(decoding: try folder.read("state/events.jsonl"), as: UTF8.self).split(separator: "\n").map(String.init)
        for (line, next) in zip(lines, lines.dropFirst()) {
            #expect(try JSONValue.parse(Array(next.utf8))["prev"]?.string == Digest.of(Array(line.utf8)).description)
        }
    }

    @Test func aTornLineIsDroppedAndNotContinued() throws {
        do {
            let log = try EventLog(home: home, clock: clock)
            for i in 1...3 { log.append(event(i)) }
        }
        let path = folder.path + "/state/events.jsonl"
        let whole = try folder.read("state/events.jsonl")
        try whole.dropLast(10).write(to: URL(fileURLWithPath: path))
        let log = try EventLog(home: home, clock: clock)
        #expect(log.lastSeq == 2)
        log.append(event(9))
        #expect(try EventLog.recent(in: home).map { $0.document["id"]?.string?.suffix(2) } == ["-1", "-2", "-3"])
    }

    @Test func theForgottenPastIsSaidToBeForgotten() throws {
        let log = try EventLog(home: home, clock: clock)
        for i in 1...6000 { log.append(event(i)) }
        #expect(log.events(after: 0) == nil)
        #expect(log.events(after: 5990)?.count == 10)
    }

    @Test func followersAreSignalled() async throws {
        let log = try EventLog(home: home, clock: clock)
        var signals = log.signals().makeAsyncIterator()
        log.append(event(1))
        #expect(await signals.next() != nil)
    }

    @Test func aRequestSentTwiceActsOnce() throws {
        let caller = Principal(name: "a", scopes: [.write]), body = Digest.of([1])
        let journal = try IdempotencyJournal(home: home, clock: clock)
        guard case .proceed = try journal.claim("k", of: caller, fingerprint: body) else { Issue.record("claimed before"); return }
        let busy = #expect(throws: MeshError.self) { try journal.claim("k", of: caller, fingerprint: body) }
        #expect(busy?.code.name == "request_in_flight")
        try journal.complete("k", of: caller, fingerprint: body, .init(status: 200, body: [7, 8]))
        // After a restart too, byte for byte.
        let again = try IdempotencyJournal(home: home, clock: clock)
        guard case .replay(let answer) = try again.claim("k", of: caller, fingerprint: body) else { Issue.record("not remembered"); return }
        #expect(answer == .init(status: 200, body: [7, 8]))
        let other = #expect(throws: MeshError.self) { try again.claim("k", of: caller, fingerprint: Digest.of([2])) }
        #expect(other?.code.name == "idempotency_key_reused")
        guard case .proceed = try again.claim("k", of: Principal(name: "b", scopes: []), fingerprint: body) else { Issue.record("another caller's key"); return }
        clock.advance(25 * 3600 * 1000)
        guard case .proceed = try IdempotencyJournal(home: home, clock: clock).claim("k", of: caller, fingerprint: Digest.of([2])) else { Issue.record("kept too long"); return }
    }

    @Test func whatACrashInterruptedRunsAgain() throws {
        let caller = Principal(name: "a", scopes: [.write])
        _ = try IdempotencyJournal(home: home, clock: clock).claim("k", of: caller, fingerprint: Digest.of([1]))
        guard case .proceed = try IdempotencyJournal(home: home, clock: clock).claim("k", of: caller, fingerprint: Digest.of([1])) else { Issue.record("stuck"); return }
    }

    @Test func tokensAreKeptAsHashesAndRevoked() throws {
        let store = try TokenStore(home: home, clock: clock)
        let (token, entry) = try store.create(name: "ci", scopes: [.read])
        #expect(store.principal(for: token)?.scopes == [.read])
        #expect(store.principal(for: token + "x") == nil)
        let text = String(decoding: try folder.read("state/tokens.json"), as: UTF8.self)
        #expect(!text.contains(token) && !text.contains(token.dropFirst(5)))
        let reopened = try TokenStore(home: home, clock: clock)
        #expect(reopened.principal(for: token)?.scopes == [.read])
        #expect(try reopened.revoke(id: entry.id))
        #expect(reopened.principal(for: token) == nil)
        #expect(try TokenStore(home: home, clock: clock).all.isEmpty)
    }
}
