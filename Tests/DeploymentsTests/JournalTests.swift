import Deployments
import Glibc
import MeshCore
import Testing

@Suite struct JournalTests {
    private static let capsule = Digest.of([1]), output = Digest.of([2])

    private func pending(_ generation: Int, _ kind: DeployMachine.Kind = .deploy, previous: Int? = nil) -> DeploymentRecord.Pending {
        .init(run: "run-\(generation)", kind: kind, capsule: Self.capsule, generation: generation, previous: previous, output: kind == .deploy ? nil : Self.output, steps: [])
    }

    /// What a successful run leaves in the journal.
    private func committed(_ generation: Int, _ kind: DeployMachine.Kind = .deploy, previous: Int? = nil) -> [JournalEntry] {
        [.begun(pending(generation, kind, previous: previous)), .step(.stage, output: kind == .deploy ? Self.output : nil), .step(.switchOver, output: nil), .ended(.committed, nil, at: 7)]
    }

    private func record(_ entries: [JournalEntry]) throws -> DeploymentRecord {
        var record = DeploymentRecord()
        for entry in entries { try record.apply(entry) }
        return record
    }

    private func withFile(_ body: (String) throws -> Void) throws {
        let folder = "/tmp/deployments-journal-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectory(folder)
        defer { try? Files.removeTree(folder) }
        try body(folder + "/journal")
    }

    private var all: [JournalEntry] {
        let failed = Failure(MeshError(.unhealthy, "not well", hint: "mend it", details: ["line “one”", "two\u{0}"]))
        return committed(1) + committed(2, previous: 1) + [.begun(pending(3, previous: 2)), .step(.verify, output: nil), .ended(.failed, failed, at: 9), .wanted(.stopped)]
            + committed(2, .start) + committed(1, .rollback, previous: 2)
    }

    @Test func whatIsWrittenIsRead() throws {
        try withFile { path in
            let (journal, empty) = try Journal.open(path)
            #expect(empty == DeploymentRecord())
            for entry in all { try journal.append(entry) }
            #expect(try Journal.open(path).record == record(all))
            #expect(try JournalEntry(JournalEntry.snapshot(record(all)).json) == .snapshot(record(all)))
            for entry in all { #expect(try JournalEntry(entry.json) == entry) }
        }
    }

    /// Cut at every byte: the whole lines count, the rest is dropped, and writing goes on behind them.
    @Test func aTornTailIsDropped() throws {
        try withFile { path in
            let journal = try Journal.open(path).journal
            var ends: [Int] = [0]
            for entry in all.prefix(5) {
                try journal.append(entry)
                ends.append(try Files.read(path, bytesMax: 1 << 20).count)
            }
            let bytes = try Files.read(path, bytesMax: 1 << 20)
            for cut in 0...bytes.count {
                try Files.remove(path)
                try OpenFile(creating: path).write(Array(bytes[..<cut]))
                let whole = ends.count { $0 > 0 && $0 <= cut }
                let (journal, record) = try Journal.open(path)
                #expect(try record == self.record(Array(all.prefix(whole))), "cut at \(cut)")
                try journal.append(all[whole])
                #expect(try Journal.open(path).record == self.record(Array(all.prefix(whole + 1))), "after a cut at \(cut)")
            }
        }
    }

    /// A file system may have given the tail its length and not its bytes.
    @Test(arguments: [[UInt8](repeating: 0, count: 300), Array("{\"is\":{\"entry\":\"wanted\",\"wanted\":\"stopped\"},\"sum\":\"0000000000000000\"}\n".utf8)])
    func rubbishAtTheEndIsDropped(_ rubbish: [UInt8]) throws {
        try withFile { path in
            let journal = try Journal.open(path).journal
            try journal.append(all[0])
            try OpenFile(appending: path).write(rubbish)
            #expect(try Journal.open(path).record == record([all[0]]))
        }
    }

    @Test func damageInTheMiddleIsAnError() throws {
        try withFile { path in
            let journal = try Journal.open(path).journal
            for entry in all.prefix(4) { try journal.append(entry) }
            let bytes = try Files.read(path, bytesMax: 1 << 20)
            let firstLine = try #require(bytes.firstIndex(of: 10))
            for place in stride(from: 0, to: firstLine, by: 3) {
                var damaged = bytes
                damaged[place] ^= 1
                try Files.remove(path)
                try OpenFile(creating: path).write(damaged)
                let error = failure { () throws(MeshError) in try Journal.open(path) }
                #expect(error?.code == .deploymentJournalCorrupt, "byte \(place)")
                #expect(error?.message.contains("line 1") == true && error?.hint.isEmpty == false)
            }
            // Whole lines in an order that cannot be.
            try Files.remove(path)
            let other = try Journal.open(path).journal
            try other.append(.begun(pending(1)))
            try other.append(.begun(pending(2)))
            #expect(failure { () throws(MeshError) in try Journal.open(path) }?.code == .deploymentJournalCorrupt)
            #expect(Journal.readable(path).pending?.generation == 1)
        }
    }

    @Test func aLongJournalBecomesOneLine() throws {
        try withFile { path in
            let (journal, _) = try Journal.open(path)
            var record = DeploymentRecord()
            var written = 0
            for _ in 0...Limits.deploymentJournalEntriesMax {
                let entry = JournalEntry.wanted(written % 2 == 0 ? .stopped : .running)
                try journal.append(entry)
                try record.apply(entry)
                try journal.compact(to: record)
                written += 1
            }
            #expect(try Files.read(path, bytesMax: 1 << 20).count { $0 == 10 } == 1)
            try journal.append(.wanted(.running))
            #expect(try Journal.open(path).record.wanted == .running)
        }
    }

    @Test func previousGenerationsAreKept() throws {
        var entries: [JournalEntry] = []
        for generation in 1...5 { entries += committed(generation, previous: generation > 1 ? generation - 1 : nil) }
        var record = try record(entries)
        #expect(record.generations.map(\.number) == [3, 4, 5] && record.current == 5 && record.rollbackTarget == 4 && record.last == 5)

        // Rolled back from: kept until the next deploy, never a target by itself.
        for entry in committed(4, .rollback, previous: 5) { try record.apply(entry) }
        #expect(record.current == 4 && record.generations.map(\.number) == [3, 4, 5] && record.generation(5)?.isBad == true && record.rollbackTarget == 3)
        for entry in committed(6, previous: 4) { try record.apply(entry) }
        #expect(record.generations.map(\.number) == [3, 4, 6] && record.rollbackTarget == 4)

        // A failed run changes nothing but the number that is used up.
        let before = record
        for entry: JournalEntry in [.begun(pending(7, previous: 6)), .step(.start, output: nil), .ended(.failed, nil, at: 1)] { try record.apply(entry) }
        #expect(record.generations == before.generations && record.current == 6 && record.last == 7 && record.lastEnded?.state == .failed)
    }
}
