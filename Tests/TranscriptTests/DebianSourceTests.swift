import Foundation
import TestSupport
import Testing

/// A source tree that nobody wrote for this: Lua, as Debian's archive has it, with its own Makefile.
@Suite struct DebianSourceTests {
    static let missing: String? = getuid() != 0 ? "SKIPPED: fetching sources and becoming another user needs root"
        : ["apt-get", "setpriv", "bwrap"].first { !Shell.has($0) }.map { "SKIPPED: \($0) is not installed" }
    /// From the end of the range that Debian gives to people, where nobody is.
    static let user = 59_422

    static let manifest = """
        {"id": "urn:oursynth:app:lua@5.4.4", "name": "Lua", "version": "5.4.4", "app": {"framework": "c"},
         "build": {"steps": ["make posix", "make install INSTALL_TOP=/build/out", "out/bin/lua -e 'assert(1 + 1 == 2)'"], "outDir": "out"},
         "rights": {"license": "MIT"}}
        """

    @Test(.enabled(if: missing == nil, Comment(rawValue: missing ?? "")))
    func luaBuildsAlikeForTwoUsers() throws {
        let here = try CommandLineHome("lua"), there = try CommandLineHome("lua-elsewhere")
        let archive = try Self.fetch("lua5.4", into: here.folder)

        func build(_ home: CommandLineHome, _ source: String, umask: String, as user: Int?) throws -> (capsule: String, output: String) {
            let folder = home.folder.path
            try home.folder.write(Self.manifest, to: "\(source)/capsule.json")
            try home.folder.write("""
                set -e
                umask \(umask)
                tar -xf '\(archive)' -C '\(folder)/\(source)' --strip-components=1 --no-same-permissions --no-same-owner
                '\(folder)/capsule' --quiet pack '\(folder)/\(source)' >&2
                '\(folder)/capsule' --json build lua
                """, to: "build.sh")
            // Of its own, so that another user can start it wherever it was built. Copied by another process: a file that this
            // one had open for writing could be held by a child that another test starts just then, and be "busy" to whoever runs it.
            try #require(try Shell.sh("cp '\(Shell.capsule)' '\(folder)/capsule'").succeeded)
            var command = ["env", "-i", "PATH=/usr/bin:/bin", "HOME=\(folder)", "CAPSULE_HOME=\(home.path)", "sh", folder + "/build.sh"]
            if let user {
                try Shell.sh("chown -R \(user):\(user) '\(folder)'")
                command = ["setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups"] + command
            }
            let result = try Shell.run(command[0], Array(command.dropFirst()))
            guard result.succeeded else { throw ShellError(description: "build as \(user ?? 0): \(result.output)\(result.error)") }
            let answer = try result.json()
            #expect(answer["cached"] as? Bool == false)
            return (try #require(answer["capsule"] as? String), try #require(answer["output"] as? String))
        }
        let one = try build(here, "lua", umask: "022", as: nil)
        let two = try build(there, "somewhere/quite/different", umask: "077", as: Self.user)
        #expect(one.capsule == two.capsule)
        #expect(one.output == two.output)
        print("lua: \(one.output) as root and as user \(Self.user)")

        let out = here.folder.path + "/out"
        try #require(try here.run("unpack", one.output, out).succeeded)
        for file in ["bin/lua", "lib/liblua.a", "include/lua.h"] { #expect(FileManager.default.fileExists(atPath: out + "/" + file), "\(file)") }
        #expect(try Shell.run(out + "/bin/lua", ["-e", "print(6 * 7)"]).trimmed == "42")
    }

    /// The package's original archive, by apt from the archives that this machine uses, with lists of its own beside the machine's.
    private static func fetch(_ package: String, into folder: TemporaryFolder) throws -> String {
        let apt = folder.path + "/apt"
        let result = try Shell.sh("""
            set -e
            mkdir -p \(apt)/lists/partial \(apt)/cache/archives/partial \(apt)/parts \(apt)/source
            chmod 755 \(folder.path)
            for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
                [ -f "$list" ] && sed -n 's/^deb /deb-src /p' "$list" > "\(apt)/parts/$(basename "$list" .list)-src.list"
            done
            for list in /etc/apt/sources.list.d/*.sources; do
                [ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" > "\(apt)/parts/$(basename "$list" .sources)-src.sources"
            done
            get() {
                apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=\(apt)/parts -o Dir::State::Lists=\(apt)/lists \
                    -o Dir::Cache=\(apt)/cache -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@" >&2
            }
            get update
            cd \(apt)/source
            get source --download-only \(package)
            ls \(apt)/source/*.orig.tar.* | grep -v '[.]asc$' | head -n 1
            """)
        guard result.succeeded, !result.trimmed.isEmpty else { throw ShellError(description: "apt-get source \(package): \(result.error)") }
        return result.trimmed
    }
}
