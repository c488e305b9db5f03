import Foundation
import TestSupport
import Testing

/// A `.caps` file that somebody altered, through every verb that takes one: exit 65, a sentence, and nothing written.
@Suite struct TamperTests {
    /// Each verb refuses the file, with one of these codes, and leaves nothing behind.
    static func refuse(_ file: String, in home: CommandLineHome, _ codes: Set<String>, _ what: String) throws {
        let out = home.folder.path + "/out"
        for verb in [["verify", file], ["import", file], ["unpack", file, out, "--untrusted"], ["unpack", file, out]] {
            let result = try Shell.run(Shell.capsule, ["--json"] + verb, environment: ["CAPSULE_HOME": home.path])
            #expect(result.status == 65, "\(what), \(verb[0]): exit \(result.status) \(result.output)\(result.error)")
            let error = try BadInputTests.error(result)
            #expect(codes.isEmpty || codes.contains(error.code), "\(what), \(verb[0]): \(error.code)")
            #expect(error.message.count > 10 && !error.message.contains("Error("), "\(what): \(error.message)")
            #expect(!FileManager.default.fileExists(atPath: out), "\(what), \(verb[0])")
        }
        #expect(try home.list("ls").isEmpty, "\(what)")
    }

    /// The author's file, of several frames, and a stranger's home.
    static func prepare() throws -> (author: CommandLineHome, stranger: CommandLineHome, bytes: [UInt8]) {
        let author = try CommandLineHome("author"), stranger = try CommandLineHome("stranger")
        let app = try author.writeApp()
        try Shell.sh("head -c 2500000 /dev/urandom > \(app)/noise && seq 1 300000 > \(app)/numbers")
        try #require(try author.run("pack", app, "-o", author.folder.path + "/honest.caps").succeeded)
        try stranger.run("init")
        return (author, stranger, Array(try author.folder.read("honest.caps")))
    }

    @Test func oneByteInEveryRegion() throws {
        let (_, stranger, bytes) = try Self.prepare()
        let entries = Int(bytes[bytes.count - 9]) | Int(bytes[bytes.count - 8]) << 8
        let table = bytes.count - 17 - 8 * entries, digest = table - 40
        #expect(entries > 3)
        var places: [(String, Int)] = [("first frame's magic", 0), ("first frame's header", 5), ("oci-layout and manifest", 60), ("documents", 400)]
        for part in 1..<12 { places.append(("content \(part)", digest * part / 12)) }
        places += [("last data byte", digest - 1), ("digest frame's magic", digest), ("digest frame's size", digest + 4), ("digest", digest + 8), ("digest's end", digest + 39),
                   ("seek table's magic", table), ("seek table's length", table + 4), ("seek table's first entry", table + 8), ("seek table's middle", table + 8 + 4 * entries),
                   ("seek table's count", bytes.count - 9), ("seek table's descriptor", bytes.count - 5), ("seek table's end", bytes.count - 1)]
        for (what, place) in places {
            var bad = bytes
            bad[place] ^= 0x10
            try Data(bad).write(to: URL(fileURLWithPath: stranger.folder.path + "/bad.caps"))
            try Self.refuse(stranger.folder.path + "/bad.caps", in: stranger, [], "\(what) (byte \(place))")
        }
    }

    @Test func cutAnywhereAndWithMoreBehind() throws {
        let (_, stranger, bytes) = try Self.prepare()
        let file = stranger.folder.path + "/cut.caps"
        for count in [0, 1, 3, 17, 500, bytes.count / 3, bytes.count / 2, bytes.count - 100, bytes.count - 17, bytes.count - 1] {
            try Data(bytes.prefix(count)).write(to: URL(fileURLWithPath: file))
            try Self.refuse(file, in: stranger, [], "cut at \(count)")
        }
        for more in [[0], Array(bytes.prefix(1000))] {
            try Data(bytes + more).write(to: URL(fileURLWithPath: file))
            try Self.refuse(file, in: stranger, [], "\(more.count) bytes more")
        }
    }

    /// Sealed anew by another program, so that only what is inside is wrong.
    @Test(.enabled(if: Shell.has("python3"), "SKIPPED: python3 is not installed"))
    func forgedAndSealedAgain() throws {
        let author = try CommandLineHome("author"), stranger = try CommandLineHome("stranger")
        let forged = stranger.folder.path + "/forged"
        try #require(try author.run("pack", try author.writeApp(), "-o", author.folder.path + "/honest.caps").succeeded)
        try FileManager.default.createDirectory(atPath: forged, withIntermediateDirectories: true)
        let made = try Shell.run("python3", [Shell.repository + "/Tests/Judges/forge.py", author.folder.path + "/honest.caps", forged])
        try #require(made.succeeded, "\(made.error)")
        // Put together from the documented form alone, the honest one is the same file.
        #expect(try author.folder.read("honest.caps") == Data(contentsOf: URL(fileURLWithPath: forged + "/honest.caps")))
        for (name, code) in [
            ("path-climbs", "path_invalid"), ("path-absolute", "path_invalid"), ("path-climbs-inside", "path_invalid"), ("link-absolute", "link_escapes"),
            ("link-climbs", "link_escapes"), ("link-to-itself-and-out", "link_escapes"), ("content-changed", "files_tar_mismatch"), ("signature-flipped", "signature_invalid"),
        ] {
            try Self.refuse("\(forged)/\(name).caps", in: stranger, [code], name)
        }
        #expect(try stranger.run("verify", forged + "/unsigned.caps").status == 77)
        #expect(try stranger.run("import", forged + "/honest.caps").succeeded)
    }
}
