import Foundation
import TestSupport
import Testing

/// kill −9 in the middle of writing. strace ends the program at its n-th write, so that each moment is known to fall between
/// two writes of the same pack or pull, and the trace's last line says into which file the next one would have gone.
@Suite(.serialized) struct KillTests {
    static let missing: String? = Shell.has("strace") ? nil : "SKIPPED: strace is not installed"

    /// Runs until the n-th call of `call` is reached, and gives the path that it was about to touch; nil when it finished first.
    static func kill(_ home: CommandLineHome, at n: Int, of call: String, _ arguments: [String]) throws -> String? {
        let trace = home.folder.path + "/trace"
        let result = try Shell.run("strace", ["-f", "-y", "-qq", "-o", trace, "-e", "trace=\(call)", "-e", "inject=\(call):signal=KILL:when=\(n)", Shell.capsule, "--quiet"] + arguments,
                                   environment: ["CAPSULE_HOME": home.path])
        guard !result.succeeded else { return nil }
        let lines = try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n")
        return lines.last { $0.contains("\(call)(") && ($0.contains("= ?") || $0.contains("unfinished")) }.map(String.init)
    }

    /// What must hold at every moment: nothing half-made is listed, and what is listed verifies.
    static func checkSound(_ home: CommandLineHome, _ moment: String) throws {
        for row in try home.list("ls") {
            let digest = try #require(row["digest"] as? String)
            #expect(try home.run("verify", digest).status == 0, "\(moment): \(digest) is listed but does not verify")
        }
    }

    static func writeTree(_ home: CommandLineHome) throws -> String {
        let app = try home.writeApp()
        for i in 0..<24 { try Shell.sh("mkdir -p d\(i % 4) && head -c 300000 /dev/urandom > d\(i % 4)/f\(i)", directory: app) }
        return app
    }

    @Test(.enabled(if: missing == nil, Comment(rawValue: missing ?? "")))
    func packAtTwentyMoments() throws {
        let home = try CommandLineHome("kill-pack")
        let app = try Self.writeTree(home)
        let expected = try CommandLineHome("kill-pack-reference")
        let digest = try #require(try expected.json("pack", app)["digest"] as? String)
        var moments = 0, inStore = 0
        for (call, steps) in [("write", Array(stride(from: 2, through: 32, by: 2))), ("pwrite64", [3, 7, 12]), ("fsync", [1, 2, 4]), ("fdatasync", [1, 3])] {
            for n in steps {
                try Shell.run("/bin/rm", ["-rf", home.path])
                try home.run("init")
                guard let last = try Self.kill(home, at: n, of: call, ["pack", app]) else { continue }
                moments += 1
                if last.contains(home.path + "/capsules/") { inStore += 1 }
                try Self.checkSound(home, "\(call) \(n)")
                let again = try home.json("pack", app)
                #expect(again["digest"] as? String == digest, "\(call) \(n)")
                #expect(try home.run("verify", "note").status == 0)
            }
        }
        print("pack: \(moments) kills, \(inStore) of them at a write into the store")
        #expect(moments >= 20)
        #expect(inStore >= 15)
    }

    @Test(.enabled(if: missing == nil, Comment(rawValue: missing ?? "")))
    func pullAtTwentyMoments() throws {
        let source = try CommandLineHome("kill-source"), home = try CommandLineHome("kill-pull")
        let app = try Self.writeTree(source)
        let node = try RunningNode(source)
        let digest = try #require(try source.json("pack", app, "--release")["digest"] as? String)
        let port = try #require(node.ready["meshPort"])
        let invitation = try #require(try source.json("invite")["invitation"] as? String)
        try home.run("init")
        _ = try home.json("join", input: invitation + "\n")
        try home.run("peers", "add", "127.0.0.1:\(port)")
        let joined = home.folder.path + "/joined"
        try #require(try Shell.run("cp", ["-a", home.path, joined]).succeeded)
        var moments = 0, inStore = 0
        for (call, steps) in [("write", Array(stride(from: 2, through: 40, by: 2))), ("pwrite64", [3, 7, 12, 20]), ("fsync", [1, 2, 3, 5]), ("fdatasync", [1, 3])] {
            for n in steps {
                try Shell.sh("rm -rf \(home.path) && cp -a \(joined) \(home.path)")
                guard let last = try Self.kill(home, at: n, of: call, ["pull", digest]) else { continue }
                moments += 1
                if last.contains(home.path + "/capsules/") { inStore += 1 }
                try Self.checkSound(home, "\(call) \(n)")
                let result = try home.json("pull", digest)
                #expect(result["digest"] as? String == digest)
                #expect(try home.run("verify", digest).status == 0, "\(call) \(n)")
            }
        }
        print("pull: \(moments) kills, \(inStore) of them at a write into the store")
        #expect(moments >= 20)
        #expect(inStore >= 15)
        #expect(node.stop() == 0)
    }
}
