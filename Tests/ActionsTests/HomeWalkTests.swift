@testable import Actions
import Catalog
import Foundation
import MeshCore
import Synchronization
import TestSupport
import Testing

/// What goes into a backup, and what happens when it does not hold still.
@Suite struct HomeWalkTests {
    static let passphrase = Array("correct horse".utf8)
    let folder: TemporaryFolder
    let home: HomeLayout
    let data: String
    let parts: NodeParts
    var path: String { folder.path + "/backup" }

    init() throws {
        folder = try TemporaryFolder("walk")
        home = HomeLayout(path: folder.path + "/home")
        data = home.deployments + "/note/dev/data"
        _ = try HomeSetup.create(home, name: "studio", clock: SystemClock())
        try Files.makeDirectory(data)
        parts = try Self.open(home)
    }

    /// Another test's child process may hold the lock that was just given up, until it has become another program.
    static func open(_ home: HomeLayout) throws -> NodeParts {
        for _ in 0..<100 {
            do { return try NodeParts(home: home, clock: SystemClock(), events: { _ in }) } catch { guard error.code == .homeInUse else { throw error } }
            let file = try OpenFile(reading: home.lock)
            _ = flock(file.descriptor, LOCK_EX)
        }
        return try NodeParts(home: home, clock: SystemClock(), events: { _ in })
    }

    @discardableResult
    func back(up path: String? = nil, emit: @escaping EventSink = { _ in }, isCancelled: @escaping @Sendable () -> Bool = { false }) throws -> HomeBackup.Written {
        try HomeBackup.write(parts, to: path ?? self.path, passphrase: Self.passphrase, isCancelled: isCancelled, emit: emit)
    }

    func restore() throws -> HomeLayout {
        let restored = HomeLayout(path: folder.path + "/restored")
        _ = try HomeBackup.restore(from: path, to: restored, passphrase: Self.passphrase, clock: SystemClock())
        return restored
    }

    @Test(arguments: [
        ("capsules/packs", true), ("capsules/index.sqlite", true), ("capsules/index.sqlite-wal", true), ("capsules/lock", true), ("capsules/gc.lock", true), ("capsules/tmp", true), ("capsules/quarantine", true),
        ("state/lock", true), ("state/control.sock", true), ("state/catalog.sqlite-wal", true), ("state/catalog.sqlite-shm", true), ("state/tokens.json.tmp-1-2", true),
        ("keys/node.key.tmp-1-2", true), ("deployments/a/dev/journal.tmp-1-2", true), ("state/catalog.sqlite", false), ("state/roots", false), ("capsules", false), ("state/locks", false),
        ("deployments/a/dev/journal", false), ("deployments/a/dev/data/x.tmp-1-2", false), ("deployments/a/dev/generations/1/state/lock", false),
        ("deployments/a/dev/data/state/catalog.sqlite-wal", false), ("deployments/a/dev/data/capsules/packs", false), ("packs", false),
    ]) func leavesOutWhatIsMadeAgain(_ place: (String, Bool)) {
        #expect(HomePlace(Array(place.0.utf8)).isLeftOut == place.1)
    }

    @Test(arguments: [
        ("keys/node.key", false, false, false), ("state/roots", false, false, false), ("state/builds/1.log", true, false, false), ("deployments/a/dev/journal", false, false, false),
        ("deployments/a/dev/log.1", true, false, false), ("deployments/a/dev/current", true, false, true), ("deployments/a/dev/data", true, false, false),
        ("deployments/a/dev/data/x", true, true, true), ("deployments/a/dev/generations/1", true, false, false), ("deployments/a/dev/generations/1/x", true, false, true),
    ]) func knowsWhatMayBeLostAndWhatMayBeALink(_ place: (String, Bool, Bool, Bool)) {
        let known = HomePlace(Array(place.0.utf8))
        #expect(known.isExpendable == place.1)
        #expect(known.isAppData == place.2)
        #expect(known.mayBeLink == place.3)
    }

    @Test(arguments: [(1_700_000_000, 123_999_999, 1_700_000_000_123), (-2, 500_000_000, -1500), (0, 0, 0), (Int.max, 0, 9_007_199_254_739_000), (Int.min, 0, -9_007_199_254_739_000)])
    func timesSurviveAsMilliseconds(_ time: (Int, Int, Int64)) {
        var info = stat()
        info.st_mtim = timespec(tv_sec: time.0, tv_nsec: time.1)
        let item = BackupEntry.Item([0x61], .folder, info)
        #expect(item.modified == time.2)
        #expect(Int64(item.times[1].tv_sec) * 1000 + Int64(item.times[1].tv_nsec) / 1_000_000 == time.2)
        #expect((0..<1_000_000_000).contains(item.times[1].tv_nsec))
    }

