import Foundation
import TestSupport
import Testing

/// What a person gets who gives the program something wrong: a code, a sentence, a hint, an exit status, and nothing half-done.
@Suite struct BadInputTests {
    static func error(_ result: CommandResult) throws -> (code: String, message: String, hint: String, details: [String]) {
        let error = try #require(try result.json()["error"] as? [String: Any], "\(result.output)\(result.error)")
        return (error["code"] as? String ?? "", error["message"] as? String ?? "", error["hint"] as? String ?? "", error["details"] as? [String] ?? [])
    }

    static let good = CommandLineHome.manifest("note", "1.0.0")

    @Test(arguments: [
        ("unknown field", good.replacing("\"run\"", with: "\"runn\""), "field_unknown", "/runn"),
        ("unknown nested field", good.replacing("\"static\": true", with: "\"static\": true, \"prot\": 1"), "field_unknown", "/run/prot"),
        ("bad semver", good.replacing("1.0.0", with: "1.0"), "version_invalid", "1.0"),
        ("id contradicts version", good.replacing("@1.0.0", with: "@1.0.1"), "version_contradicts_id", "1.0.1"),
        ("missing step", good.replacing("\"mkdir -p out\", \"cp page.txt out/index.html\"", with: ""), "step_missing", "/build/steps"),
        ("blank step", good.replacing("\"mkdir -p out\"", with: "\"  \""), "step_missing", "/build/steps/0"),
        ("not JSON", good + "}", "json_invalid", "line"),
    ])
    func manifest(name: String, text: String, code: String, mentioned: String) throws {
        let home = try CommandLineHome()
        let app = try home.writeApp(manifest: text)
        let result = try home.run("--json", "pack", app, "-o", home.folder.path + "/x.caps")
        let error = try Self.error(result)
        #expect(result.status == 65, "\(name): \(result.output)")
        #expect(error.code == code)
        #expect(error.message.contains(mentioned), "\(error.message)")
        #expect(!FileManager.default.fileExists(atPath: home.folder.path + "/x.caps"))
        #expect(try home.list("ls").isEmpty)
    }

    @Test func noManifest() throws {
        let home = try CommandLineHome()
        try home.folder.write("x", to: "empty/file")
        let result = try home.run("--json", "pack", home.folder.path + "/empty")
        let error = try Self.error(result)
        #expect(result.status == 64 || result.status == 65)
        #expect(error.message.contains("capsule.json"))
        #expect(!error.hint.isEmpty)
    }

    @Test func aFailingStepShowsItsLastLines() throws {
        let home = try CommandLineHome()
        let app = try home.writeApp(manifest: CommandLineHome.manifest("note", "1.0.0", steps: ["for i in $(seq 1 80); do echo line $i; done; exit 3"]))
        try home.run("pack", app)
        let result = try home.run("--json", "build", "note")
        let error = try Self.error(result)
        #expect(result.status == 65)
        #expect(error.code == "step_failed")
        #expect(error.details.filter { $0.contains("line ") }.count == 50)
        #expect(error.details.last?.contains("line 80") == true)
        #expect(error.message.contains("3"))
    }

    @Test func aBuildHasNoNetwork() throws {
        let home = try CommandLineHome()
        let app = try home.writeApp(manifest: CommandLineHome.manifest("note", "1.0.0", steps: ["mkdir out", "curl -sS http://127.0.0.1:9/ || getent hosts example.org || { echo Could not resolve host; exit 6; }"]))
        try home.run("pack", app)
        let result = try home.run("--json", "build", "note")
        let error = try Self.error(result)
        #expect(result.status == 65)
        #expect(error.code == "build_needs_network")
        #expect(error.hint.contains("network"))
    }

    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting needs root"))
    func noBubblewrap() throws {
        let home = try CommandLineHome()
        try home.run("pack", try home.writeApp())
        // Where the program is on this machine, and only for this command, there is something that cannot be started.
        let hidden = "mount --bind /dev/null \"$(command -v bwrap)\" && exec \"$0\" --json build note"
        let result = try Shell.run("unshare", ["--mount", "sh", "-c", hidden, Shell.capsule], environment: ["CAPSULE_HOME": home.path])
        #expect(result.status == 69)
        #expect(try Self.error(result).code == "sandbox_unavailable")
        #expect(try Self.error(result).hint.contains("bubblewrap"))
        #expect(try home.list("ls").count == 1)
        #expect(try home.run("build", "note").succeeded)
    }

