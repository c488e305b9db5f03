import Foundation
import TestSupport
import Testing

/// What a mesh says of capsules and keys, from the command line.
@Suite struct MeshWordTests {
    private static func released(_ home: CommandLineHome, _ versions: String...) throws -> [String] {
        try versions.map { version in try #require(try home.json("pack", try home.writeApp(version: version), "--release")["digest"] as? String) }
    }

    @Test func channelsAndWithdrawals() throws {
        let home = try CommandLineHome("channels"), digests = try Self.released(home, "1.0.0", "1.1.0")
        let set = try home.json("channel", "set", "note@stable", "note@1.0.0")
        #expect(set["digest"] as? String == digests[0] && set["ver"] as? Int == 1 && set["epoch"] as? Int == 0)
        #expect(try home.json("inspect", "note@stable")["digest"] as? String == digests[0])
        #expect(try home.run("channel", "set", "note@stable", "note@1.1.0").output.contains("(0.2) by fact sha256:"))
        let rows = try home.list("ls", "--mesh")
        #expect(rows.map { ($0["channels"] as? [String]) ?? [] } == [[], ["stable"]])
        // Why: the root's grant to this node, then the release.
        let because = try #require(rows.first?["because"] as? [String]), shown = try home.json("catalog", "show")
        let facts = try #require(shown["list"] as? [[String: Any]])
        #expect(because.map { id in facts.first { $0["fact"] as? String == id }?["kind"] as? String } == ["grant", "release"])
        #expect(try home.run("ls", "--mesh").output.contains("here stable"))

        #expect(try home.json("inspect", "note@stable")["digest"] as? String == digests[1])
        // Withdrawn: neither by name nor by channel, whatever it says.
        let gone = try home.run("withdraw", "note@1.1.0", "--reason", "loses notes", "--security")
        #expect(gone.succeeded && gone.output.contains("withdrew \(digests[1]) from note"))
        let channel = try home.run("inspect", "note@stable")
        #expect(channel.status == 65 && channel.error.contains("[withdrawn]") && channel.error.contains("loses notes"))
        #expect(try home.json("inspect", "note")["digest"] as? String == digests[0])
        #expect(try home.run("channel").output.contains("withdrawn"))
        #expect(try home.run("channel", "set", "note@stable", digests[1]).error.contains("[withdrawn]"))
        #expect(try home.run("catalog").output.contains("(security)"))

        // Wrong input.
        for (arguments, status, code) in [
            (["channel", "set", "note", "note@1.0.0"], Int32(64), "params_invalid"), (["channel", "set", "note@2.0", "note@1.0.0"], 64, "reference_invalid"),
            (["channel", "set", "note@stable", "nobody"], 69, "reference_unknown"), (["channel", "set", "note@stable", "note@1.0.0", "--new-epoch"], 77, "not_granted"),
            (["channel", "set", "other@stable", "note@1.0.0"], 69, "release_not_found"), (["inspect", "note@beta"], 69, "channel_unknown"),
            (["withdraw", "nobody", "--reason", "x"], 69, "reference_unknown"), (["channel", "set", "note@stable", "note@1.0.0", "--valid-days", "0"], 64, "params_invalid"),
        ] {
            let result = try Shell.run(Shell.capsule, arguments, environment: ["CAPSULE_HOME": home.path])
            #expect(result.status == status && result.error.contains("[\(code)]"), "\(arguments): \(result.status) \(result.error)")
        }
        // A root opens a new epoch.
        #expect(try home.json("channel", "set", "note@stable", "note@1.0.0", "--new-epoch", "--key", "root")["epoch"] as? Int == 1)
        #expect(try home.json("inspect", "note@stable")["digest"] as? String == digests[0])
        let verified = try home.json("catalog", "verify")
        #expect(verified["ok"] as? Bool == true && (verified["remarks"] as? [String])?.isEmpty == true)
    }

    @Test func keysRotateAndTheRootLeaves() throws {
        let home = try CommandLineHome("rotate"), digests = try Self.released(home, "1.0.0")
        func node() throws -> String { try #require(try home.list("keys", "list").first { $0["name"] as? String == "node" }?["id"] as? String) }
        let old = try node(), rotated = try home.json("keys", "rotate"), new = try node()
        #expect(rotated["old"] as? String == old && rotated["id"] as? String == new && rotated["fact"] != nil && old != new)
        let status = try home.json("status")
        #expect(status["nodeId"] as? String == rotated["id"] as? String)
        // What the old key released stays; the new one may do what it could.
        #expect(try home.json("inspect", "note")["digest"] as? String == digests[0])
        _ = try Self.released(home, "1.1.0")
        #expect(try home.list("ls", "--mesh").count == 2)
        let keys = try #require(try home.json("catalog", "show")["keys"] as? [[String: Any]])
        #expect(keys.first { $0["id"] as? String == old }?["state"] as? String == "succeeded")

        // A root changes by a charter, and everything it said goes on.
        let root = try home.json("keys", "rotate", "root")
        #expect(root["charter"] != nil && root["fact"] == nil)
        let shown = try #require(try home.json("catalog", "show")["charter"] as? [String: Any])
        #expect(shown["version"] as? Int == 2 && shown["roots"] as? [String] == [root["id"] as? String ?? ""])
        #expect(try home.list("ls", "--mesh").count == 2)
        _ = try Self.released(home, "1.2.0")
        #expect(try home.list("ls", "--mesh").count == 3)

        // Moved to a stick, the root is needed from there.
        try Shell.sh("mkdir '\(home.folder.path)/stick'")
        #expect(try home.run("keys", "move-root", home.path + "/keys").error.contains("[params_invalid]"))
        let moved = try #require(try home.json("keys", "move-root", home.folder.path + "/stick")["path"] as? String)
        #expect(FileManager.default.fileExists(atPath: moved) && !FileManager.default.fileExists(atPath: home.path + "/keys/root.key"))
        #expect(try home.run("keys", "move-root", home.folder.path + "/stick").error.contains("[key_unknown]"))
        #expect(try home.run("channel", "set", "note@stable", "note@1.2.0", "--new-epoch", "--key", "root").error.contains("[key_unknown]"))
        #expect(try home.json("channel", "set", "note@stable", "note@1.2.0", "--new-epoch", "--key", moved)["epoch"] as? Int == 1)
        #expect(try home.json("catalog", "verify")["ok"] as? Bool == true)
    }

    @Test func aRevokedKeySaysNothingMore() throws {
        let home = try CommandLineHome("revoke")
        _ = try Self.released(home, "1.0.0")
        try #require(try home.run("keys", "new", "alice").succeeded)
        try #require(try home.run("keys", "trust", home.path + "/keys/alice.pub", "--role", "publisher", "--scope", "note").succeeded)
        let second = try #require(try home.json("pack", try home.writeApp(version: "1.1.0"), "--release", "--key", "alice")["fact"] as? String)
        _ = try home.json("pack", try home.writeApp(version: "9.0.0"), "--release", "--key", "alice")
        let alice = try #require(try home.list("keys", "list").first { $0["name"] as? String == "alice" }?["id"] as? String)
        #expect(try home.run("keys", "revoke", "0123", "--reason", "x").error.contains("[member_unknown]"))
        #expect(try home.run("keys", "revoke", alice, "--reason", "x", "--keep", String(repeating: "0", count: 64)).error.contains("[fact_not_found]"))
        let revoked = try home.run("keys", "revoke", String(alice.prefix(12)), "--reason", "laptop stolen", "--keep", second)
        #expect(revoked.succeeded && revoked.output.contains(String(second.suffix(64))), "\(revoked.error)")
        #expect(try home.list("ls", "--mesh").compactMap { $0["version"] as? String } == ["1.0.0", "1.1.0"])
        let refused = try home.run("release", "note@1.0.0", "--key", "alice")
        #expect(refused.status == 77 && refused.error.contains("[not_granted]"))
        #expect(try home.run("catalog", "show", "--author", alice).output.contains("does not count"))
    }

    @Test func factsTravelInAFile() throws {
        let home = try CommandLineHome("facts"), other = try CommandLineHome("facts-other")
        _ = try Self.released(home, "1.0.0")
        let file = home.folder.path + "/mesh.facts"
        let written = try home.json("catalog", "export", file)
        // A copy of the home that is older than the file.
        try #require(try Shell.sh("cp -a '\(home.path)' '\(other.path)'").succeeded)
        _ = try Self.released(home, "1.1.0")
        try #require(try home.run("keys", "rotate", "root").succeeded)
        let newer = try home.json("catalog", "export", file)
        #expect((newer["facts"] as? Int ?? 0) > (written["facts"] as? Int ?? 0))
        let taken = try other.json("catalog", "import", file)
        #expect(taken["facts"] as? Int == 1 && taken["refused"] as? Int == 0 && taken["root"] as? String == newer["root"] as? String)
        #expect((try other.json("catalog", "show")["charter"] as? [String: Any])?["version"] as? Int == 2)
        #expect(try other.json("catalog", "import", file)["facts"] as? Int == 0)
        // Damaged, foreign, cut off.
        let stranger = try CommandLineHome("facts-stranger")
        try #require(try stranger.run("init").succeeded)
        #expect(try stranger.run("catalog", "import", file).error.contains("[fact_foreign]"))
        for change in ["head -c 100", "head -c -1", "tail -c +2"] {
            try #require(try Shell.sh("\(change) '\(file)' > '\(file).bad'").succeeded)
            let result = try other.run("catalog", "import", file + ".bad")
            #expect(result.status == 65 && result.error.contains("[fact_file_invalid]"), "\(change): \(result.error)")
        }
        #expect(try other.json("catalog", "verify")["ok"] as? Bool == true)
    }
}
