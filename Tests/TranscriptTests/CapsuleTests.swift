import Foundation
import TestSupport
import Testing

/// Pack, verify, unpack, export, import, as a person types them.
@Suite struct CapsuleTests {
    static func digest(_ home: CommandLineHome, _ app: String) throws -> String { try #require(try home.json("pack", app)["digest"] as? String) }

    @Test func theSameFilesGiveTheSameDigestEverywhere() throws {
        let first = try CommandLineHome("first"), second = try CommandLineHome("second")
        let files = ["bin/run.sh": "#!/bin/sh\necho hi\n", "ünïcode/ß.txt": "x", "empty": "", "data/big": String(repeating: "0123456789abcdef", count: 40_000)]
        let a = try first.writeApp(files: files), b = try second.writeApp(files: files)
        for app in [a, b] { try Shell.sh("chmod 755 bin/run.sh && ln -s bin/run.sh start && mkdir -p hollow", directory: app) }
        let digest = try Self.digest(first, a)
        #expect(try Self.digest(second, b) == digest)
        // Times, owners, the umask and the order of creation are not part of it.
        try Shell.sh("find . -exec touch -h -d 2001-02-03 {} +; chown -R nobody . 2>/dev/null; find . -type f ! -name run.sh -exec chmod 600 {} +; chmod 700 bin/run.sh; find . -type d -exec chmod 700 {} +", directory: b)
        #expect(try Self.digest(second, b) == digest)
        try Shell.sh("umask 077; rm -rf ../copy; cp -rP . ../copy", directory: a)
        #expect(try Self.digest(first, first.folder.path + "/copy") == digest)
        // One byte is.
        try Shell.sh("printf y > ünïcode/ß.txt", directory: b)
        #expect(try Self.digest(second, b) != digest)
    }

    @Test func theSecondVersionAddsOnlyWhatChanged() throws {
        let home = try CommandLineHome("versions"), other = try CommandLineHome("versions-other"), folder = home.folder.path
        let app = try home.writeApp()
        // 8 MB that do not compress, in one large file and many small ones.
        try #require(try Shell.sh("head -c 6000000 /dev/urandom > large; mkdir small; for i in $(seq 100); do head -c 20000 /dev/urandom > small/$i; done", directory: app).succeeded)
        try #require(try home.run("pack", app, "-o", folder + "/1.caps").succeeded)
        _ = try home.writeApp(version: "2.0.0")
        // A hundred bytes put in in the middle, one small file changed, one new.
        try #require(try Shell.sh("(head -c 3000000 large; head -c 100 /dev/urandom; tail -c +3000001 large) > moved && mv moved large; head -c 20000 /dev/urandom > small/7; head -c 20000 /dev/urandom > small/new", directory: app).succeeded)
        try #require(try home.run("pack", app, "-o", folder + "/2.caps").succeeded)

        func bytes() throws -> Int { Int(try Shell.sh("cat '\(other.path)'/capsules/packs/*.pack | wc -c").trimmed) ?? 0 }
        try #require(try other.run("import", folder + "/1.caps").succeeded)
        let first = try bytes()
        try #require(try other.run("import", folder + "/2.caps").succeeded)
        let added = try bytes() - first
        // Two files of 20 kB, at most three chunks of at most 128 KiB around the place, and the second version's documents.
        #expect(first > 8_000_000 && added > 40_000 && added < 40_000 + 3 * 131_072 + 40_000, "\(added) bytes were added")
        print("two versions: \(first) bytes, then \(added) more")
        for version in ["1.0.0", "2.0.0"] { #expect(try other.run("verify", "note@" + version).status == 77) }
    }

    @Test(.enabled(if: Shell.has("openssl") && Shell.has("jq"), "SKIPPED: openssl or jq is not installed"))
    func opensslVerifiesTheSignature() throws {
        let home = try CommandLineHome("openssl")
        try #require(try home.run("pack", try home.writeApp(), "-o", home.folder.path + "/x.caps").succeeded)
        let checked = try Shell.sh("""
            set -e
            mkdir layout && zstd -dcq x.caps | tar -x -C layout
            for f in layout/blobs/sha256/*; do
              jq -er 'select(.payloadType? == "application/vnd.in-toto+json") | .payload' "$f" 2>/dev/null | base64 -d > payload; [ -s payload ] || continue
              jq -e '.predicateType == "urn:oursynth:attestation:signature:v1"' payload >/dev/null 2>&1 || continue
              jq -r '.signatures[0].sig' "$f" | base64 -d > sig
              # DSSE's pre-authentication encoding.
              printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(stat -c %s payload)" | cat - payload > pae
              openssl pkeyutl -verify -pubin -inkey home/keys/node.pub -rawin -in pae -sigfile sig
              printf x >> pae
              openssl pkeyutl -verify -pubin -inkey home/keys/node.pub -rawin -in pae -sigfile sig || echo "altered: refused"
            done
            """, directory: home.folder.path)
        #expect(checked.output.contains("Signature Verified Successfully") && checked.output.contains("altered: refused"), "\(checked.output)\(checked.error)")
    }

    @Test func stockToolsReadACapsFile() throws {
        let home = try CommandLineHome()
        let app = try home.writeApp(files: ["a/b/c.txt": "deep", String(repeating: "long-name-", count: 12) + "/x": "x", "ü": "umlaut"])
        try Shell.sh("mkdir hollow; ln -s page.txt link; chmod 755 a/b/c.txt", directory: app)
        let caps = home.folder.path + "/note.caps", out = home.folder.path
        try #require(try home.run("pack", app, "-o", caps, "--release").succeeded)

        let listed = try Shell.sh("zstd -dc note.caps | tar -t", directory: out)
        #expect(listed.succeeded)
        let names = listed.output.split(separator: "\n").map(String.init)
        #expect(names.contains("oci-layout") && names.contains("index.json") && names.contains { $0.hasPrefix("blobs/sha256/") } && names.contains { $0.hasPrefix("referrers/sha256-") })

        let copied = try Shell.run("skopeo", ["--tmpdir", out, "copy", "oci-archive:\(caps)", "dir:\(out)/oci"])
        #expect(copied.succeeded, "\(copied.error)")
        let manifest = try #require(try JSONSerialization.jsonObject(with: home.folder.read("oci/manifest.json")) as? [String: Any])
        #expect(manifest["artifactType"] as? String == "application/vnd.oursynth.capsule.v1")
        let layers = try #require(manifest["layers"] as? [[String: Any]])
        #expect(layers.map { $0["mediaType"] as? String ?? "" } == ["application/vnd.oursynth.capsule.index.v1+json", "application/vnd.oursynth.capsule.chunks.v1", "application/vnd.oci.image.layer.v1.tar"])

        // files.tar, taken apart by GNU tar, is what unpack writes, but for capsule.json.
        let tar = (layers[2]["digest"] as? String ?? "").dropFirst(7)
        try #require(try home.run("unpack", caps, out + "/unpacked").succeeded)
        try #require(try Shell.sh("mkdir tarred && tar -xpf oci/\(tar) -C tarred && sha256sum -c - <<< '\(tar)  oci/\(tar)'".replacing("<<<", with: "<<EOF\n").replacing("'", with: "") + "\nEOF", directory: out).succeeded)
        let difference = try Shell.sh("diff -r --no-dereference -x capsule.json unpacked tarred && (cd unpacked && find . ! -name capsule.json -printf '%P %y %m %l\\n' | sort) > u.txt && (cd tarred && find . -printf '%P %y %m %l\\n' | sort) > t.txt && diff u.txt t.txt", directory: out)
        #expect(difference.succeeded, "\(difference.output)\(difference.error)")
        // A person's check with jq and sha256sum.
        let index = (layers[0]["digest"] as? String ?? "").dropFirst(7)
        #expect(try Shell.sh("jq -r '.entries[] | select(.type == \"f\") | .sha256 + \"  unpacked/\" + .path' oci/\(index) | sha256sum -c --quiet", directory: out).succeeded)
        // Packed again, the unpacked folder is the same capsule.
        #expect(try Self.digest(home, out + "/unpacked") == Self.digest(home, app))
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] != nil, "SKIPPED: scripts/test installs the Python judges"))
    func securesystemslibVerifiesTheSignature() throws {
        let home = try CommandLineHome()
        let caps = home.folder.path + "/note.caps"
        let digest = try #require(try home.json("pack", try home.writeApp(), "-o", caps)["digest"] as? String)
        try #require(try Shell.sh("mkdir layout && zstd -dc note.caps | tar -x -C layout", directory: home.folder.path).succeeded)
        let python = ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] ?? "python3"
        let judged = try Shell.run(python, [Shell.repository + "/Tests/Judges/envelope.py", home.folder.path + "/layout", home.path + "/keys/node.pub", digest])
        #expect(judged.succeeded, "\(judged.output)\(judged.error)")
        #expect(judged.output.contains("verified") && judged.output.contains("flipped bit rejected"))
    }

    @Test func aStrangersCapsuleIsIntactButNotTrusted() throws {
        let author = try CommandLineHome("author"), stranger = try CommandLineHome("stranger")
        let caps = author.folder.path + "/note.caps"
        try author.run("pack", try author.writeApp(), "-o", caps)
        let verdict = try stranger.run("--json", "verify", caps)
        #expect(verdict.status == 77)
        #expect(try verdict.json()["ok"] as? Bool == true)
        #expect(try verdict.json()["trusted"] as? Bool == false)
        #expect(try stranger.run("verify", caps, "--trust", author.path + "/keys/node.pub").status == 0)
        try #require(try stranger.run("import", caps).succeeded)
        let refused = try stranger.run("--json", "unpack", "note", stranger.folder.path + "/out")
        #expect(refused.status == 77)
        #expect(!FileManager.default.fileExists(atPath: stranger.folder.path + "/out"))
        #expect(try stranger.run("build", "note").status == 77)
        #expect(try stranger.run("unpack", "note", stranger.folder.path + "/out", "--untrusted").succeeded)
        #expect(try stranger.run("keys", "trust", author.path + "/keys/node.pub", "--role", "publisher", "--scope", "note").succeeded)
        #expect(try stranger.run("verify", "note").status == 0)
    }

    /// The file carries the charter, the grants and the release: the root's public key alone is enough to believe it.
    @Test func aRootsKeyIsEnoughForAStranger() throws {
        let author = try CommandLineHome("author"), stranger = try CommandLineHome("stranger"), other = try CommandLineHome("other")
        let caps = author.folder.path + "/note.caps", again = stranger.folder.path + "/again.caps"
        // Signed by a key of its own, which the mesh knows by a grant.
        try #require(try author.run("keys", "new", "alice").succeeded)
        try #require(try author.run("keys", "trust", author.path + "/keys/alice.pub", "--role", "publisher", "--scope", "note").succeeded)
        try #require(try author.run("pack", try author.writeApp(), "--key", "alice", "--release", "-o", caps).succeeded)
        try #require(try other.run("init").succeeded)
        #expect(try stranger.run("verify", caps).status == 77)
        #expect(try stranger.run("verify", caps, "--trust", other.path + "/keys/root.pub").status == 77)
        let verdict = try stranger.json("verify", caps, "--trust", author.path + "/keys/root.pub")
        #expect(verdict["trusted"] as? Bool == true)
        #expect((verdict["reason"] as? String)?.contains("root") == true)
        // Passed on by someone of another mesh, it carries the same still.
        try #require(try stranger.run("import", caps).succeeded)
        try #require(try stranger.run("export", "note", "-o", again).succeeded)
        #expect(try other.run("verify", again, "--trust", author.path + "/keys/root.pub").status == 0)
    }

    @Test func keysAreMadeWithAndWithoutAPassphrase() throws {
        let home = try CommandLineHome()
        #expect(try home.json("keys", "new", "plain")["sealed"] as? Bool == false)
        #expect(try home.run("keys", "new", "sealed", "--passphrase-stdin", input: "correct horse\n").succeeded)
        #expect(try home.run("keys", "new", "plain").status == 73)
        let keys = try home.list("keys", "list")
        #expect(keys.first { $0["name"] as? String == "sealed" }?["sealed"] as? Bool == true)
        #expect(Set(keys.compactMap { $0["name"] as? String }) == ["node", "root", "plain", "sealed"])
    }

    @Test func unpackWritesAllOrNothing() throws {
        let home = try CommandLineHome()
        try home.run("pack", try home.writeApp())
        try home.folder.write("mine", to: "full/mine")
        let refused = try home.run("--json", "unpack", "note", home.folder.path + "/full")
        #expect(refused.status == 73)
        #expect(try FileManager.default.contentsOfDirectory(atPath: home.folder.path + "/full") == ["mine"])
        #expect(try home.run("unpack", "note", home.folder.path + "/fresh").succeeded)
        #expect(String(decoding: try home.folder.read("fresh/page.txt"), as: UTF8.self).hasPrefix("hello"))
    }

    /// Only what was asked for, from the store and straight from the file, which leaves the store as it was.
    @Test func partsOfACapsule() throws {
        let author = try CommandLineHome("author"), other = try CommandLineHome("other")
        let files = ["src/main.c": "int main;", "src/lib/a.c": "a", "src/lib/b.c": "b", "src-old/c.c": "c", "docs/readme.md": "read"]
        let app = try author.writeApp(files: files)
        try Shell.sh("mkdir -p \(app)/src/empty && : > \(app)/src/none && ln -s main.c \(app)/src/link")
        let caps = author.folder.path + "/note.caps"
        try #require(try author.run("pack", app, "-o", caps).succeeded)
        func listed(_ folder: String) throws -> [String] {
            try Shell.sh("find . -mindepth 1 -printf '%P%y ' | tr ' ' '\\n' | sort", directory: folder).output.split(separator: "\n").map(String.init)
        }
        for (home, ref) in [(author, "note"), (other, caps)] {
            func unpack(_ name: String, _ paths: [String]) throws -> (status: Int32, folder: String, output: String) {
                let folder = home.folder.path + "/" + name
                let result = try Shell.run(Shell.capsule, ["--json", "unpack", ref, folder, "--untrusted"] + paths.flatMap { ["--path", $0] }, environment: ["CAPSULE_HOME": home.path])
                return (result.status, folder, result.output)
            }
            let some = try unpack("some", ["src/lib", "page.txt", "capsule.json"])
            #expect(some.status == 0, "\(some.output)")
            #expect(try listed(some.folder) == ["capsule.jsonf", "page.txtf", "src/lib/a.cf", "src/lib/b.cf", "src/libd", "srcd"])
            let source = try unpack("source", ["src/"])
            #expect(try listed(source.folder) == ["src/emptyd", "src/lib/a.cf", "src/lib/b.cf", "src/libd", "src/linkl", "src/main.cf", "src/nonef", "srcd"])
            let all = try unpack("all", [])
            #expect(try Shell.sh("diff -r --no-dereference -x capsule.json \(app) \(all.folder)").succeeded)
            let missing = try unpack("missing", ["src/li"])
            #expect(missing.status == 64 && missing.output.contains("file_not_found") && !FileManager.default.fileExists(atPath: missing.folder))
        }
        // Nobody there trusts the author, and nothing was taken in.
        #expect(try other.run("unpack", caps, other.folder.path + "/no").status == 77)
        #expect(try other.list("ls").isEmpty)
    }

    @Test func secretsStopAPack() throws {
        let home = try CommandLineHome()
        let app = try home.writeApp(files: ["deploy/id": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==\n-----END OPENSSH PRIVATE KEY-----\n"])
        let result = try home.run("--json", "pack", app)
        #expect(result.status == 65 || result.status == 77)
        #expect(result.output.contains("deploy/id"))
        #expect(try home.list("ls").isEmpty)
        #expect(try home.run("pack", app, "--allow-secret", "deploy/id").succeeded)
    }

    @Test func sealedKeysNeedTheirPassphrase() throws {
        let home = try CommandLineHome()
        try #require(try home.run("keys", "new", "alice", "--passphrase-stdin", input: "correct horse\n").succeeded)
        let app = try home.writeApp()
        #expect(try home.run("--json", "pack", app, "--key", "alice").status == 64)
        #expect(try home.run("pack", app, "--key", "alice", "--passphrase-stdin", input: "wrong horse\n").status != 0)
        try #require(try home.run("pack", app, "--key", "alice", "--passphrase-stdin", input: "correct horse\n").succeeded)
        let signers = try #require(try home.json("verify", "note")["signers"] as? [[String: Any]])
        #expect(signers.count == 1)
    }

    @Test func helpShowsAnExampleForEveryVerb() throws {
        let help = try Shell.run(Shell.capsule, ["--help"]).output
        let verbs = help.components(separatedBy: "SUBCOMMANDS:").last?.split(separator: "\n").compactMap { $0.firstMatch(of: #/^  ([a-z]+) /#).map { String($0.1) } } ?? []
        #expect(verbs.count > 20)
        for verb in verbs where verb != "help" {
            let text = try Shell.run(Shell.capsule, [verb, "--help"]).output + (try Shell.run(Shell.capsule, [verb, "list", "--help"]).output)
            #expect(text.contains("Example:"), "\(verb)")
        }
    }
}
