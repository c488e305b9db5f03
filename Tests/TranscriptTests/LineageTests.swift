import Foundation
import TestSupport
import Testing

/// Where a capsule comes from, what changed on the way, and what it is made of.
@Suite struct LineageTests {
    @Test func logFollowsParentsAndNamesThoseThatAreNotHere() throws {
        let home = try CommandLineHome("log"), other = try CommandLineHome("log-other")
        let app = try home.writeApp()
        let first = try #require(try home.json("pack", app)["digest"] as? String)
        _ = try home.writeApp(version: "1.1.0")
        let second = try #require(try home.json("pack", app, "--parent", "note@1.0.0")["digest"] as? String)
        _ = try home.writeApp(version: "1.2.0")
        let third = try #require(try home.json("pack", app, "--parent", second, "-o", home.folder.path + "/three.caps")["digest"] as? String)
        let rows = try #require(try home.json("log", "note")["capsules"] as? [[String: Any]])
        #expect(rows.map { $0["digest"] as? String } == [third, second, first])
        #expect(rows.map { $0["generation"] as? Int } == [0, 1, 2])
        #expect(try home.run("log", "note").output.contains("note@1.1.0"))

        try #require(try other.run("import", home.folder.path + "/three.caps").succeeded)
        let alone = try #require(try other.json("log", third)["capsules"] as? [[String: Any]])
        #expect(alone.map { $0["digest"] as? String } == [third, second] && alone.last?["here"] as? Bool == false)
        // A parent that nobody knows is a slip of the pen, not a lineage.
        #expect(try home.run("pack", app, "--parent", "nobody@1.0.0").status == 69)
    }

    @Test(.enabled(if: Shell.has("patch"), "SKIPPED: patch is not installed"))
    func whatDiffPrintsIsWhatPatchTakes() throws {
        let home = try CommandLineHome("diff"), folder = home.folder
        let app = try home.writeApp(files: ["src/a.txt": "one\ntwo\nthree\n", "src/gone.txt": "gone\n", "data.bin": "\u{0}old", "moved.txt": "the same text as before\n"])
        try #require(try home.run("pack", app).succeeded)
        _ = try home.writeApp(version: "2.0.0", files: ["src/a.txt": "one\n2\nthree\nfour", "src/new.txt": "new\n", "data.bin": "\u{0}newer"])
        try #require(try Shell.sh("cd '\(app)' && rm src/gone.txt && mv moved.txt src/moved.txt && chmod +x page.txt").succeeded)
        try #require(try home.run("pack", app, "-o", folder.path + "/two.caps").succeeded)
        try #require(try home.run("unpack", "note@1.0.0", folder.path + "/old").succeeded)
        try #require(try home.run("unpack", "note@2.0.0", folder.path + "/new").succeeded)

        let text = try home.run("diff", "note@1.0.0", folder.path + "/two.caps")
        try #require(text.succeeded, "\(text.error)")
        for line in ["content data.bin: binary, 4 B → 6 B", "renamed moved.txt → src/moved.txt", "mode page.txt: 644 → 755", "+four", "-gone", "-  \"version\": \"1.0.0\""] {
            #expect(text.output.contains(line), "\(line)\n\(text.output)")
        }
        try folder.write(text.output, to: "change.patch")
        let patched = try Shell.sh("cd '\(folder.path)/old' && patch -p1 < ../change.patch && cmp src/a.txt ../new/src/a.txt && cmp capsule.json ../new/capsule.json && cmp src/new.txt ../new/src/new.txt && [ ! -e src/gone.txt ]")
        #expect(patched.succeeded, "\(patched.output)\(patched.error)")

        let stat = try home.json("diff", "note@1.0.0", "note@2.0.0", "src", "--stat")
        let changes = try #require(stat["changes"] as? [[String: Any]])
        #expect(changes.map { $0["path"] as? String } == ["src/a.txt", "src/gone.txt", "src/moved.txt", "src/new.txt"])
        #expect(changes.allSatisfy { $0["unified"] == nil } && stat["addedLines"] as? Int == 4 - 1)
        #expect(try home.run("diff", "note@1.0.0", "note@1.0.0").output == "")
        let unknown = try home.run("diff", "note@1.0.0", "note@2.0.0", "nowhere")
        #expect(unknown.status == 64 && unknown.error.contains("[file_not_found]"))
    }

