import Deployments
import Glibc
import MeshCore
import Testing

/// A deployments folder on a disk of 2 MiB.
@Suite(.enabled(if: geteuid() == 0, "SKIPPED: mounting a small disk needs root")) struct FullDiskTests {
    private func run(_ words: String...) throws {
        let none = try Descriptor.memoryFile([])
        guard try ChildProcess(words, descriptors: [none.number]).wait() == .exited(0) else { throw Failed(description: "\(words)") }
    }

    /// What could not be written leaves nothing behind, and the next entry follows the last good one.
    @Test func aJournalOutlivesAFullDisk() throws {
        let disk = "/tmp/deployments-disk-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectory(disk)
        defer { try? Files.removeTree(disk) }
        try run("/bin/mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk)
        defer { umount2(disk, Int32(MNT_DETACH)) }
        let journal = try Journal.open(disk + "/journal").journal
        var record = DeploymentRecord()
        var error: MeshError?
        for number in 0..<1000 where error == nil {
            let entry = JournalEntry.wanted(number % 2 == 0 ? .stopped : .running)
            error = failure { () throws(MeshError) in try journal.append(entry) }
            if error == nil { try record.apply(entry) }
        }
        #expect(error?.code == .diskFull)
        #expect(try Journal.open(disk + "/journal").record == record)
        try run("/bin/mount", "-o", "remount,size=1m", disk)
        for _ in 0..<3 {
            let entry = JournalEntry.wanted(record.wanted == .running ? .stopped : .running)
            try journal.append(entry)
            try record.apply(entry)
            #expect(try Journal.open(disk + "/journal").record == record)
        }
        try Files.remove(disk + "/journal")
        #expect(failure { () throws(MeshError) in try journal.append(.wanted(.stopped)) }?.code == .deploymentJournalCorrupt)
    }

    @Test func nothingIsHalfDone() async throws {
        let place = try Workplace()
        let disk = place.home.deployments
        try Files.makeDirectory(disk)
        try run("/bin/mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk)
        defer { umount2(disk, Int32(MNT_DETACH)) }
        let small = try place.site("1.0.0"), next = try place.site("1.1.0")
        let big = try place.site("2.0.0", files: ["big": String(repeating: "x", count: 3 << 20)])
        try await place.serving { node in
            _ = try await node.manager.deploy(small, app: nil, environment: .dev)
            // Too large to be restored.
            let first = await failure { () async throws(MeshError) in try await node.manager.deploy(big, app: nil, environment: .dev) }
            #expect(first?.code == .diskFull, "\(first?.message ?? "it was deployed")")
            #expect(try Files.names(in: disk + "/shop/dev/generations") == ["1"])
            #expect(try await node.get().text == "site 1.0.0\n")

            // Too full for a line of the journal.
            do {
                let filler = try OpenFile(creating: disk + "/filler")
                var size = 1 << 16
                while size > 0 { do { try filler.write([UInt8](repeating: 1, count: size)) } catch { size /= 2 } }
            }
            let second = await failure { () async throws(MeshError) in try await node.manager.deploy(next, app: nil, environment: .dev) }
            #expect(second?.code == .diskFull, "\(second?.message ?? "it was deployed")")
            #expect(try await node.get().text == "site 1.0.0\n")
            #expect(try await node.manager.list().map(\.generation) == [1])

            try Files.remove(disk + "/filler")
            let run = try await node.manager.deploy(next, app: nil, environment: .dev)
            #expect(run.state == "committed")
            #expect(try await node.get().text == "site 1.1.0\n")
        }
        try await place.serving { node in
            let page = try await node.get()
            #expect(page.text == "site 1.1.0\n")
        }
    }
}
