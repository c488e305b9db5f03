import Foundation
import TestSupport
import Testing

/// Bytes that went bad on the disk: found, told, never given out, and mended from whoever has them.
@Suite struct FsckTests {
    static func packed(_ name: String) throws -> (home: CommandLineHome, app: String, caps: String, packs: [String]) {
        let home = try CommandLineHome(name)
        let app = try home.writeApp()
        try Shell.sh("head -c 900000 /dev/urandom > \(app)/noise && seq 1 90000 > \(app)/numbers && mkdir \(app)/many && for i in $(seq 1 60); do echo file $i > \(app)/many/$i; done")
        let caps = home.folder.path + "/note.caps"
        try #require(try home.run("pack", app, "-o", caps, "--release").succeeded)
        try #require(try home.run("build", "note").succeeded)
        let folder = home.path + "/capsules/packs"
        return (home, app, caps, try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { folder + "/" + $0 })
    }

    static func flip(_ path: String, at offset: Int) throws {
        let handle = try #require(FileHandle(forUpdatingAtPath: path))
        try handle.seek(toOffset: UInt64(offset))
        let byte = try #require(try handle.read(upToCount: 1)?.first)
        try handle.seek(toOffset: UInt64(offset))
        try handle.write(contentsOf: Data([byte ^ 0x41]))
        try handle.close()
    }

    static func size(_ path: String) throws -> Int { try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) }

    @Test func aSoundStoreIsSaidToBeSound() throws {
        let (home, _, _, packs) = try Self.packed("sound")
        for arguments in [[], ["--read"], ["--repair"], ["--rebuild", "--read"]] {
            let result = try Shell.run(Shell.capsule, ["--json", "fsck"] + arguments, environment: ["CAPSULE_HOME": home.path])
            #expect(result.status == 0, "\(arguments): \(result.output)\(result.error)")
            let report = try result.json()
            #expect(report["ok"] as? Bool == true && report["bad"] as? Int == 0 && report["packs"] as? Int == packs.count, "\(report)")
        }
        #expect(try home.run("verify", "note").status == 0)
        #expect(try home.run("fsck", "x.caps").status == 64)
    }

    /// A byte anywhere in a pack, its table and the padding of its frames included.
    @Test(arguments: 0..<12) func aByteAnywhereInAPack(_ round: Int) throws {
        let (home, app, caps, packs) = try Self.packed("rot-\(round)")
        let pack = try #require(packs.max { ((try? Self.size($0)) ?? 0) < ((try? Self.size($1)) ?? 0) })
        let size = try Self.size(pack)
        let offset = round < 9 ? size * round / 9 + 11 : [size - 1, size - 40, size - 3000][round - 9]
        try Self.flip(pack, at: offset)
        let found = try home.run("--json", "fsck", "--read")
        #expect(found.status == 65, "byte \(offset) of \(size): \(found.output)\(found.error)")
        // Without a source the rest is mended, and what is lost is named.
        let tried = try home.run("--json", "fsck", "--repair")
        let affected = try tried.json()["affected"] as? [String] ?? []
        #expect(tried.status == (affected.isEmpty ? 0 : 65))
        if !affected.isEmpty { #expect(try home.run("unpack", "note", home.folder.path + "/out").status != 0) }
        // With one, all of it.
        let mended = try home.run("--json", "fsck", "--repair", caps)
        #expect(mended.status == 0, "byte \(offset) of \(size): \(mended.output)\(mended.error)")
        #expect(try home.run("fsck", "--rebuild", "--read").status == 0)
        #expect(try home.run("verify", "note").status == 0)
        #expect(try home.run("unpack", "note", home.folder.path + "/whole").succeeded)
        #expect(try Shell.sh("diff -r -x capsule.json \(app) \(home.folder.path)/whole").succeeded)
    }

    @Test func anIndexThatIsNone() throws {
        let (home, _, _, _) = try Self.packed("index")
        let index = home.path + "/capsules/index.sqlite"
        try Shell.sh("rm -f \(index)-wal \(index)-shm; head -c 20000 /dev/urandom > \(index)")
        let damaged = try home.run("--json", "verify", "note")
        #expect(damaged.status == 65)
        #expect(try BadInputTests.error(damaged).code == "store_index_damaged")
        #expect(try BadInputTests.error(damaged).hint.contains("fsck --rebuild"))
        #expect(try home.run("fsck", "--rebuild", "--read").status == 0)
        #expect(try home.run("verify", "note").status == 0)
        #expect(try home.json("build", "note")["cached"] as? Bool == true)
    }

    @Test func lostChunksComeFromAPeer() throws {
        let (source, _, _, _) = try Self.packed("peer"), home = try CommandLineHome("lost")
        let node = try RunningNode(source)
        let port = try #require(node.ready["meshPort"])
        try home.run("init")
        _ = try home.json("join", input: try #require(try source.json("invite")["invitation"] as? String) + "\n")
        try home.run("peers", "add", "127.0.0.1:\(port)")
        _ = try home.json("pull", "note")
        let packs = home.path + "/capsules/packs"
        for pack in try FileManager.default.contentsOfDirectory(atPath: packs) { try Self.flip(packs + "/" + pack, at: Self.size(packs + "/" + pack) / 3) }
        #expect(try home.run("fsck", "--read").status == 65)
        let mended = try home.run("--json", "fsck", "--repair")
        #expect(mended.status == 0, "\(mended.output)\(mended.error)")
        #expect(try home.run("verify", "note").status == 0)
        #expect(node.stop() == 0)
    }

    @Test func aNodeKeepsItsIndex() throws {
        let (home, _, _, _) = try Self.packed("busy")
        let node = try RunningNode(home)
        #expect(try home.run("--json", "fsck", "--read").status == 0)
        let refused = try home.run("--json", "fsck", "--rebuild")
        #expect(refused.status == 75)
        #expect(try BadInputTests.error(refused).code == "home_in_use")
        #expect(node.stop() == 0)
    }
}
