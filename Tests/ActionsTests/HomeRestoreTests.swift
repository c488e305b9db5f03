import Actions
import Foundation
import MeshCore
import Signing
import TestSupport
import Testing

/// What comes out of a backup, whoever made it.
@Suite struct HomeRestoreTests {
    /// The one of docs/formats/backup.md, made with PyNaCl.
    @Test func theVectorOfThePageIsAHome() throws {
        let bench = try Bench()
        let page = try String(contentsOfFile: Shell.repository + "/docs/formats/backup.md", encoding: .utf8)
        let block = try #require(page.components(separatedBy: "```json vectors\n").last?.components(separatedBy: "\n```").first)
        let backup = try #require(JSONValue.parse(Array(block.utf8))["backup"]?.string)
        try Files.writeDurably(#require(Hex.decode(backup)), to: bench.backup)
        let restored = try bench.restore()
        #expect(restored.name == "studio" && restored.files == 3 && restored.missing.isEmpty)
        #expect(restored.nodeID == "74c181c7ad8a0855d4b55e44d2ba87aabdddb196832571f15f92fece332e4916")
        let dev = bench.home.deployments + "/note/dev"
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: dev + "/current") == "generations/1")
        #expect(try Shell.sh("cat data/$(printf '\\377')", directory: dev).output == "hello\n")
        #expect(try Shell.sh("stat -c %a data/*", directory: dev).trimmed == "751", "the set-user-id bit is gone")
        let owner = geteuid() == 0 ? 1000 : Int(geteuid())
        for (path, mode) in [("keys", 0o700), ("keys/node.key", 0o600), ("state/node.json", 0o644), ("deployments/note", 0o755), ("deployments/note/dev/data", 0o700)] {
            let info = try look(bench.home.path + "/" + path)
            #expect(Int(info.st_mode) & 0o7777 == mode, "\(path)")
            #expect(Int(info.st_uid) == owner, "\(path)")
            #expect(info.st_mtim.tv_sec == 1_700_000_000 && info.st_mtim.tv_nsec == 123_000_000, "\(path)")
        }
        #expect(try look(dev + "/current").st_mtim.tv_nsec == 123_000_000)
        let events = try EventLog.recent(in: bench.home)
        #expect(events.map(\.type) == ["home.restored"])
        #expect(events.first?.document["data"]?["files"] == 3)
        #expect(try bench.names == ["backup", "home"])
    }

    typealias Change = @Sendable (inout [ForgedEntry]) -> Void
    static func add(_ entries: ForgedEntry...) -> Change { { $0 += entries } }
    static let dev: [ForgedEntry] = [.item("deployments", "d"), .item("deployments/a", "d"), .item("deployments/a/dev", "d")]
    static func addToDev(_ entries: ForgedEntry...) -> Change { { $0 += dev + entries } }
    static func file(_ path: String, _ change: @escaping @Sendable (inout [String: JSONValue]) -> Void) -> Change {
        { entries in
            var entry = ForgedEntry.item(path, "f", mode: 0o644, "x")
            change(&entry.header)
            entries.append(entry)
        }
    }

    static let hostile: [(name: String, change: Change)] = [
        ("out of the home", add(.item("../x", "f", "x"))), ("absolute", add(.item("/tmp/x", "f", "x"))), ("out and in", add(.item("state/../../x", "f", "x"))),
        ("up in the middle", add(.item("state/../x", "f", "x"))), ("a dot", add(.item("./x", "f", "x"))), ("two slashes", add(.item("state//x", "f", "x"))),
        ("a slash at the end", add(.item("x/", "d"))), ("no path", add(.item("", "f", "x"))), ("a zero byte", add(.item("state/a\0b", "f", "x"))),
        ("a long part", add(.item("state/" + String(repeating: "a", count: 256), "f", "x"))),
        ("too deep", { $0 += (1...129).map { .item(Array(repeating: "a", count: $0).joined(separator: "/"), "d") } }),
        ("no folder above", add(.item("nowhere/x", "f", "x"))), ("a file above", add(.item("state/node.json/x", "f", "x"))),
        ("through a link", addToDev(.item("deployments/a/dev/current", "l", target: "/tmp"), .item("deployments/a/dev/current/x", "f", "x"))),
        ("over a link", addToDev(.item("deployments/a/dev/data", "d"), .item("deployments/a/dev/data/l", "l", target: "/tmp/x"), .item("deployments/a/dev/data/l", "f", "x"))),
        ("a file twice", add(.item("state/node.json", "f", "x"))), ("a folder twice", add(.item("state", "d"))), ("a link for a room", add(.item("peers", "l", target: "/tmp"))),
        ("a link in state", add(.item("state/builds", "l", target: "/tmp"))), ("a link for a deployment", { $0 += dev.prefix(2) + [.item("deployments/a/dev", "l", target: "/tmp")] }),
        ("a link for data", addToDev(.item("deployments/a/dev/data", "l", target: "/tmp"))),
        ("a link for a journal", addToDev(.item("deployments/a/dev/journal", "l", target: "/tmp/x"))),
        ("a link for a generation", addToDev(.item("deployments/a/dev/generations", "d"), .item("deployments/a/dev/generations/1", "l", target: "/tmp"))),
        ("a link without target", addToDev(.item("deployments/a/dev/current", "l"))), ("an empty target", addToDev(.item("deployments/a/dev/current", "l", target: ""))),
        ("a file with a target", add(.item("state/x", "f", "x", target: "/tmp"))), ("a device", add(.item("state/x", "b"))), ("a folder with content", add(.item("state/x", "d", "x"))),
        ("a negative size", file("state/x") { $0["size"] = -1 }), ("a size without end", file("state/x") { $0["size"] = .integer(1 << 50) }),
        ("more size than content", file("state/x") { $0["size"] = .integer(1 << 30) }), ("less size than content", file("state/x") { $0["size"] = 0 }),
        ("too large a mode", file("state/x") { $0["mode"] = 0o10000 }), ("no user", file("state/x") { $0["uid"] = 4_294_967_295 }), ("a negative group", file("state/x") { $0["gid"] = -1 }),
        ("an unknown member", file("state/x") { $0["acl"] = "" }), ("a missing member", file("state/x") { $0["mtime"] = nil }), ("bad base64", file("state/x") { $0["path"] = "c3Rh!" }),
        ("a second beginning", add(.start)), ("an early end", add(.end([]), .item("x", "d"))), ("no key", { $0.remove(at: 1) }), ("no settings", { $0.removeLast() }),
        ("an exposed key", { $0[1].header["mode"] = 0o644 }), ("no home at all", { $0 = [] }),
        ("another node's key", { $0[1].content = Array("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n".utf8)
            $0[1].header["size"] = JSONValue($0[1].content.count) }),
    ]

    @Test(arguments: hostile.indices) func noHomeComesOfWhatNoHomeHolds(_ index: Int) throws {
        let bench = try Bench()
        var entries = try ForgedEntry.home(in: bench.folder)
        Self.hostile[index].change(&entries)
        try bench.seal(ForgedEntry.whole(entries))
        #expect(code { try bench.restore() } == "backup_damaged", "\(Self.hostile[index].name)")
        #expect(try bench.names == ["backup"], "\(Self.hostile[index].name)")
        #expect(!Files.exists("/tmp/x"), "\(Self.hostile[index].name)")
    }

    @Test func aStreamOfEntriesIsExact() throws {
        let bench = try Bench()
        let home = try ForgedEntry.home(in: bench.folder), good = ForgedEntry.whole(home)
        try bench.seal(good)
        try bench.restore()
        try Files.removeTree(bench.home.path)
        var format = ForgedEntry.start, mesh = ForgedEntry.start, counts = ForgedEntry.end(home)
        format.header["format"] = 2
        mesh.header["mesh"] = "ab"
        counts.header["bytes"] = 1
        let body = home.flatMap(\.bytes), end = ForgedEntry.end(home).bytes
        let pretty = ForgedEntry.framed(Array("{\"end\": true, \"files\": 2, \"bytes\": 1}".utf8))
        let long = ForgedEntry.framed(JSONValue.object(["path": .string(String(repeating: "A", count: 20_000))]).canonicalBytes)
        for (what, content) in [
            ("nothing", []), ("only a beginning", ForgedEntry.start.bytes), ("no beginning", body + end), ("no end", ForgedEntry.start.bytes + body), ("more", good + [0]),
            ("another entry", good + home[0].bytes), ("cut", Array(good.dropLast())), ("format 2", format.bytes + body + end),
            ("no mesh", mesh.bytes + body + end), ("wrong counts", ForgedEntry.start.bytes + body + counts.bytes), ("spaces", ForgedEntry.start.bytes + body + pretty),
            ("a long header", ForgedEntry.start.bytes + long + body + end), ("no JSON", ForgedEntry.start.bytes + ForgedEntry.framed([1, 2, 3]) + body + end),
            ("a huge length", ForgedEntry.start.bytes + [255, 255, 255, 255] + body + end),
        ] as [(String, [UInt8])] {
            try bench.seal(content)
            #expect(code { try bench.restore() } == "backup_damaged", "\(what)")
            #expect(try bench.names == ["backup"], "\(what)")
        }
        var newer = home
        newer[3].content = Array("{\"format\": 2, \"name\": \"studio\"}".utf8)
        try bench.seal(ForgedEntry.whole(newer))
        #expect(code { try bench.restore() } == "home_format")
        #expect(try bench.names == ["backup"])
    }

    /// The maker of a backup chooses the name; the terminal is the reader's.
    @Test func aNameIsOnlyText() throws {
        let bench = try Bench()
        let home = try ForgedEntry.home(in: bench.folder)
        var start = ForgedEntry.start
        start.header["name"] = "Studio 2 \u{1b}[2J"
        try bench.seal(start.bytes + home.flatMap(\.bytes) + ForgedEntry.end(home).bytes)
        #expect(try bench.restore().name == "Studio 2 \u{fffd}[2J")
    }

    @Test func nothingThatIsThereIsTouched() throws {
        let bench = try Bench()
        try bench.seal(ForgedEntry.whole(ForgedEntry.home(in: bench.folder)))
        try bench.folder.write("mine", to: "full/file")
        try bench.folder.write("mine", to: "file")
        try #require(symlink("nowhere", bench.folder.path + "/dangling") == 0)
        for name in ["full", "file", "dangling"] {
            #expect(code { try bench.restore(to: HomeLayout(path: bench.folder.path + "/" + name)) } == "already_exists", "\(name)")
        }
        #expect(try bench.names == ["backup", "dangling", "file", "full"])
        #expect(try bench.folder.read("full/file") == Data("mine".utf8))
        // An empty folder is taken, and stays as open or closed as it was; a link to one is followed.
        try Files.makeDirectory(bench.folder.path + "/empty")
        try #require(chmod(bench.folder.path + "/empty", 0o750) == 0)
        try #require(symlink("empty", bench.folder.path + "/link") == 0)
        try bench.restore(to: HomeLayout(path: bench.folder.path + "/link"))
        #expect(try look(bench.folder.path + "/empty").st_mode & 0o7777 == 0o750)
        #expect(Files.exists(bench.folder.path + "/empty/keys/node.key"))
        #expect(code { try bench.restore(to: HomeLayout(path: bench.folder.path + "/link")) } == "already_exists")
    }

    /// Folders that had to be made above the home go again with it.
    @Test func aFailureLeavesNoFolderAbove() throws {
        let bench = try Bench()
        let deep = HomeLayout(path: bench.folder.path + "/a/b/home")
        try bench.seal(ForgedEntry.start.bytes)
        #expect(code { try bench.restore(to: deep) } == "backup_damaged")
        #expect(try bench.names == ["backup"])
        try bench.seal(ForgedEntry.whole(ForgedEntry.home(in: bench.folder)))
        try bench.restore(to: deep)
        #expect(try Files.names(in: bench.folder.path + "/a/b") == ["home"])
    }

    @Test func whatACrashLeftIsCleared() throws {
        let bench = try Bench()
        try bench.seal(ForgedEntry.whole(ForgedEntry.home(in: bench.folder)))
        try bench.folder.write("secret", to: "home.restoring-12-34/keys/node.key")
        for name in ["home.restoring-notes", "home.restoring-12-34-5", "other.restoring-12-34"] { try bench.folder.write("mine", to: name + "/file") }
        // Whoever is at it holds its lock.
        try bench.folder.write("theirs", to: "home.restoring-56-78/file")
        let held = try Descriptor.directory(bench.folder.path + "/home.restoring-56-78")
        try #require(flock(held.number, LOCK_EX | LOCK_NB) == 0)
        try bench.restore()
        #expect(try bench.names == ["backup", "home", "home.restoring-12-34-5", "home.restoring-56-78", "home.restoring-notes", "other.restoring-12-34"])
    }
}