    @Test func anUnchangedFileIsNotReadAgain() throws {
        let home = try CommandLineHome("unchanged")
        let app = try home.writeApp(files: ["a.txt": "a\n", "b.txt": "b\n"])
        let first = try home.json("pack", app)
        #expect(first["filesRead"] as? Int == 3)
        // What changed within the last two seconds is always read; until then it is packed and read again.
        var packs = 0
        while try home.json("pack", app)["filesRead"] as? Int != 0, packs < 200 { packs += 1 }
        #expect(packs < 200)
        let again = try home.json("pack", app)
        #expect(again["filesRead"] as? Int == 0 && again["digest"] as? String == first["digest"] as? String)
        let paranoid = try home.json("pack", app, "--paranoid")
        #expect(paranoid["filesRead"] as? Int == 3 && paranoid["digest"] as? String == first["digest"] as? String)
        // The same size and modification time, but another content: the change time tells.
        try #require(try Shell.sh("touch -r b.txt ../when && echo B > b.txt && touch -r ../when b.txt", directory: app).succeeded)
        let changed = try home.json("pack", app)
        #expect(changed["filesRead"] as? Int == 1 && changed["digest"] as? String != first["digest"] as? String)
    }

    @Test func aLicenceThatNobodyKnowsIsRefused() throws {
        let home = try CommandLineHome("licence")
        func manifest(_ license: String) -> String {
            CommandLineHome.manifest("note", "1.0.0").replacing("\"run\":", with: "\"rights\": {\"license\": \"\(license)\"}, \"run\":")
        }
        let bad = try home.run("pack", try home.writeApp(manifest: manifest("Apache 2.0")))
        #expect(bad.status == 65 && bad.error.contains("[license_invalid]"), "\(bad.error)")
        try #require(try home.run("pack", try home.writeApp(manifest: manifest("(MIT OR Apache-2.0) AND LicenseRef-own"))).succeeded)
        #expect(try home.run("inspect", "note").output.contains("(MIT OR Apache-2.0) AND LicenseRef-own"))
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] != nil && Shell.has("jq"), "SKIPPED: scripts/test installs the Python judges, and jq"))
    func packWritesAnSBOMThatSPDXToolsAccept() throws {
        let python = ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] ?? ""
        let home = try CommandLineHome("sbom"), other = try CommandLineHome("sbom-other"), folder = home.folder.path
        let app = try home.writeApp(files: ["requirements.txt": "requests==2.31.0\n"])
        try #require(try home.run("pack", app, "-o", folder + "/x.caps").succeeded)
        // Again: the same document, not one more.
        try #require(try home.run("pack", app).succeeded)
        func types(_ home: CommandLineHome) throws -> [String] {
            try #require(try home.json("inspect", "note")["documents"] as? [[String: Any]]).compactMap { $0["type"] as? String }
        }
        #expect(try types(home).count { $0 == "https://spdx.dev/Document/v2.3" } == 1)
        try #require(try other.run("import", folder + "/x.caps").succeeded)
        #expect(try types(other).contains("https://spdx.dev/Document/v2.3"))
        // Out of the file with stock tools, as docs/sbom.md says it.
        let out = try Shell.sh("""
            set -e; cd '\(folder)'; mkdir layout; zstd -dcq x.caps | tar -x -C layout
            for f in layout/blobs/sha256/*; do
              jq -er 'select(.payloadType? == "application/vnd.in-toto+json") | .payload' "$f" 2>/dev/null | base64 -d |
                jq -e 'select(.predicateType == "https://spdx.dev/Document/v2.3") | .predicate' 2>/dev/null || true
            done > sbom.spdx.json
            grep -q 'pkg:pypi/requests@2.31.0' sbom.spdx.json
            '\(python)' '\(Shell.repository)/Tests/Judges/sbom.py' sbom.spdx.json
            """)
        #expect(out.succeeded, "\(out.output)\(out.error)")
    }
}