    /// Names of any bytes, empty files, links that lead anywhere, odd modes, times before 1970: all as it was.
    @Test func anAppsDataComesBackAsItWas() throws {
        let seed: UInt64 = 20_261_124
        print("seed \(seed)")
        try Shell.run("python3", ["-c", """
            import os, random, sys
            r = random.Random(int(sys.argv[2])); folders = [os.fsencode(sys.argv[1])]; made = []
            for i in range(400):
                name = bytes(r.choice([c for c in range(1, 256) if c != 47]) for _ in range(r.randint(1, 30)))
                if name in (b'.', b'..'): continue
                path = r.choice(folders) + b'/' + name
                if os.path.lexists(path) or len(path) > 2000: continue
                kind = r.random()
                if kind < .2: os.mkdir(path); folders.append(path)
                elif kind < .3: os.symlink(bytes(r.randint(1, 255) for _ in range(r.randint(1, 200))), path)
                else:
                    with open(path, 'wb') as f: f.write(r.randbytes(r.choice([0, 1, 4095, 65536, 70000, 300000])))
                made.append(path)
            with open(folders[0] + b'/holes', 'wb') as f: f.truncate(3 << 20)
            for path in reversed(made):
                if not os.path.islink(path):
                    own = [0o700, 0o755, 0o500, 0o777, 0o1777] if os.path.isdir(path) else [0o600, 0o644, 0o400, 0o755, 0o4755, 0o2755]
                    os.chmod(path, r.choice(own + ([0, 0o44] if os.geteuid() == 0 else [])))
                os.utime(path, ns=(0, r.randint(-10**12, 2 * 10**12) * 10**6), follow_symlinks=False)
            """, data, "\(seed)"])
        let written = try back()
        #expect(written.skippedCount == 0, "\(written.skipped)")
        let restored = try restore()
        let list = "import os,sys,hashlib\nfor d, s, f in sorted(os.walk(os.fsencode(sys.argv[1]))):\n  for n in sorted(s + f):\n    p = os.path.join(d, n); i = os.lstat(p); l = os.path.islink(p)\n" +
            "    print(p[len(sys.argv[1]):], oct(i.st_mode & ~0o6000), i.st_uid, i.st_gid, i.st_mtime_ns // 10**6, os.readlink(p) if l else '' if os.path.isdir(p) else hashlib.sha256(open(p, 'rb').read()).hexdigest())"
        let before = try Shell.run("python3", ["-c", list, data]), after = try Shell.run("python3", ["-c", list, restored.deployments + "/note/dev/data"])
        #expect(before.succeeded && before.output.split(separator: "\n").count > 300, "\(before.error)")
        #expect(before.output == after.output)
    }

    @Test func whatAnAppCutsShortIsNotedAndTheRestIsSaved() throws {
        let file = data + "/big", other = data + "/other"
        try Shell.sh("head -c 12582912 /dev/urandom > \(file); echo other > \(other)")
        let start = try Files.read(file, bytesMax: 1 << 30).prefix(1 << 20)
        let written = try back() { event in
            if let bytes = event.data["bytes"]?.integer, bytes >= 4 << 20 { truncate(file, 1 << 20) }
        }
        #expect(Set(written.skipped.map(\.path)) == ["deployments/note/dev/data/big"])
        #expect(written.skipped.first?.why.contains("zeros") == true)
        let restored = try Files.read(restore().deployments + "/note/dev/data/big", bytesMax: 1 << 30)
        #expect(restored.count == 12_582_912 && restored.prefix(1 << 20) == start && restored.suffix(4 << 20).allSatisfy { $0 == 0 })
    }

    @Test func whatGrowsIsSavedAsFarAsItWasThere() throws {
        let file = home.state + "/journal", grown = data + "/grown"
        for path in [file, grown] { try Shell.sh("head -c 8388608 /dev/urandom > \(path)") }
        let before = try Files.read(file, bytesMax: 1 << 30)
        let written = try back() { _ in
            for path in [file, grown] { try? OpenFile(appending: path).write([1, 2, 3]) }
        }
        #expect(written.skipped.map(\.path) == ["deployments/note/dev/data/grown"])
        #expect(try Files.read(restore().state + "/journal", bytesMax: 1 << 30).starts(with: before))
    }

