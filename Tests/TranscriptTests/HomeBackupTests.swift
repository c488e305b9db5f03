import Foundation
import TestSupport
import Testing

/// A home as one sealed file and back, as a person does it.
@Suite struct HomeBackupTests {
    static let passphrase = "correct horse\n"

    /// A home with a released capsule, a written peer, a token; quick to make.
    static func makeHome() throws -> (home: CommandLineHome, file: String) {
        let home = try CommandLineHome("backup")
        try home.run("pack", try home.writeApp(), "--release")
        try home.run("peers", "add", "127.0.0.1:9")
        return (home, home.folder.path + "/home.oshb")
    }

    /// Names, kinds, modes, owners, times in milliseconds, targets.
    static func tree(_ path: String) throws -> String {
        try Shell.sh("find . -printf '%P %y %m %U %G %T@ %l\\n' | sed -E 's/( [0-9]+[.][0-9]{3})[0-9]+ /\\1 /' | LC_ALL=C sort", directory: path).output
    }

    @Test func aRunningNodeComesBackElsewhere() throws {
        let home = try CommandLineHome("backup"), other = try CommandLineHome("restored")
        let node = try RunningNode(home), file = home.folder.path + "/studio.oshb"
        for app in ["hello-site", "guestbook"] { try #require(try home.run("pack", Shell.repository + "/capsules/" + app, "--release").succeeded) }
        try #require(try home.run("deploy", "hello-site", "--env", "staging").succeeded)
        let deployed = try home.run("deploy", "guestbook", "--env", "dev")
        try #require(deployed.succeeded, "\(deployed.error)")
        let token = try #require(try home.json("token", "new", "--scope", "read")["token"] as? String)
        try #require(try home.run("keys", "new", "alice", "--passphrase-stdin", input: "another\n").succeeded)
        try Shell.sh("""
            cd '\(home.path)/deployments/guestbook/dev/data' && echo entry >> entries && mkdir -m 750 folder && echo odd > "folder/$(printf 'n\\377me')"
            chmod 640 folder/* && ln -s /nowhere link && : > folder/.tmp-1-1 && touch -d '2001-02-03 04:05:06.789' folder/.tmp-1-1 folder
            """)
        let made = try home.json("home", "backup", file, "--passphrase-stdin", input: Self.passphrase)
        #expect(made["path"] as? String == file)
        #expect((made["files"] as? Int ?? 0) > 15 && (made["bytes"] as? Int ?? 0) > 1000)
        #expect((made["skipped"] as? [Any])?.isEmpty == true, "\(made)")
        #expect(try Shell.sh("stat -c %a studio.oshb", directory: home.folder.path).trimmed == "600")
        #expect(try home.run("events").output.contains("home.backup"))
        // Only a digest without it is kept of the request that carried the passphrase.
        let asked = #"{"action":"home.backup","params":{"passphrase":"correct horse","path":"\#(file)"}}"#
        let digest = try #require(try Shell.sh("printf %s '\(asked)' | sha256sum").output.split(separator: " ").first)
        #expect(try Shell.sh("grep -rl 'correct horse' state; grep -rl \(digest) state; true", directory: home.path).output.isEmpty)
        let before = try home.json("status"), keys = try home.run("keys", "list").output, releases = try home.list("ls", "--mesh")
        #expect(node.stop() == 0)

        let restored = try other.json("home", "restore", file, "--passphrase-stdin", input: Self.passphrase)
        #expect(restored["home"] as? String == other.path)
        for key in ["nodeId", "mesh"] { #expect(restored[key] as? String == before[key] as? String, "\(key)") }
        for key in ["files", "bytes"] { #expect(restored[key] as? Int == made[key] as? Int, "\(key)") }
        #expect((restored["missing"] as? [String])?.count == 2)
        #expect(try Shell.run("diff", ["-r", home.path + "/keys", other.path + "/keys"]).succeeded)
        #expect(try Self.tree(home.path + "/deployments/guestbook/dev/data") == Self.tree(other.path + "/deployments/guestbook/dev/data"))
        #expect(try Shell.run("diff", ["-r", "--no-dereference", home.path + "/deployments/guestbook/dev/data", other.path + "/deployments/guestbook/dev/data"]).succeeded)
        #expect(try Shell.run("diff", ["-r", home.path + "/deployments/hello-site", other.path + "/deployments/hello-site"]).succeeded)

        let after = try other.json("status")
        for key in ["nodeId", "mesh", "root", "name"] { #expect(after[key] as? String == before[key] as? String, "\(key)") }
        #expect(after["facts"] as? Int == before["facts"] as? Int)
        #expect(after["deployments"] as? Int == 2 && after["capsules"] as? Int == 0)
        #expect(try other.run("keys", "list").output == keys)
        #expect(try other.list("ls", "--mesh").map { $0["digest"] as? String } == releases.map { $0["digest"] as? String } && releases.count == 2)
        #expect(try other.run("events").output.contains("home.restored"))
        // The home was in use without its packs; they are welcome all the same.
        try Shell.sh("cp -a '\(home.path)/capsules/packs' '\(other.path)/capsules/'")
        #expect(try other.list("ls").count == 2)
        for app in ["hello-site", "guestbook"] { #expect(try other.run("verify", app).status == 0, "\(app)") }

        let again = try RunningNode(other)
        let (control, front) = (try #require(again.ready["controlPort"]), try #require(again.ready["frontPort"]))
        func get(_ url: String, _ header: String) throws -> String { try Shell.run("curl", ["-s", "-w", "%{http_code}", "-H", header, url]).output }
        #expect(try get("http://127.0.0.1:\(control)/oai/tools", "Authorization: Bearer \(token)").hasSuffix("200"))
        #expect(try get("http://127.0.0.1:\(front)/", "Host: hello-site.staging.localhost").contains("Hello from a capsule"))
        // Its process is started beside the node; until it answers, the front says 502 or 503.
        let answer = try Shell.run("curl", ["-s", "--retry", "100", "--retry-delay", "1", "--retry-max-time", "60", "--retry-all-errors", "-f", "-w", "%{http_code}",
                                            "-H", "Host: guestbook.dev.localhost", "http://127.0.0.1:\(front)/health"]).output
        #expect(answer.hasSuffix("200"), "\(answer)")
        #expect(again.stop() == 0)
    }

    /// The other order: packs first, before anything opens the restored home. And words for a person.
    @Test func aHomeAtRestComesBack() throws {
        let (home, file) = try Self.makeHome()
        let other = try CommandLineHome("restored")
        let made = try home.run("home", "backup", "home.oshb", "--passphrase-stdin", input: Self.passphrase)
        #expect(made.succeeded && made.output.contains(file) && made.error.contains("capsules/packs"), "\(made.output)\(made.error)")
        let restored = try other.run("home", "restore", file, "--passphrase-stdin", input: Self.passphrase)
        #expect(restored.succeeded && restored.output.contains(other.path), "\(restored.output)\(restored.error)")
        #expect(restored.error.contains("capsule pull") && restored.error.contains("capsule import") && restored.error.contains("do not run the old home"))
        try Shell.sh("mkdir -p '\(other.path)/capsules' && cp -a '\(home.path)/capsules/packs' '\(other.path)/capsules/'")
        #expect(try other.list("ls").map { $0["digest"] as? String } == home.list("ls").map { $0["digest"] as? String })
        #expect(try other.run("verify", "note").status == 0)
        #expect(try Shell.run("diff", ["-r", home.path + "/peers", other.path + "/peers"]).succeeded)
        #expect(try other.run("pack", try other.writeApp("second"), "--release").succeeded)
        // Nothing beside either.
        #expect(try Shell.sh("ls -A", directory: other.folder.path).output == "home\nsecond\n")
        #expect(try Shell.sh("ls -A", directory: home.folder.path).output == "home\nhome.oshb\nnote\n")
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] != nil, "SKIPPED: scripts/test installs the Python judges"))
    func anotherProgramOpensIt() throws {
        let (home, file) = try Self.makeHome()
        try Shell.sh("mkdir -p deployments/note/dev/data && head -c 200000 /dev/urandom > deployments/note/dev/data/$(printf 'a\\377b')", directory: home.path)
        try #require(try home.run("home", "backup", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
        let python = ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] ?? "python3"
        let judged = try Shell.run(python, [Shell.repository + "/Tests/Judges/backup.py", file, "correct horse"])
        try #require(judged.succeeded, "\(judged.error)")
        let entries = try #require(try JSONSerialization.jsonObject(with: Data(judged.output.utf8)) as? [[String: Any]])
        let sums = Dictionary(entries.compactMap { entry in (entry["path"] as? String).map { ($0, entry["sha256"] as? String ?? "") } }, uniquingKeysWith: { a, _ in a })
        for path in ["keys/node.key", "keys/root.key", "keys/charter.json", "state/node.json", "state/roots"] {
            #expect(try Shell.run("sha256sum", [home.path + "/" + path]).output.prefix(64) == sums[path] ?? "none", "\(path)")
        }
        #expect(sums["deployments/note/dev/data/a\u{ff}b"] != nil && sums["state/catalog.sqlite"] != nil)
        #expect(!sums.keys.contains { $0.hasPrefix("capsules/") || $0.contains(".tmp-") || $0.hasSuffix("-wal") || $0 == "state/lock" })
    }

    @Test func oneDamagedByteIsEnough() throws {
        let (home, file) = try Self.makeHome()
        try Shell.sh("mkdir -p deployments/note/dev/data && head -c 150000 /dev/urandom > deployments/note/dev/data/noise", directory: home.path)
        try #require(try home.run("home", "backup", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
        let good = try Data(contentsOf: URL(fileURLWithPath: file))
        let other = try CommandLineHome("damaged"), damaged = other.folder.path + "/damaged"
        var seed: UInt64 = 20_261_124
        print("seed \(seed), \(good.count) bytes")
        func random(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % bound
        }
        for round in 0..<20 {
            // Some in the header, most in what follows.
            let place = round < 4 ? random(125) : random(good.count)
            var bytes = good
            bytes[place] ^= UInt8(1 + random(255))
            try bytes.write(to: URL(fileURLWithPath: damaged))
            let result = try other.run("--json", "home", "restore", damaged, "--passphrase-stdin", input: Self.passphrase)
            #expect(result.status == 65, "byte \(place): \(result.output)")
            #expect(try BadInputTests.error(result).code == "backup_damaged", "byte \(place)")
            #expect(try Shell.sh("ls -A", directory: other.folder.path).output == "damaged\n", "byte \(place)")
        }
        try good.dropLast(1).write(to: URL(fileURLWithPath: damaged))
        #expect(try other.run("home", "restore", damaged, "--passphrase-stdin", input: Self.passphrase).status == 65)
        let wrong = try other.run("--json", "home", "restore", file, "--passphrase-stdin", input: "correct hors\n")
        #expect(wrong.status == 77)
        #expect(try BadInputTests.error(wrong).code == "passphrase_wrong")
        #expect(try Shell.sh("ls -A", directory: other.folder.path).output == "damaged\n")
        #expect(try other.run("home", "restore", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
    }

    @Test func whatCannotGoWellIsSaidAtOnce() throws {
        let (home, file) = try Self.makeHome()
        func refused(_ words: [String], input: String = Self.passphrase, _ status: Int32, _ code: String) throws {
            let result = try Shell.run(Shell.capsule, ["--json", "home"] + words, input: input, environment: ["CAPSULE_HOME": home.path], directory: home.folder.path)
            #expect(result.status == status, "\(words): \(result.output)\(result.error)")
            #expect(try BadInputTests.error(result).code == code, "\(words)")
            #expect(try !BadInputTests.error(result).hint.isEmpty, "\(words)")
        }
        for empty in ["", "\n"] { try refused(["backup", file, "--passphrase-stdin"], input: empty, 64, "input_missing") }
        try refused(["backup", file], 64, "input_missing")
        try refused(["backup", home.path + "/x.oshb", "--passphrase-stdin"], 64, "backup_in_home")
        try refused(["backup", "nowhere/x.oshb", "--passphrase-stdin"], 64, "file_not_found")
        #expect(try home.run("--json", "act", "home.backup", #"{"path": "\#(file)", "passphrase": ""}"#).status == 64)
        #expect(!FileManager.default.fileExists(atPath: file))
        try #require(try home.run("home", "backup", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
        let good = try Data(contentsOf: URL(fileURLWithPath: file))
        try refused(["backup", file, "--passphrase-stdin"], 73, "already_exists")
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == good)
        try refused(["restore", file, "--passphrase-stdin"], 73, "already_exists")
        try refused(["restore", file + "x", "--passphrase-stdin"], 64, "file_not_found")
        try refused(["restore", home.path, "--home", home.folder.path + "/new", "--passphrase-stdin"], 69, "input_output")
        try refused(["restore", home.folder.path + "/note/page.txt", "--home", home.folder.path + "/new", "--passphrase-stdin"], 65, "backup_damaged")
        try refused(["backup", file + "2", "--home", home.folder.path + "/new", "--passphrase-stdin"], 78, "home_missing")
        #expect(try Shell.sh("ls -A", directory: home.folder.path).output == "home\nhome.oshb\nnote\n")
    }

    /// At a terminal the passphrase of a new backup is asked for twice, and never shown.
    @Test func aPersonTypesItTwice() throws {
        let (home, file) = try Self.makeHome()
        func type(_ lines: [String], _ words: [String], home path: String) throws -> CommandResult {
            try Shell.run("python3", ["-c", """
                import os, pty, select, sys, time
                pid, fd = pty.fork()
                if pid == 0: os.execv(sys.argv[1], sys.argv[1:-1])
                seen = b''; lines = sys.argv[-1].split('|')
                while True:
                    try: more = os.read(fd, 4096)
                    except OSError: break
                    if not more: break
                    seen += more
                    if lines and (seen.endswith(b'oshb: ') or seen.endswith(b'more: ')): os.write(fd, lines.pop(0).encode() + b'\\n')
                sys.stdout.buffer.write(seen)
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                """, Shell.capsule, "home"] + words + [lines.joined(separator: "|")], environment: ["CAPSULE_HOME": path])
        }
        let differs = try type(["correct horse", "correct hors"], ["backup", file], home: home.path)
        #expect(differs.status == 64 && differs.output.contains("passphrase_differs"), "\(differs.output)")
        #expect(!FileManager.default.fileExists(atPath: file))
        let made = try type(["correct horse", "correct horse"], ["backup", file], home: home.path)
        #expect(made.status == 0, "\(made.output)")
        #expect(made.output.contains("once more: ") && !made.output.contains("correct horse"))
        let restored = try type(["correct horse"], ["restore", file], home: home.folder.path + "/again")
        #expect(restored.status == 0 && !restored.output.contains("once more") && !restored.output.contains("correct horse"), "\(restored.output)")
    }

    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting needs root"))
    func aFullDiskLeavesNothing() throws {
        let (home, file) = try Self.makeHome()
        try Shell.sh("mkdir -p deployments/note/dev/data && head -c 3000000 /dev/urandom > deployments/note/dev/data/noise", directory: home.path)
        try #require(try home.run("home", "backup", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
        let disk = home.folder.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        try #require(try Shell.run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).succeeded)
        defer { _ = try? Shell.run("umount", ["-l", disk]) }
        for words in [["home", "backup", disk + "/x"], ["--home", disk + "/home", "home", "restore", file]] {
            let result = try Shell.run(Shell.capsule, ["--json"] + words + ["--passphrase-stdin"], input: Self.passphrase, environment: ["CAPSULE_HOME": home.path])
            #expect(result.status == 73, "\(result.output)")
            #expect(try BadInputTests.error(result).code == "disk_full")
            #expect(try Shell.sh("ls -A", directory: disk).output.isEmpty)
        }
        // A mount point itself cannot become a home, and says so before anything is read.
        let mounted = try Shell.run(Shell.capsule, ["--json", "--home", disk, "home", "restore", file, "--passphrase-stdin"], input: Self.passphrase)
        #expect(mounted.status == 73)
        #expect(try BadInputTests.error(mounted).message.contains("mount point"))
    }

    /// File systems such as NFS do not know a rename that never replaces.
    @Test(.enabled(if: Shell.has("strace"), "SKIPPED: strace is not installed"))
    func aDiskWithoutExclusiveRename() throws {
        let (home, file) = try Self.makeHome()
        let result = try Shell.run("strace", ["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL", Shell.capsule, "home", "backup", file, "--passphrase-stdin"],
                                   input: Self.passphrase, environment: ["CAPSULE_HOME": home.path])
        #expect(result.succeeded, "\(result.error)")
        #expect(try Shell.sh("ls -A", directory: home.folder.path).output == "home\nhome.oshb\nnote\n")
    }

    /// kill −9 in the middle: no home, and the next try clears away what was begun.
    @Test(.enabled(if: Shell.has("strace"), "SKIPPED: strace is not installed"))
    func aKilledRestoreIsNoHome() throws {
        let (home, file) = try Self.makeHome()
        try #require(try home.run("home", "backup", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
        let other = try CommandLineHome("killed")
        var kills = 0
        for (call, n) in [("mkdirat", 1), ("mkdirat", 3), ("write", 2), ("write", 6), ("fchmod", 3), ("syncfs", 1), ("rename", 1)] {
            let result = try Shell.run("strace", ["-f", "-qq", "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(call):signal=KILL:when=\(n)", Shell.capsule, "home", "restore", file, "--passphrase-stdin"],
                                       input: Self.passphrase, environment: ["CAPSULE_HOME": other.path])
            if result.status == 0 { try Shell.sh("rm -rf \(other.path)"); continue }
            kills += 1
            #expect(!FileManager.default.fileExists(atPath: other.path), "\(call) \(n)")
            // Closed to everybody else as long as it is being filled.
            if call != "syncfs", call != "rename" { #expect(try Shell.sh("stat -c %a home.restoring-*", directory: other.folder.path).trimmed == "700", "\(call) \(n)") }
        }
        #expect(kills >= 5)
        try #require(try other.run("home", "restore", file, "--passphrase-stdin", input: Self.passphrase).succeeded)
        #expect(try Shell.sh("ls -A", directory: other.folder.path).output == "home\n")
        #expect(try other.json("status")["nodeId"] as? String == home.json("status")["nodeId"] as? String)
    }
}
