import CapsuleFormat
import Glibc
import MeshCore
import Testing

@Suite struct SourceTreeTests {
    /// A folder that a shell script fills.
    static func made(_ script: String) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let (status, output) = try shell("cd \(folder.path) && umask 022 && set -e; \(script)")
        try #require(status == 0, "\(output)")
        return folder
    }

    static func scan(_ folder: TemporaryFolder, kind: TreeKind = .app, _ options: SourceTree.ScanOptions = SourceTree.ScanOptions()) throws -> [SourceTree.Item] {
        try SourceTree.scan(folder.path, kind: kind, options: options).items
    }

    @Test func canonicalOrder() throws {
        let folder = try Self.made("mkdir -p a ab A; touch a/b a/z a.b a-b 'a b' a0 'a!' A/x é 中 .x; mkdir empty a/c; touch a/c/d")
        let paths = try Self.scan(folder).map(\.path)
        #expect(paths == [".x", "A", "A/x", "a", "a/b", "a/c", "a/c/d", "a/z", "a b", "a!", "a-b", "a.b", "a0", "ab", "empty", "é", "中"])
        // What the walk gives is what an index takes.
        let entries = try Self.scan(folder).map { item in
            TreeEntry(path: item.path, mode: item.mode, content: item.kind == .directory ? .directory : .file(size: 0, sha256: Digest.of([])))
        }
        #expect(try TreeIndex(entries: entries, kind: .app).entries == entries)
    }

    @Test func modesKindsAndSizes() throws {
        let folder = try Self.made("""
            printf 12345 > plain; printf 1 > group; printf '' > all; chmod 600 plain; chmod 610 group; chmod 777 all; mkdir -m 700 dir; printf 1 > other; chmod 601 other
            ln -s plain link; ln -s missing dangling; ln -s dir/../plain dir/x 2>/dev/null || true; ln plain hard; chmod 4755 all
            """)
        let items = Dictionary(uniqueKeysWithValues: try Self.scan(folder).map { ($0.path, $0) })
        #expect(items.mapValues { String($0.mode, radix: 8) } == [
            "plain": "644", "group": "755", "all": "755", "other": "755", "dir": "755", "link": "777", "dangling": "777", "hard": "644",
        ].merging(items["dir/x"] == nil ? [:] : ["dir/x": "777"]) { $1 })
        #expect(items["plain"]?.kind == .file(size: 5) && items["all"]?.kind == .file(size: 0) && items["dir"]?.kind == .directory)
        #expect(items["link"]?.kind == .link(target: "plain") && items["dangling"]?.kind == .link(target: "missing"))
        // A hard link is a file like any other.
        #expect(items["hard"]?.kind == .file(size: 5) && items["hard"]?.inode == items["plain"]?.inode)
        var info = stat()
        #expect(lstat(folder.file("plain"), &info) == 0)
        #expect(items["plain"]?.inode == UInt64(info.st_ino) && items["plain"]?.modified == Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec))
        #expect(items["plain"]?.changed == Int64(info.st_ctim.tv_sec) * 1_000_000_000 + Int64(info.st_ctim.tv_nsec))
    }

    /// Times, owners and the umask are the machine's, not the capsule's.
    @Test func theMachineIsNotInIt() throws {
        func shape(_ folder: TemporaryFolder) throws -> [String] { try Self.scan(folder).map { "\($0.path) \($0.mode) \($0.kind)" } }
        let plain = try Self.made("mkdir d; echo a > d/a; echo b > b; chmod +x b; ln -s b l")
        let other = try Self.made("umask 077; mkdir d; echo a > d/a; echo b > b; chmod u+x b; ln -s b l; touch -d 2001-01-01 d/a b d")
        #expect(try shape(plain) == shape(other))
    }

    @Test func whatNeverTravels() throws {
        let folder = try Self.made("""
            mkdir -p .git/hooks d/.git d/.hg e/.svn; touch .git/config d/.git/x d/.DS_Store .DS_Store d/.capsuleallow e/.svn/x .gitignore .github; echo x > .capsuleignore; mkdir git
            touch x capsule.json d/capsule.json
            """)
        #expect(try Self.scan(folder).map(\.path) == [".github", ".gitignore", "d", "d/capsule.json", "e", "git"])
        let all = try Self.scan(folder, SourceTree.ScanOptions(applyIgnoreRules: false, skipRootManifest: false)).map(\.path)
        #expect(Set(all).isSuperset(of: [".git", ".git/config", ".git/hooks", ".DS_Store", ".capsuleignore", "d/.git", "d/.hg", "e/.svn/x", "capsule.json", "x"]))
    }

    @Test(arguments: [
        ("mkfifo p", "kind_refused", "a pipe"), ("mkdir -p a/b; mkfifo a/b/p", "kind_refused", "a/b/p"),
        ("python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s')\"", "kind_refused", "a socket"),
        ("ln -s /etc/passwd l", "link_escapes", "/etc/passwd"), ("ln -s .. l", "link_escapes", "“l”"), ("mkdir -p a/b; ln -s ../../../x a/b/l", "link_escapes", "a/b/l"),
        ("mkdir -p a/b; ln -s ../.. a/b/up; ln -s a/b/up/../x l", "link_escapes", "“l”"), ("ln -s $(printf 'a\\007') l", "path_invalid", "“l”"),
        ("ln -s $(printf 'a\\377') l", "name_not_utf8", "“l”"), ("touch $(printf 'a\\033[2Jb')", "path_invalid", "control character"),
        ("mkdir d; touch \"$(printf 'd/a\\nb')\"", "path_invalid", "d/a"), ("touch $(printf 'a\\177')", "path_invalid", "control character"),
        ("touch $(printf 'a\\302\\205')", "path_invalid", "control character"), ("touch $(printf 'caf\\351')", "name_not_utf8", "caf"),
        ("touch $(printf 'a\\355\\240\\200')", "name_not_utf8", "a"), ("touch $(printf 'a\\300\\257b')", "name_not_utf8", "a"),
        ("mkdir $(printf 'd\\377'); touch $(printf 'd\\377')/a", "name_not_utf8", "d"), ("mkdir -p $(printf 'a/%.0s' $(seq 129))", "path_invalid", "deeper than 128"),
        ("echo A=1 > .env", "secret_found", ".env"), ("mkdir d; echo A=1 > d/.env.local", "secret_found", "d/.env.local"), ("echo > .envrc", "secret_found", ".envrc"),
    ])
    func refusals(_ script: String, code: String, told: String) throws {
        let folder = try Self.made(script)
        let error = #expect(throws: MeshError.self) { try Self.scan(folder) }
        #expect(error?.code.name == code && error?.isClearRefusal == true, "\(error.map(String.init(describing:)) ?? "")")
        #expect(error?.message.contains(told) == true, "\(error?.message ?? "")")
        #expect(error?.message.unicodeScalars.contains { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) } == false)
    }

    @Test(.enabled(if: getuid() == 0, "making a device needs root")) func devices() throws {
        let folder = try TemporaryFolder()
        // A container may forbid even root to make one.
        guard mknod(folder.file("null"), S_IFCHR | 0o644, 0x103) == 0 else { return }
        let error = #expect(throws: MeshError.self) { try Self.scan(folder) }
        #expect(error?.code == .kindRefused && error?.message.contains("a device") == true)
    }

    /// What is ignored is not refused, whatever it is.
    @Test func ignoredThingsAreNotLookedAt() throws {
        let folder = try Self.made("""
            mkdir -p run deep; mkfifo run/p pipe; ln -s /etc l; touch $(printf 'tmp\\377'); touch $(printf 'deep/\\377.tmp'); echo A=1 > .env; ln -s .. deep/up; touch keep
            printf 'run/\\npipe\\nl\\ntmp*\\n*.tmp\\n.env\\nup\\n' > .capsuleignore
            """)
        #expect(try Self.scan(folder).map(\.path) == ["deep", "keep"])
    }

    @Test func aRootFileSystemMayPointAnywhere() throws {
        let folder = try Self.made("ln -s /etc/passwd a; ln -s ../../x b")
        #expect(try Self.scan(folder, kind: .rootfs).map(\.kind) == [.link(target: "/etc/passwd"), .link(target: "../../x")])
        let pipe = try Self.made("mkfifo p")
        #expect(throws: MeshError.self) { try Self.scan(pipe, kind: .rootfs) }
    }

    @Test func foldersThatAreNone() throws {
        let folder = try Self.made("touch file; ln -s . self; mkdir there; touch there/a; ln -s there link")
        for (path, code) in [("missing", ErrorCode.fileNotFound), ("file", .fileNotFound)] {
            let error = #expect(throws: MeshError.self) { try SourceTree.scan(folder.file(path), kind: .app, options: SourceTree.ScanOptions()) }
            #expect(error?.code == code)
        }
        // The folder itself may be named by a link; with or without a slash.
        for path in ["link", "there", "there/", "there//"] {
            let tree = try SourceTree.scan(folder.file(path), kind: .app, options: SourceTree.ScanOptions())
            #expect(tree.items.map(\.path) == ["a"] && !tree.directory.hasSuffix("/"))
        }
    }

    @Test(.enabled(if: getuid() != 0, "root may read every folder")) func foldersThatCannotBeRead() throws {
        let folder = try Self.made("mkdir d; chmod 0 d")
        let error = #expect(throws: MeshError.self) { try Self.scan(folder) }
        #expect(error?.code == .notPermitted && error?.message.contains("d") == true)
    }

    @Test func secretsAreLetThroughByPath() throws {
        let script = "mkdir -p test/keys d; echo A=1 > .env; echo A=1 > test/.env; echo A=1 > test/keys/.env.example; echo A=1 > d/.envrc; touch d/a; mkdir .env.d; touch '.env[1]'"
        func told(_ allow: [String], file: String? = nil) throws -> String? {
            let folder = try Self.made(script)
            if let file { _ = try folder.write(Array(file.utf8), to: ".capsuleallow") }
            do { _ = try Self.scan(folder, SourceTree.ScanOptions(allowSecrets: allow)) } catch let error as MeshError {
                #expect(error.code == .secretFound)
                return error.message.split(separator: " ").first.map(String.init)
            }
            return nil
        }
        #expect(try told([]) == ".env")
        #expect(try told([".env"]) == ".env[1]")
        #expect(try told(["./.env", ".env[1]"]) == "d/.envrc")
        #expect(try told([], file: "# ours\n.env*\n") == "d/.envrc")
        #expect(try told(["d"], file: ".env*\r\n") == "test/.env")
        #expect(try told(["d/", "test/.env"], file: ".env*") == "test/keys/.env.example")
        #expect(try told(["test/keys/*"], file: ".env*\n/d/.envrc\ntest/.env") == nil)
        #expect(try told([], file: "**/.env*\n") == nil)
        #expect(try told(["*"]) == nil)
        #expect(try told([""]) == ".env")
        #expect(try told(["./"]) == ".env")
        let folder = try Self.made(script)
        #expect(throws: Never.self) { try Self.scan(folder, SourceTree.ScanOptions(scanSecrets: false)) }
    }

    @Test func whoseContentIsLookedAt() throws {
        let folder = try Self.made("mkdir keys; touch a keys/a keys/b; echo 'keys/a' > .capsuleallow")
        let tree = try SourceTree.scan(folder.path, kind: .app, options: SourceTree.ScanOptions(allowSecrets: ["a"]))
        #expect(tree.items.filter { $0.kind != .directory }.map { tree.scans($0.path) } == [false, false, true])
        let silent = try SourceTree.scan(folder.path, kind: .app, options: SourceTree.ScanOptions(scanSecrets: false))
        #expect(!silent.scans("keys/b"))
    }
}
