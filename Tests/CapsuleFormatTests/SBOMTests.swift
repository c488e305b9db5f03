import CapsuleFormat
import Glibc
import MeshCore
import Signing
import Testing

/// A tree whose files are in memory, and the SBOM of a capsule with it.
struct ListedTree {
    let tree: TreeIndex
    let files: [String: [UInt8]]

    init(_ files: [(String, String)], links: [(String, String)] = []) throws { try self.init(bytes: files.map { ($0.0, Array($0.1.utf8)) }, links: links) }

    init(bytes files: [(String, [UInt8])], links: [(String, String)] = []) throws {
        var entries: [String: TreeEntry] = [:]
        for (path, bytes) in files {
            entries[path] = TreeEntry(path: path, mode: 0o644, content: .file(size: Int64(bytes.count), sha256: Digest.of(bytes)))
        }
        for (path, target) in links { entries[path] = TreeEntry(path: path, mode: 0o777, content: .link(target: target)) }
        for path in entries.keys {
            var parts = path.split(separator: "/").dropLast()
            while !parts.isEmpty {
                let folder = parts.joined(separator: "/")
                if entries[folder] == nil { entries[folder] = TreeEntry(path: folder, mode: 0o755, content: .directory) }
                parts.removeLast()
            }
        }
        func key(_ path: String) -> [UInt8] { path.utf8.map { $0 == UInt8(ascii: "/") ? 0 : $0 } }
        tree = try TreeIndex(entries: entries.values.sorted { key($0.path).lexicographicallyPrecedes(key($1.path)) }, kind: .app)
        self.files = Dictionary(uniqueKeysWithValues: files)
    }

    static let digest = Digest.of(Array("a capsule".utf8))

    static func manifest(_ change: [String: JSONValue] = [:]) throws -> Manifest {
        var members: [String: JSONValue] = ["id": "urn:oursynth:app:sample@1.0.0-rc.1+b.5", "name": "Sample", "version": "1.0.0-rc.1+b.5", "app": ["framework": "static"]]
        members.merge(change) { _, new in new }
        return try Manifest(.object(members))
    }

    func document(_ manifest: Manifest? = nil) throws -> [UInt8] {
        let manifest = try manifest ?? Self.manifest()
        let wanted = Set(SBOM.wantedPaths(in: tree))
        return try SBOM.document(for: manifest, digest: Self.digest, tree: tree) { path throws(MeshError) in
            guard wanted.contains(path), let bytes = files[path] else { throw MeshError(.fileNotFound, "“\(path)” was not announced") }
            return bytes
        }
    }

    func json(_ manifest: Manifest? = nil) throws -> JSONValue { try JSONValue.parseCanonical(document(manifest), bytesMax: Limits.sbomBytesMax) }
}

extension JSONValue {
    var comment: String { self["comment"]?.string ?? "" }
    /// `purl licence relationship` of each package but the capsule.
    var told: [String] {
        var relations: [String: String] = [:]
        for item in self["relationships"]?.array ?? [] { relations[item["relatedSpdxElement"]?.string ?? ""] = item["relationshipType"]?.string }
        return (self["packages"]?.array ?? []).dropFirst().map { package in
            let license = package["licenseDeclared"]?.string ?? "none"
            let words = [package["externalRefs"]?[0]?["referenceLocator"]?.string ?? "", license == "NOASSERTION" ? package["licenseComments"]?.string ?? "-" : license,
                         relations[package["SPDXID"]?.string ?? ""] ?? ""]
            return words.joined(separator: " | ")
        }
    }
}

