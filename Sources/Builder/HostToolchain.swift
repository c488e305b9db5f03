internal import Glibc
internal import MeshCore
internal import Synchronization

/// The compilers and programs that a build uses when it names none of its own: the host's /usr, known by what its package
/// manager installed.
package struct HostToolchain: Sendable, Hashable {
    /// SHA-256 over one line `PACKAGE ARCHITECTURE VERSION` for each installed package, and one line `NAME -> TARGET` for
    /// each alternative, sorted by their bytes.
    let digest: Digest
    let packages: Int

    static let alternatives = "/etc/alternatives"
    static let packageList = "/var/lib/dpkg/status"
    private static let packageListBytesMax = 64 << 20

    /// CPUs of this host that are running.
    static var processors: Int { ProcessorCount.here }

    /// What the toolchain makes things for, as OCI writes it: `linux/amd64`.
    static var target: String {
        var name = utsname()
        uname(&name)
        let machine = withUnsafeBytes(of: &name.machine) { raw in String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self) }
        let names = ["x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"]
        return "linux/" + (names[machine] ?? machine)
    }

    /// `toolchain_unknown` on a host without Debian's package list: what cannot be named cannot be compared with others.
    static func read() throws(MeshError) -> HostToolchain {
        let state = try State.current()
        if let known = known.withLock({ $0 }), known.state == state { return known.toolchain }
        var lines = installedPackages(try Files.read(packageList, bytesMax: packageListBytesMax))
        let count = lines.count
        for name in (try? Files.names(in: alternatives)) ?? [] where !name.hasSuffix(".gz") {
            if let target = SandboxRecipe.linkTarget(alternatives + "/" + name) { lines.append("\(name) -> \(target)") }
        }
        lines.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let toolchain = HostToolchain(digest: Digest.of(Array((lines.joined(separator: "\n") + "\n").utf8)), packages: count)
        known.withLock { $0 = (state, toolchain) }
        return toolchain
    }

    /// When the two were last changed; reading them anew takes longer than a cached replay may.
    private struct State: Hashable, Sendable {
        var times: [Int] = []

        static func current() throws(MeshError) -> State {
            var state = State()
            var info = stat()
            guard stat(packageList, &info) == 0 else {
                throw MeshError(.toolchainUnknown, "this host has no \(packageList), so its toolchain cannot be named",
                                hint: "build on Debian or one of its children")
            }
            state.times += [info.st_mtim.tv_sec, info.st_mtim.tv_nsec, Int(info.st_size), Int(info.st_ino)]
            if stat(alternatives, &info) == 0 { state.times += [info.st_mtim.tv_sec, info.st_mtim.tv_nsec] }
            return state
        }
    }

    private static let known = Mutex<(state: State, toolchain: HostToolchain)?>(nil)

    /// From deb822 paragraphs: those whose status says that the package is installed.
    package static func installedPackages(_ bytes: [UInt8]) -> [String] {
        var out: [String] = []
        var name = "", architecture = "", version = "", installed = false
        func value(_ line: ArraySlice<UInt8>, _ field: StaticString) -> String? {
            let count = field.utf8CodeUnitCount
            let name = UnsafeBufferPointer(start: field.utf8Start, count: count)
            guard line.count > count, line.prefix(count).elementsEqual(name) else { return nil }
            return String(decoding: line.dropFirst(count), as: UTF8.self)
        }
        func endParagraph() {
            if installed, !name.isEmpty { out.append("\(name) \(architecture) \(version)") }
            (name, architecture, version, installed) = ("", "", "", false)
        }
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            let line = bytes[start..<end]
            switch line.first {
            case nil: endParagraph()
            case UInt8(ascii: "P"): if let text = value(line, "Package: ") { name = text }
            case UInt8(ascii: "A"): if let text = value(line, "Architecture: ") { architecture = text }
            case UInt8(ascii: "V"): if let text = value(line, "Version: ") { version = text }
            case UInt8(ascii: "S"): if let text = value(line, "Status: ") { installed = text.hasSuffix(" ok installed") }
            default: break
            }
            start = end + 1
        }
        endParagraph()
        return out
    }
}
