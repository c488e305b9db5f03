import CapsuleFormat
import MeshCore
import Testing

/// `.capsuleignore` is held against git itself: the same rules in `.gitignore`, the same paths.
@Suite struct IgnoreRulesTests {
    static let files = [
        "a", "a.b", "c.o", "foo", "FOO", ".hidden", "a b", "tail ", "#hash", "!bang", "back\\slash", "[x]", "a]", "a-z", "star*", "café", "1", "x^y",
        "dir/a", "dir/b.o", "dir/sub/a", "dir/sub/c.o", "dir/sub/deep/foo", "foo.d/a", "foo.d/bar/a", "foo.d/bar/baz/a", "out/a", "src/out/a", "src/x/out/b", "a.d/b",
        "x/y/z", "x/z", "xyz", "xz", "x/y/y/z", "ab/cd/ef", "ab/ef", "b/a/b", "b/b",
    ]

    static let cases = [
        "a", "/a", "a/", "*", "*\n!a", "*\n!*/\n!*.o", "*.o", "!*.o", "*.o\n!c.o", "*.o\n!dir/", "dir", "dir/", "dir/*", "/dir/*\n!/dir/sub", "dir/**", "dir/**/a", "**/a", "**/sub", "**",
        "**/", "/**", "a/**", "foo.d/**/a", "foo.d/*/a", "x/**/z", "x/**z", "x**z", "x*z", "x/*/z", "x/***/z", "**/**/z", "?", "??", "/?", "[ab]", "[!ab]", "[^ab]", "[a-c]", "[]a]", "[]-a]", "[a-]",
        "[!]a]", "[a", "[", "\\[x]", "[[]x]", "[\\]]", "[[:digit:]]", "[[:upper:]]*", "[[:alpha:]][[:alpha:]]", "[[:bogus:]]", "[[:alpha]", "[a[:digit:]]", "#hash", "\\#hash", "!bang", "\\!bang",
        "back\\slash", "back\\\\slash", "star\\*", "star[*]", "a\\", "tail ", "tail\\ ", "a   ", "a\t", "a b", "a\\ b", " a", "", "/", "//", "\n\n", "a\r", "a\r\nb\r", "\u{feff}a", "café", "caf?", "caf??",
        "foo.d/bar", "/foo.d/bar/", "bar", "bar/baz", "bar/", "./a", "dir/./a", "dir//a", "*/a", "*/*/a", "**/out", "out", "out/", "/out", "src/**/out", "src/*/", "x/y", "x/y/", "a*/", "*/sub/", "a.d/*\n!a.d/b",
        "*/\n!/dir/", "dir/sub\n!dir/sub/a", "foo\n!foo", "!foo\nfoo", "FOO", "[F]OO", "x?z", "x[/]z", "x[!a]z", "dir/[!a]*", "ab/**/ef", "*b/ef", "b/", "b/b", "/b/b", "**b", "**.o", "a**", "\\a", "\\*",
    ]

