import Builder
import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Testing

/// A source tree that nobody wrote for this: Lua, as Debian's archive has it, with its own Makefile.
@Suite(.needsSandbox) struct DebianSourceTests {
    static let canFetch = geteuid() == 0 && access("/usr/bin/apt-get", X_OK) == 0

    static let manifest: JSONValue = [
        "id": "urn:oursynth:app:lua@5.4.4", "name": "Lua", "version": "5.4.4",
        "app": ["framework": "c"],
        "build": ["steps": ["make posix", "make install INSTALL_TOP=/build/out", "out/bin/lua -e 'assert(1 + 1 == 2)'"], "outDir": "out"],
        "rights": ["license": "MIT"],
    ]

    @Test(.enabled(if: canFetch, "SKIPPED: fetching Debian's sources needs root and apt-get"))
    func luaBuildsAlikeInTwoHomes() async throws {
        let here = try Workshop(), there = try Workshop()
        let archive = try Self.fetch("lua5.4", into: here.path + "/apt")

        func build(_ workshop: Workshop, _ folder: String) async throws -> Replayer.BuildResult {
            let source = workshop.path + "/" + folder
            try Files.makeDirectory(source)
            try Self.succeed(["/bin/tar", "-xf", archive, "-C", source, "--strip-components=1", "--no-same-permissions", "--no-same-owner"])
            try OpenFile(creating: source + "/capsule.json").write(Array(Self.manifest.prettyText.utf8))
            return try await workshop.replayer.build(try workshop.pack(directory: source))
        }
        let one = try await build(here, "lua")
        let two = try await withPrivateUmask { try await build(there, "somewhere/quite/different") }
        #expect(!one.cached && !two.cached)
        #expect(one.capsule == two.capsule)
        #expect(one.output == two.output)
        let paths = try here.store.tree(index: one.output).index.entries.map(\.path)
        #expect(paths.contains("bin/lua") && paths.contains("lib/liblua.a") && paths.contains("include/lua.h"))
    }

    /// The package's original archive, by apt with its own lists beside the host's.
    private static func fetch(_ package: String, into directory: String) throws -> String {
        for part in ["lists/partial", "cache/archives/partial", "source"] { try Files.makeDirectory(directory + "/" + part) }
        let release = String(decoding: try Files.read("/etc/os-release", bytesMax: 65_536), as: UTF8.self)
        let codename = try #require(release.split(separator: "\n").first { $0.hasPrefix("VERSION_CODENAME=") }?.split(separator: "=").last)
        let list = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian \(codename) main\n"
        try OpenFile(creating: directory + "/sources.list").write(Array(list.utf8))
        let apt = ["/usr/bin/apt-get", "-q", "-o", "Dir::Etc::SourceList=\(directory)/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
                   "-o", "Dir::State::Lists=\(directory)/lists", "-o", "Dir::Cache=\(directory)/cache", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"]
        try succeed(apt + ["update"])
        try succeed(["/bin/sh", "-c", "cd '\(directory)/source' && exec \"$@\"", "sh"] + apt + ["source", "--download-only", package])
        let name = try #require(try Files.names(in: directory + "/source").first { $0.contains(".orig.tar.") })
        return "\(directory)/source/\(name)"
    }

    private static func succeed(_ command: [String]) throws {
        var environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        for name in ["http_proxy", "https_proxy", "no_proxy"] { if let value = getenv(name) { environment.append("\(name)=\(String(cString: value))") } }
        let (ending, text) = try output(of: command, environment: environment)
        try #require(ending == .exited(0), "\(command.joined(separator: " ")): \(text)")
    }
}