@Suite struct SBOMTests {
    static let dpkg = """
        Package: adduser
        Status: install ok installed
        Maintainer: Debian Adduser Developers <adduser@packages.debian.org>
        Architecture: all
        Version: 3.134
        Description: add and remove users and groups
         Version: 9 is no field
        
        Package: g++-12
        Status: install ok installed
        Architecture: amd64
        Version: 4:12.2.0-14+deb12u1~x
        
        Package: gone
        Status: deinstall ok config-files
        Version: 1

        """
    static let lock3 = """
        {"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": {
          "": {"name": "app", "version": "1.0.0", "license": "MIT"},
          "node_modules/a": {"version": "1.2.3", "resolved": "https://registry.npmjs.org/a/-/a-1.2.3.tgz", "license": "MIT"},
          "node_modules/@s/b": {"version": "2.0.0-beta.1", "license": "(MIT OR Apache-2.0)", "dev": true},
          "node_modules/a/node_modules/@s/b": {"version": "1.0.0", "license": "SEE LICENSE IN LICENSE"},
          "node_modules/alias": {"name": "real", "version": "5.0.0", "ratio": 0.5},
          "node_modules/git": {"version": "1.0.0", "resolved": "git+ssh://git@example.org/x.git#abc"},
          "node_modules/linked": {"link": true, "resolved": "packages/linked"}, "packages/linked": {"version": "1.0.0"},
          "node_modules/filed": {"version": "1.0.0", "resolved": "file:../x.tgz"}, "node_modules/broken": {"resolved": "https://x"}}}
        """
    static let lock1 = """
        {"lockfileVersion": 1, "dependencies": {
          "a": {"version": "1.2.3", "dependencies": {"inner": {"version": "0.1.0"}}}, "b": {"version": "npm:real@5.0.0"}, "c": {"version": "git+https://example.org/c.git#0a1b"},
          "d": {"version": "https://example.org/d.tgz"}, "e": {"version": "file:../e"}}}
        """
    static let poetry = """
        # This file is automatically @generated by Poetry 1.8.2
        [[package]]
        name = "Flask_Login"
        version = "0.6.3"
        description = "a [bracket \\" in it"
        files = [
            {file = "x-1.whl", hash = "sha256:00"},
            {file = "version = \\"9\\"", hash = "]"},
        ]

        [package.dependencies]
        version = "8"

        [[package]]
        name = "own"
        version = "1"

        [package.source]
        type = "directory"
        url = "."

        [[package]]
        name = 'zope.interface'
        version = '6.0'
        notes = \"\"\"
        [[package]]
        name = "no"
        \"\"\"

        [metadata]
        name = "no"
        """
    static let uv = """
        version = 1
        requires-python = ">=3.12"

        [[package]]
        name = "app"
        version = "0.1.0"
        source = { virtual = "." }

        [[package]]
        name = "anyio"
        version = "4.4.0"
        source = { registry = "https://pypi.org/simple" }
        sdist = { url = "https://x/anyio.tar.gz", hash = "sha256:00", size = 163930 }
        wheels = [
            { url = "https://x", size = 1 },
        ]
        """

    @Test func aCapsuleWithoutLists() throws {
        let json = try ListedTree([("index.html", "<p>")]).json()
        #expect(json["spdxVersion"] == "SPDX-2.3" && json["dataLicense"] == "CC0-1.0" && json["SPDXID"] == "SPDXRef-DOCUMENT" && json["name"] == "sample@1.0.0-rc.1+b.5")
        #expect(json["documentNamespace"] == .string("urn:oursynth:capsule:\(ListedTree.digest)/sbom"))
        #expect(json["creationInfo"] == ["created": "1980-01-01T00:00:00Z", "creators": ["Tool: oursynth-capsule"], "licenseListVersion": "3.27"])
        let capsule = try #require(json["packages"]?[0])
        #expect(capsule["checksums"] == [["algorithm": "SHA256", "checksumValue": .string(ListedTree.digest.hex)]] && capsule["filesAnalyzed"] == false)
        #expect(capsule["externalRefs"]?[0]?["referenceLocator"] == .string("pkg:generic/sample@1.0.0-rc.1%2Bb.5?checksum=sha256:\(ListedTree.digest.hex)"))
        #expect(capsule["licenseDeclared"] == "LicenseRef-OSL-3.0-or-compatible" && json["hasExtractedLicensingInfos"]?.array?.count == 1)
        #expect(json["relationships"] == [["spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Capsule"]])
        let dated = try ListedTree([]).json(ListedTree.manifest(["createdAt": 1_764_000_000_999, "rights": ["license": "mit"], "tree": "rootfs"]))
        #expect(dated["creationInfo"]?["created"] == "2025-11-24T16:00:00Z" && dated["packages"]?[0]?["licenseDeclared"] == "MIT" && dated["hasExtractedLicensingInfos"] == nil)
        #expect(try ListedTree([]).json(ListedTree.manifest(["rights": ["license": "ask Ada"]]))["packages"]?[0]?["licenseComments"] == "stated as “ask Ada”")
        #expect(try ListedTree([]).json(ListedTree.manifest(["rights": ["license": "MIT+"]]))["packages"]?[0]?["licenseDeclared"] == "NOASSERTION")
    }

