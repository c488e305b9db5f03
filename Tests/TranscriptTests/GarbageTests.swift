import Foundation
import TestSupport
import Testing

/// `rm` and `gc`: space comes back, and nothing that somebody needs goes.
@Suite struct GarbageTests {
    @Test func whatWasRemovedGivesItsSpaceBack() throws {
        let home = try CommandLineHome("gc"), folder = home.folder
        let app = try home.writeApp()
        try #require(try Shell.sh("head -c 3000000 /dev/urandom > '\(app)/data.bin'").succeeded)
        let first = try #require(try home.json("pack", app)["digest"] as? String)
        try #require(try Shell.sh("head -c 2000000 /dev/urandom > '\(app)/data.bin'").succeeded)
        _ = try home.writeApp(version: "2.0.0")
        let second = try #require(try home.json("pack", app)["digest"] as? String)
        let dry = try home.json("gc", "--dry-run")
        #expect(dry["freed"] as? Int == 0)

        #expect(try home.run("rm", "nobody@1.0.0").status == 69)
        // All or nothing.
        #expect(try home.run("rm", "note@1.0.0", "nobody").status == 69)
        #expect(try home.list("ls").count == 2)
        try #require(try home.run("rm", "note@1.0.0").succeeded)
        #expect(try home.list("ls").count == 1)
        let plan = try home.json("gc", "--dry-run"), done = try home.json("gc")
        #expect((plan["freed"] as? Int ?? 0) > 2_900_000 && (done["freed"] as? Int ?? 0) > 2_900_000)
        #expect(try home.json("fsck", "--read")["ok"] as? Bool == true)
        #expect(try home.run("verify", second).succeeded)
        #expect(try home.run("verify", first).status == 69)
        #expect(try home.run("fsck", "--rebuild").succeeded)
        #expect(try home.list("ls").map { $0["digest"] as? String } == [second])
        try #require(try home.run("unpack", second, folder.path + "/out").succeeded)
    }

    /// Before the disk is full, without being asked: at 85 %, and not below.
    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting a small disk needs root"), arguments: [true, false])
    func aNodeCollectsBeforeItsDiskIsFull(isFilling: Bool) throws {
        let home = try CommandLineHome("filling")
        try #require(try Shell.sh("mkdir -p '\(home.path)' && mount -t tmpfs -o size=40m tmpfs '\(home.path)'").succeeded)
        defer { _ = try? Shell.sh("umount -l '\(home.path)'") }
        let app = try home.writeApp()
        try #require(try Shell.sh("head -c 10000000 /dev/urandom > '\(app)/data.bin'").succeeded)
        try #require(try home.run("pack", app).succeeded)
        try #require(try home.run("rm", "note").succeeded)
        func packs() throws -> Int { Int(try Shell.sh("cat '\(home.path)'/capsules/packs/*.pack 2>/dev/null | wc -c").trimmed) ?? 0 }
        #expect(try packs() > 10_000_000)
        try #require(try Shell.sh("head -c \(isFilling ? 26_000_000 : 10_000_000) /dev/zero > '\(home.path)/filler'").succeeded)
        let node = try RunningNode(home)
        defer { node.kill() }
        // It looks once as it starts. That it did is told by an event; that it need not, by none after many other answers.
        var asked = 0
        func hasCollected() throws -> Bool { String(decoding: try home.folder.read("home/state/events.jsonl"), as: UTF8.self).contains("\"gc.finished\"") }
        while try !hasCollected(), asked < (isFilling ? 1000 : 20) {
            try #require(try home.run("status").succeeded)
            asked += 1
        }
        #expect(try hasCollected() == isFilling)
        #expect(try (packs() > 10_000_000) == !isFilling)
    }

    @Test(.enabled(if: Shell.has("bwrap"), "SKIPPED: bubblewrap is not installed"))
    func whatIsDeployedStays() throws {
        let home = try CommandLineHome("gc-deployed")
        let app = try home.writeApp()
        try #require(try home.run("pack", app).succeeded)
        let node = try RunningNode(home)
        defer { node.kill() }
        let run = try home.json("deploy", "note", "--env", "dev")
        let output = try #require(run["output"] as? String)
        let refused = try home.run("rm", "note@1.0.0")
        #expect(refused.status == 64 && refused.error.contains("[capsule_in_use]"), "\(refused.error)")
        // A build that is neither deployed nor of a capsule that is here.
        _ = try home.writeApp("other")
        try #require(try home.run("pack", home.folder.path + "/other").succeeded)
        let built = try #require(try home.json("build", "other")["output"] as? String)
        try #require(try home.run("rm", "other").succeeded)
        let done = try home.json("gc", "--all")
        #expect(done["outputs"] as? [String] == [built], "\(done)")
        #expect(try home.run("unpack", built, home.folder.path + "/gone").status == 69)
        try #require(try home.run("unpack", output, home.folder.path + "/out").succeeded)
        #expect(try home.json("fsck", "--read")["ok"] as? Bool == true)
        // Built again from the same capsule, it is not taken for known.
        try #require(try home.run("pack", home.folder.path + "/other").succeeded)
        let again = try home.json("build", "other")
        #expect(again["output"] as? String == built && again["cached"] as? Bool == false)
    }
}