    @Test func noBus() throws {
        let home = try CommandLineHome()
        let result = try home.run("--json", "doctor", environment: ["DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"])
        #expect(result.status == 69)
        let checks = try #require(try result.json()["checks"] as? [[String: Any]])
        let discovery = try #require(checks.first { $0["name"] as? String == "discovery" })
        #expect(discovery["ok"] as? Bool == false)
        #expect(discovery["code"] as? String == "dbus_unavailable")
        #expect((discovery["hint"] as? String)?.isEmpty == false)
        // The node itself runs on without: its written peers need no bus.
        let node = try RunningNode(home, arguments: [], environment: ["DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"])
        #expect(node.ready["meshPort"] ?? 0 > 0)
        #expect(node.stop() == 0)
    }

    @Test(arguments: [("--listen", "port_busy"), ("--control", "control_port_busy"), ("--front", "front_port_busy")])
    func aBusyPort(option: String, code: String) throws {
        let home = try CommandLineHome()
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = bind(socket, $0, length); listen(socket, 1); getsockname(socket, $0, &length) } }
        let port = Int(UInt16(bigEndian: address.sin_port))
        var arguments = ["--json", "up", "--no-discovery"]
        for door in ["--listen", "--control", "--front"] { arguments += [door, "127.0.0.1:\(door == option ? port : 0)"] }
        let result = try Shell.run(Shell.capsule, arguments, environment: ["CAPSULE_HOME": home.path], timeout: 60)
        let error = try Self.error(result)
        #expect(result.status == 69)
        #expect(error.code == code)
        #expect(error.message.contains("\(port)"))
        #expect(error.hint.contains(option) || !error.hint.isEmpty)
    }

    @Test func aSecondNodeInTheSameHome() throws {
        let home = try CommandLineHome()
        let node = try RunningNode(home)
        let result = try home.run("--json", "up", "--no-discovery", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--front", "127.0.0.1:0", timeout: 60)
        #expect(result.status == 75)
        #expect(try Self.error(result).code == "home_in_use")
        #expect(try home.json("status")["running"] as? Bool == true)
        #expect(node.stop() == 0)
    }

    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting needs root"))
    func aFullDisk() throws {
        let home = try CommandLineHome()
        let disk = home.folder.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        try #require(try Shell.run("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", disk]).succeeded)
        defer { _ = try? Shell.run("umount", ["-l", disk]) }
        let app = try home.writeApp()
        try Shell.sh("head -c 20000000 /dev/urandom > \(app)/noise")
        try #require(try home.run("--home", disk + "/home", "init").succeeded)
        let result = try home.run("--home", disk + "/home", "--json", "pack", app)
        #expect(result.status == 73, "\(result.output)\(result.error)")
        #expect(try Self.error(result).code == "disk_full")
        #expect(try home.run("--home", disk + "/home", "--json", "ls").output.filter { !$0.isWhitespace } == "[]")
        // With room again the same command finishes.
        try #require(try Shell.run("mount", ["-o", "remount,size=64m", disk]).succeeded)
        #expect(try home.run("--home", disk + "/home", "pack", app).succeeded)
        #expect(try home.run("--home", disk + "/home", "verify", "note").succeeded)
    }

    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting needs root"))
    func aReadOnlyHome() throws {
        let home = try CommandLineHome()
        try home.run("init")
        try #require(try Shell.run("mount", ["--bind", home.path, home.path]).succeeded)
        defer { _ = try? Shell.run("umount", ["-l", home.path]) }
        try #require(try Shell.run("mount", ["-o", "remount,bind,ro", home.path]).succeeded)
        let result = try home.run("--json", "pack", try home.writeApp())
        #expect(result.status == 73, "\(result.output)\(result.error)")
        let error = try Self.error(result)
        #expect(error.code == "read_only")
        #expect(error.hint.contains("read-only"))
    }

    static let wrongLines: [(words: [String], status: Int32)] = [
        (["verfy"], 64), (["pack"], 64), (["verify", "Not A Name"], 64), (["verify", "nothing-here"], 69), (["verify", "/nonexistent.caps"], 64),
        (["unpack", "nothing-here", "x"], 69), (["deploy", "nothing-here", "--env", "moon"], 64), (["act", "no.such", "{}"], 64),
        (["act", "capsule.verify", #"{"reff": 1}"#], 64), (["act", "capsule.verify", "{"], 65), (["ps"], 78), (["release", "nothing-here"], 78),
    ]

    @Test(arguments: wrongLines)
    func wrongWords(line: (words: [String], status: Int32)) throws {
        let home = try CommandLineHome()
        if line.status != 78 { try home.run("init") }
        let result = try Shell.run(Shell.capsule, ["--json"] + line.words, environment: ["CAPSULE_HOME": home.path], directory: home.folder.path)
        #expect(result.status == line.status, "\(line.words): \(result.output)\(result.error)")
        #expect(try !Self.error(result).message.isEmpty)
    }
}