    @Test func debian() throws {
        let json = try ListedTree([("var/lib/dpkg/status", Self.dpkg), ("etc/os-release", "NAME=\"Ubuntu\"\nID=\"ubuntu\"\n")]).json()
        #expect(json.told == ["pkg:deb/ubuntu/adduser@3.134?arch=all | - | CONTAINS", "pkg:deb/ubuntu/g%2B%2B-12@4:12.2.0-14%2Bdeb12u1~x?arch=amd64 | - | CONTAINS"])
        // A root file system in a folder, whose os-release is a link as in Debian; and a distroless image.
        let other = try ListedTree([("x/var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12\nArchitecture: amd64\n"), ("x/var/lib/dpkg/status.d/base.md5sums", "00  a"),
                                    ("x/usr/lib/os-release", "ID=raspbian\n"), ("var/lib/dpkg/status-old", "Package: old"), ("my-var/lib/dpkg/status", "Package: a\nStatus: a b installed\nVersion: 1")],
                                   links: [("x/etc/os-release", "../usr/lib/os-release")])
        #expect(try other.json().told == ["pkg:deb/raspbian/base-files@12?arch=amd64 | - | CONTAINS"])
        #expect(SBOM.wantedPaths(in: other.tree) == ["x/usr/lib/os-release", "x/var/lib/dpkg/status.d/base"])
    }