    @Test func whatTheNodeNeedsMustHoldStill() throws {
        let file = home.state + "/journal"
        try Shell.sh("head -c 12582912 /dev/urandom > \(file)")
        #expect(code { try back() { event in if let bytes = event.data["bytes"]?.integer, bytes >= 4 << 20 { truncate(file, 1 << 20) } } } == "source_changed")
        #expect(try Files.names(in: folder.path) == ["home"])
        #expect(try Files.names(in: home.state).allSatisfy { !$0.contains(".tmp-") })
    }

    @Test func aBackupCanBeCancelled() throws {
        try Shell.sh("head -c 12582912 /dev/urandom > \(data)/big")
        let events = Mutex(0)
        #expect(code { try back(emit: { _ in events.withLock { $0 += 1 } }, isCancelled: { events.withLock { $0 } > 0 }) } == "backup_cancelled")
        #expect(try Files.names(in: folder.path) == ["home"])
    }

    @Test func linksOfTheHomeItselfAreToldOf() throws {
        try Files.rename(home.peers, folder.path + "/peers")
        try #require(symlink("../peers", home.peers) == 0)
        try folder.write("{}", to: "peers/x.json")
        try Files.rename(home.rootKey, folder.path + "/root.key")
        try #require(symlink("../../root.key", home.rootKey) == 0)
        try #require(mkfifo(data + "/pipe\u{1b}[2J", 0o600) == 0)
        try Shell.sh("mkdir \"$(printf 'odd\\377')\" && cd odd* && echo x > x", directory: home.path)
        let written = try back()
        #expect(Set(written.skipped.map(\.path)) == ["keys/root.key", "deployments/note/dev/data/pipe\u{fffd}[2J"])
        let restored = try restore()
        #expect(!Files.exists(restored.rootKey) && !Files.exists(restored.deployments + "/note/dev/data/pipe\u{1b}[2J"))
        #expect(try Shell.sh("cat odd*/x", directory: restored.path).output == "x\n")
        #expect(try look(restored.peers).st_mode & S_IFMT == S_IFDIR)
        #expect(Files.exists(restored.peers + "/x.json"))
    }

    @Test func aBackupIsNewAndOutsideTheHome() throws {
        try Files.writeDurably([1], to: path)
        #expect(code { try back() } == "already_exists")
        #expect(try Files.read(path, bytesMax: 10) == [1])
        try #require(symlink("home/peers", folder.path + "/inside") == 0)
        for inside in [home.path + "/backup", home.peers + "/backup", folder.path + "/inside/backup"] { #expect(code { try back(up: inside) } == "backup_in_home", "\(inside)") }
        #expect(code { try back(up: folder.path + "/none/backup") } == "file_not_found")
        try back(up: folder.path + "/home2")
        #expect(try look(folder.path + "/home2").st_mode & 0o7777 == 0o600)
    }

    /// The old home may go on: its events and the restored home's have the same numbers, and must not have the same ids.
    @Test func theRestoredLogIsAnotherLog() throws {
        let old = try EventLog(home: home, clock: SystemClock())
        for i in 1...3 { old.append(NodeEvent(source: "test", type: "counted", data: ["i": JSONValue(i)])) }
        try back()
        let restored = try restore(), epoch = try EventLog(home: restored, clock: SystemClock()).epoch
        #expect(epoch != old.epoch)
        let log = try EventLog(home: restored, clock: SystemClock())
        #expect(log.epoch == epoch && log.lastSeq == 4)
        #expect(log.recent.map(\.event.type) == ["counted", "counted", "counted", "home.restored"])
    }

    /// A catalog that is written meanwhile would not be one moment; its copy leaves nothing behind.
    @Test func theCatalogIsACopyOfItsOwn() throws {
        try folder.write("old", to: "home/state/catalog.sqlite.tmp-12-34")
        try back()
        #expect(try Files.names(in: home.state).allSatisfy { !$0.contains(".tmp-") })
        let restored = try restore()
        #expect(try Files.names(in: restored.state).filter { $0.hasPrefix("catalog") } == ["catalog.sqlite"])
        #expect(try Self.open(restored).catalog.count == 5)
    }
}