    /// One folder with the rules of each case in it, so that one call to git answers all.
    static func compare(_ rules: [[(folder: String, text: String)]], names: [String] = files) throws {
        let folder = try TemporaryFolder()
        for (i, files) in rules.enumerated() {
            let base = folder.file("\(i)")
            for name in names {
                try Files.makeDirectory(Files.parent(of: base + "/" + name))
                _ = try OpenFile(creating: base + "/" + name)
            }
            for (place, text) in files {
                for name in [".capsuleignore", ".gitignore"] { _ = try folder.write(Array(text.utf8), to: "\(i)/\(place)\(name)") }
            }
        }
        var expected: [Set<String>] = [], list: [UInt8] = []
        for i in rules.indices {
            let all = try SourceTree.scan(folder.file("\(i)"), kind: .app, options: SourceTree.ScanOptions(applyIgnoreRules: false)).items.map(\.path)
                .filter { !$0.hasSuffix(".gitignore") && !$0.hasSuffix(".capsuleignore") }
            expected.append(Set(all))
            for path in all { list += Array("\(i)/\(path)".utf8) + [0] }
        }
        let input = try folder.write(list, to: "list")
        let git = "cd \(folder.path) && export HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 && git init -q . && (git check-ignore --no-index -z --stdin < \(input); true)"
        let (status, output) = try shell(git)
        #expect(status == 0, "\(output)")
        for line in output.utf8.split(separator: 0) {
            let path = String(Substring(line)), slash = try #require(path.firstIndex(of: "/"))
            expected[try #require(Int(path[..<slash]))].remove(String(path[path.index(after: slash)...]))
        }
        for i in rules.indices {
            let seen = Set(try SourceTree.scan(folder.file("\(i)"), kind: .app, options: SourceTree.ScanOptions()).items.map(\.path).filter { !$0.hasSuffix(".gitignore") })
            #expect(seen == expected[i], "\(rules[i].map { "\($0.folder): \($0.text.debugDescription)" }): only here \(seen.subtracting(expected[i])), only git \(expected[i].subtracting(seen))")
        }
    }

    @Test func asGitDoes() throws { try Self.compare(Self.cases.map { [("", $0)] }) }

    /// Where git does not do what its manual says (“other consecutive asterisks are considered regular asterisks”): it takes
    /// `ab**/ef` for `ab`, then `**/ef`. Here the manual holds.
    @Test func asGitsManualSays() throws {
        let folder = try SourceTreeTests.made("mkdir -p ab/cd abc; touch ab/ef ab/cd/ef abc/ef; printf 'ab**/ef\n' > .capsuleignore")
        #expect(try SourceTreeTests.scan(folder).map(\.path) == ["ab", "ab/cd", "ab/cd/ef", "abc"])
    }

    @Test func deeperFilesGoFirst() throws {
        try Self.compare([
            [("", "*.o"), ("dir/", "!*.o")], [("", "!a"), ("dir/", "a")], [("dir/", "/a")], [("dir/", "sub/a")], [("dir/", "a"), ("dir/sub/", "!a")], [("", "dir/"), ("dir/", "!a")],
            [("dir/sub/", "*"), ("dir/", "!a")], [("", "dir/sub"), ("dir/", "!sub")], [("dir/", "/sub/")], [("dir/", "dir")], [("", "sub/a"), ("dir/", "sub/a")],
        ])
    }

    @Test func asGitDoesWithRandomPatterns() throws {
        var random = SplitMix(seed: 20_261_124)
        let pieces = ["a", "b", "x", "z", "c.o", "*", "*", "**", "**/", "/", "/", "?", "[ab]", "[!a]", "[a-z]", "\\a", "!", ".", " ", "dir", "sub", "out", "[", "]", "\\", "-"]
        let rules = (0..<400).map { _ in
            (0...Int(random.next() % 2)).map { _ in (0...Int(random.next() % 5)).map { _ in pieces[Int(random.next() % UInt64(pieces.count))] }.joined() }.joined(separator: "\n")
        }
        let names = ["a", "b", "ab", "c.o", "x", "dir/a", "dir/sub/b", "dir/sub/c.o", "out/a", "z/out/x/b", "az/bz", "az/a/b", "x-z", "a]"]
        try Self.compare(rules.map { [("", $0)] }, names: names)
    }

    /// A pattern costs its length times the path's, also where matching by trial and error would take for ever.
    @Test(.timeLimit(.minutes(1))) func hostilePatterns() throws {
        let folder = try TemporaryFolder()
        _ = try OpenFile(creating: folder.file(String(repeating: "a", count: 250)))
        let pattern = String(repeating: "*a", count: 100) + "b\n" + String(repeating: "**/", count: 200) + "b\n" + String(repeating: "a*", count: 2000) + "\n"
        _ = try folder.write(Array(pattern.utf8), to: ".capsuleignore")
        #expect(try SourceTree.scan(folder.path, kind: .app, options: SourceTree.ScanOptions()).items.count == 1)
    }

    @Test func filesThatAreNoRules() throws {
        let long = Array(String(repeating: "a", count: 4097).utf8), many = Array(String(repeating: "a\n", count: 10_000).utf8)
        for (name, make) in [
            ("a pipe", "mkfifo .capsuleignore"), ("a link", "echo a > x; ln -s x .capsuleignore"), ("a folder", "mkdir .capsuleignore"),
            ("a pipe below", "mkdir d; mkfifo d/.capsuleignore"), ("a pipe of secrets", "mkfifo .capsuleallow"), ("a link to secrets", "ln -s /etc/passwd .capsuleallow"),
        ] {
            let folder = try TemporaryFolder()
            #expect(try shell("cd \(folder.path) && \(make)").status == 0)
            let error = #expect(throws: MeshError.self, "\(name)") { try SourceTree.scan(folder.path, kind: .app, options: SourceTree.ScanOptions()) }
            #expect(error?.code == .ignoreInvalid && error?.isClearRefusal == true && error?.message.contains(".capsule") == true, "\(name)")
        }
        for bytes in [long, many, [UInt8](repeating: 0x0a, count: 2 << 20)] {
            let folder = try TemporaryFolder()
            _ = try folder.write(bytes, to: ".capsuleignore")
            let error = #expect(throws: MeshError.self) { try SourceTree.scan(folder.path, kind: .app, options: SourceTree.ScanOptions()) }
            #expect(error?.code == .ignoreInvalid && error?.isClearRefusal == true)
        }
    }
}