    @Test func npm() throws {
        let json = try ListedTree([("package-lock.json", Self.lock3), ("package.json", "{\"name\":\"app\"}"), ("node_modules/a/package.json", "{\"name\":\"a\",\"version\":\"9\"}")]).json()
        #expect(json.told == [
            "pkg:npm/%40s/b@1.0.0 | stated as “SEE LICENSE IN LICENSE” | DEPENDS_ON", "pkg:npm/%40s/b@2.0.0-beta.1 | (MIT OR Apache-2.0) | DEPENDS_ON", "pkg:npm/a@1.2.3 | MIT | CONTAINS",
            "pkg:npm/git@1.0.0?vcs_url=git%2Bssh://git%40example.org/x.git%23abc | - | DEPENDS_ON", "pkg:npm/real@5.0.0 | - | DEPENDS_ON",
        ])
        #expect(json.comment.hasSuffix("\npackage-lock.json: entries passed over for want of a usable name or version: 1"))
        let old = try ListedTree([("web/package-lock.json", Self.lock1), ("web/node_modules/a/node_modules/inner/index.js", "")]).json()
        #expect(old.told == [
            "pkg:npm/a@1.2.3 | - | CONTAINS", "pkg:npm/c@0a1b?vcs_url=git%2Bhttps://example.org/c.git%230a1b | - | DEPENDS_ON", "pkg:npm/inner@0.1.0 | - | CONTAINS", "pkg:npm/real@5.0.0 | - | DEPENDS_ON",
        ])
        // Without a lock, what is installed says what it is.
        let bare = try ListedTree([
            ("node_modules/@s/b/package.json", #"{"name": "@s/b", "version": "1.0.0", "license": {"type": "ISC"}}"#), ("node_modules/@s/b/package-lock.json", Self.lock3),
            ("node_modules/a/package.json", "\u{feff}" + #"{"name": "a", "version": "1.2.3", "licenses": [{"type": "mit"}, {"type": "GPL-2.0"}], "x": -1.5e3}"#), ("node_modules/a/lib/package.json", "{}"),
            ("node_modules/.bin/x/package.json", "{}"), ("node_modules/old/package.json", #"{"name": "old", "version": "1.0.0", "license": "BSD"}"#), ("package.json", "{}"),
        ])
        #expect(try bare.json().told == ["pkg:npm/%40s/b@1.0.0 | ISC | CONTAINS", "pkg:npm/a@1.2.3 | MIT OR GPL-2.0 | CONTAINS", "pkg:npm/old@1.0.0 | stated as “BSD” | CONTAINS"])
        #expect(SBOM.wantedPaths(in: bare.tree) == ["node_modules/@s/b/package.json", "node_modules/a/package.json", "node_modules/old/package.json"])
    }

    @Test func python() throws {
        let requirements = "# pinned\nFlask==3.0.3 \\\n    --hash=sha256:00\nrequests[socks] == 2.32.0 ; python_version > '3'\r\nnumpy>=1\n-r other.txt\npandas==2.*\n\nsix===1.16\t# why\n"
        let json = try ListedTree([
            ("requirements.txt", requirements), ("poetry.lock", Self.poetry), ("uv.lock", Self.uv),
            ("Pipfile.lock", #"{"_meta": {}, "default": {"attrs": {"version": "==23.2.0"}, "local": {"path": "."}}, "develop": {"pytest": {"version": "==8.0.0"}}}"#),
            ("venv/lib/python3/site-packages/Jinja2-3.1.4.dist-info/METADATA", "Metadata-Version: 2.4\nName: Jinja2\nVersion: 3.1.4\nLicense-Expression: BSD-3-Clause\nLicense: x\n\nName: no\n"),
            ("venv/lib/python3/site-packages/six-1.dist-info/METADATA", "Name: six\nVersion: 1.16\nLicense: MIT\n"), ("venv/lib/python3/site-packages/six/requirements.txt", "no==1\n"),
        ]).json()
        #expect(json.told == [
            "pkg:pypi/anyio@4.4.0 | - | DEPENDS_ON", "pkg:pypi/attrs@23.2.0 | - | DEPENDS_ON", "pkg:pypi/flask-login@0.6.3 | - | DEPENDS_ON", "pkg:pypi/flask@3.0.3 | - | DEPENDS_ON",
            "pkg:pypi/jinja2@3.1.4 | BSD-3-Clause | CONTAINS", "pkg:pypi/pytest@8.0.0 | - | DEPENDS_ON", "pkg:pypi/requests@2.32.0 | - | DEPENDS_ON", "pkg:pypi/six@1.16 | MIT | CONTAINS",
            "pkg:pypi/zope.interface@6.0 | - | DEPENDS_ON",
        ])
        #expect(json.comment.split(separator: "\n").dropFirst() == [
            "Pipfile.lock: entries passed over for want of a usable name or version: 1", "requirements.txt: lines passed over for want of an exact version: 2",
            "requirements.txt: entries passed over for want of a usable name or version: 1",
        ])
    }

    static func everything() throws -> ListedTree {
        let packages = (0..<40).map { #""node_modules/p\#($0)": {"version": "1.\#($0).0", "license": "\#(["MIT", "LicenseRef-p", "Apache-2.0+", "GPL-2.0-with-classpath-exception", "odd \\u001b one", "DocumentRef-a:LicenseRef-b"][$0 % 6])"}"# }
        return try ListedTree([
            ("var/lib/dpkg/status", dpkg), ("package-lock.json", lock3), ("old/package-lock.json", lock1), ("poetry.lock", poetry), ("uv.lock", uv), ("broken/package-lock.json", "{"),
            ("many/package-lock.json", "{\"packages\": {\(packages.joined(separator: ", "))}}"),
        ])
    }

    @Test func theSameTreeGivesTheSameBytes() throws {
        let first = try Self.everything().document()
        for _ in 0..<5 { #expect(try Self.everything().document() == first) }
        #expect(Digest.of(first).hex == "bd2090a4b56d537724a6c4c4dbea87c81580cc530257e211c2b8685e6806ba8b", "another form needs a word in docs/formats/sbom.md")
    }

    @Test(.enabled(if: getenv("CAPSULE_JUDGES") != nil, "SKIPPED: scripts/test installs the Python judges"))
    func spdxToolsAcceptIt() throws {
        let python = try #require(getenv("CAPSULE_JUDGES").map { String(cString: $0) })
        let folder = try TemporaryFolder()
        let samples = [try Self.everything(), try ListedTree([]), try ListedTree([("requirements.txt", "a==1")])]
        var files: [String] = []
        for (i, sample) in samples.enumerated() { files.append(try folder.write(sample.document(), to: "\(i).json")) }
        files.append(try folder.write(ListedTree([]).document(ListedTree.manifest(["rights": ["license": "LicenseRef-own AND MIT"]])), to: "own.json"))
        // And what comes of lists that were damaged.
        var dice = Dice(state: 6)
        for i in 0..<12 { files.append(try folder.write(Self.damaged(&dice).document(), to: "damaged-\(i).json")) }
        let judge = String(#filePath.dropLast("CapsuleFormatTests/SBOMTests.swift".count)) + "Judges/sbom.py"
        let verdict = try shell("\(python) \(judge) \(files.joined(separator: " "))")
        #expect(verdict.status == 0 && verdict.output.count { $0 == "\n" } == 16, "\(verdict.output.suffix(2000))")
    }

    /// The commands on docs/sbom.md, with stock tools.
    @Test(.enabled(if: (try? shell("zstd --version && jq --version && tar --version && base64 --version").status) == 0, "SKIPPED: zstd or jq is not installed"))
    func itComesOutOfACapsFile() throws {
        let folder = try TemporaryFolder(), sample = try SampleCapsule.small()
        let document = try SBOM.document(for: sample.capsule.manifest, digest: sample.capsule.digest, tree: sample.capsule.tree.index) { _ throws(MeshError) in [] }
        let statement = try SBOM.statement(document, about: sample.capsule.digest)
        let envelope = Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: .generate())
        let referrer = ReferrerDocument(bytes: envelope.bytes, artifactType: Statement.payloadType)
        try sample.writeCaps(to: folder.file("app.caps"), referrers: SampleCapsule.referrers() + [referrer])
        let page = String(#filePath.dropLast("Tests/CapsuleFormatTests/SBOMTests.swift".count)) + "docs/sbom.md"
        let text = String(decoding: try Files.read(page, bytesMax: 1 << 20), as: UTF8.self)
        let commands = try #require(text.split(separator: "```\n", omittingEmptySubsequences: false).dropFirst().first)
        let script = try folder.write(Array(commands.utf8), to: "script")
        let done = try shell("cd \(folder.path) && sh \(script)")
        let found = try JSONValue.parse(try Files.read(folder.file("sbom.spdx.json"), bytesMax: Limits.sbomBytesMax))
        #expect(found.canonicalBytes == document, "\(done.output.prefix(2000))")
    }

    // MARK: What strangers write

    @Test func whatCannotBeReadIsSaid() throws {
        let deep = String(repeating: "[", count: 100_000)
        let json = try ListedTree([
            ("a/package-lock.json", "no"), ("b/package-lock.json", "[]"), ("c/package-lock.json", "{\"packages\": []}"), ("d/package-lock.json", deep), ("e/Pipfile.lock", "{\"default\": 1}"),
            ("f/var/lib/dpkg/status", "\0\0:\n\n:\nPackage\nStatus: installed\n"), ("g/poetry.lock", "[[package]]\nname = \"a\\u0000\"\nversion = [[[\n[[package]]\n"),
            ("h/x.dist-info/METADATA", "Name: \u{1b}[31m\nVersion: 1\n"), ("i/requirements.txt", "a b==1\nc==\u{1b}\n==\n/==1\n../x==1\n"), ("j/node_modules/x/package.json", "{\"name\": \"../../x\", \"version\": \"1\"}"),
        ]).json()
        #expect(json.told.isEmpty)
        let notes = json.comment.split(separator: "\n").dropFirst()
        #expect(notes.map { $0.prefix(1) } == ["a", "b", "d", "f", "g", "h", "i", "j"], "\(notes)")
        #expect(!json.comment.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
        let invalid = try ListedTree(bytes: [("requirements.txt", [0x61, 0xff, 0x0a]), ("uv.lock", [0xff]), ("package-lock.json", [0x7b, 0xff, 0x7d])]).json()
        #expect(invalid.comment.count { $0 == "\n" } == 3)
    }

    static func damaged(_ dice: inout Dice) throws -> ListedTree {
        let metadata = "Metadata-Version: 2.4\nName: Jinja2\nVersion: 3.1.4\nLicense-Expression: BSD-3-Clause OR LicenseRef-x\n"
        var lists = [("package-lock.json", lock3), ("b/package-lock.json", lock1), ("poetry.lock", poetry), ("uv.lock", uv), ("var/lib/dpkg/status", dpkg), ("a.dist-info/METADATA", metadata),
                     ("requirements.txt", "Flask==3.0.3 \\\n --hash=x\nrequests[socks] == 2 ; y\n"), ("Pipfile.lock", #"{"default": {"attrs": {"version": "==23.2.0"}}}"#)]
            .map { ($0.0, Array($0.1.utf8)) }
        for i in lists.indices {
            for _ in 0..<Int.random(in: 1...4, using: &dice) {
                let place = Int.random(in: 0..<max(1, lists[i].1.count), using: &dice)
                switch Int.random(in: 0..<4, using: &dice) {
                case 0: lists[i].1[place] = UInt8.random(in: 0...255, using: &dice)
                case 1: lists[i].1[place] = Array("\"\\{}[]:,=\n #'@/".utf8).randomElement(using: &dice) ?? 0
                case 2: lists[i].1.removeSubrange(place..<min(lists[i].1.count, place + Int.random(in: 1...20, using: &dice)))
                default: lists[i].1.insert(contentsOf: lists[i].1[place..<min(lists[i].1.count, place + 30)], at: place)
                }
                if lists[i].1.isEmpty { lists[i].1 = [0x0a] }
            }
        }
        return try ListedTree(bytes: lists)
    }

    @Test func damagedListsMakeADocumentAllTheSame() throws {
        var dice = Dice(state: 7)
        for _ in 0..<1500 {
            let json = try Self.damaged(&dice).json()
            let packages = json["packages"]?.array ?? []
            let purls = Set(packages.compactMap { $0["externalRefs"]?[0]?["referenceLocator"]?.string }), ids = Set(packages.compactMap { $0["SPDXID"]?.string })
            if purls.count != packages.count || ids.count != packages.count || json["relationships"]?.array?.count != packages.count { Issue.record("\(json.canonicalText)") }
        }
    }

    /// Only what the reader throws comes through: a chunk that is gone is no malformed list.
    @Test func errorsOfTheReaderComeThrough() throws {
        let listed = try ListedTree([("uv.lock", Self.uv)])
        let manifest = try ListedTree.manifest()
        let error = #expect(throws: MeshError.self) {
            try SBOM.document(for: manifest, digest: ListedTree.digest, tree: listed.tree) { _ throws(MeshError) in throw MeshError(.digestMismatch, "gone") }
        }
        #expect(error?.code == .digestMismatch)
    }

    @Test func listsAreBounded() throws {
        let large = TreeEntry(path: "package-lock.json", mode: 0o644, content: .file(size: Int64(Limits.sbomFileBytesMax) + 1, sha256: Digest.of([1])))
        let tree = try TreeIndex(entries: [large] + (0..<9).flatMap { i in
            [TreeEntry(path: "q\(i)", mode: 0o755, content: .directory),
             TreeEntry(path: "q\(i)/uv.lock", mode: 0o644, content: .file(size: Int64(Limits.sbomFileBytesMax), sha256: Digest.of([UInt8(i), 2])))]
        }, kind: .app)
        #expect(SBOM.wantedPaths(in: tree) == (0..<8).map { "q\($0)/uv.lock" })
        let bytes = try SBOM.document(for: ListedTree.manifest(), digest: ListedTree.digest, tree: tree) { _ throws(MeshError) in [] }
        let comment = try JSONValue.parse(bytes).comment
        #expect(comment.contains("package-lock.json has 8388609 bytes") && comment.hasSuffix("package lists passed over, because there are too many: 1"))
        // Remarks are bounded as well.
        let noisy = try ListedTree((0..<60).map { ("d\($0)/package-lock.json", "x") }).json()
        #expect(noisy.comment.count { $0 == "\n" } == 51 && noisy.comment.hasSuffix("\nmore remarks, left out: 10"))
    }

    /// The largest document still fits a signed envelope, and says how much of it is missing.
    @Test func whatIsTooMuchIsLeftOut() throws {
        let lines = (0..<21_000).map { "some-package-with-a-rather-long-name-\($0)==1.0.\($0)\n" }.joined()
        let document = try ListedTree([("requirements.txt", lines)]).document()
        #expect(document.count <= Limits.sbomBytesMax && document.count > Limits.sbomBytesMax - 70_000)
        let statement = try SBOM.statement(document, about: ListedTree.digest)
        let json = try #require(SBOM.document(in: statement))
        let written = try #require(json["packages"]?.array?.count) - 1
        #expect(written > 4000 && json["relationships"]?.array?.count == written + 1)
        #expect(json.comment.contains("\nPackages left out, because the document holds no more: \(21_000 - written)"))
        let envelope = Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: .generate())
        let read = try Envelope(parsing: envelope.bytes)
        #expect(try Statement(parsing: read.payload) == statement)
    }

    @Test func statements() throws {
        let document = try ListedTree([]).document()
        let statement = try SBOM.statement(document, about: ListedTree.digest)
        #expect(statement.predicateType == "https://spdx.dev/Document/v2.3" && statement.subjects.map(\.digest) == [ListedTree.digest])
        #expect(SBOM.document(in: statement)?.canonicalBytes == document)
        if case .some(let other) = SBOM.document(in: Statement(subjects: [], predicateType: "urn:x", predicate: [:])) { Issue.record("\(other)") }
        #expect(throws: MeshError.self) { try SBOM.statement([0x20] + document, about: ListedTree.digest) }
    }

    /// No two packages get the same id, whatever their names are reduced to.
    @Test func idsAreDistinct() throws {
        let json = try ListedTree([("requirements.txt", "a_b==1\na.b==1\na-b-1==2\na==b-1\na-b==1-2\na==b.1\n"), ("package-lock.json", #"{"packages": {"node_modules/@a/b": {"version": "1"}, "node_modules/-a-b": {"version": "1"}}}"#)]).json()
        let ids = (json["packages"]?.array ?? []).compactMap { $0["SPDXID"]?.string }
        #expect(ids.count == 9 && Set(ids).count == 9)
        #expect(ids.allSatisfy { $0.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d || $0 == 0x2e } })
    }
}
