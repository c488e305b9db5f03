import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Testing

/// A folder under /tmp that goes away with the value.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/capsule-store-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = template.withUnsafeBufferPointer { String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) }
    }

    deinit { try? Files.removeTree(path) }

    func file(_ name: String) -> String { path + "/" + name }
    var home: HomeLayout { HomeLayout(path: path + "/home") }
    func names(_ folder: String) throws -> [String] { try Files.names(in: file(folder)) }
    var packs: [String] { get throws { try names("home/capsules/packs").map { file("home/capsules/packs/" + $0) } } }

    func write(_ bytes: [UInt8], to name: String, mode: UInt32 = 0o644) throws {
        try Files.makeDirectory(Files.parent(of: file(name)))
        try Files.remove(file(name))
        try OpenFile(creating: file(name), mode: mode).write(bytes)
        try #require(chmod(file(name), mode) == 0)
    }

    func write(_ text: String, to name: String, mode: UInt32 = 0o644) throws { try write(Array(text.utf8), to: name, mode: mode) }
}

/// Runs a command line and gives its exit status and what it printed, errors included.
@discardableResult
func shell(_ command: String) throws -> (status: Int32, output: String) {
    let stream = try #require(popen("{ \(command) ; } 2>&1", "r"))
    var out: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&buffer, 1, buffer.count, stream), count > 0 { out.append(contentsOf: buffer[..<count]) }
    let status = pclose(stream)
    return (status >> 8 & 0xff, String(decoding: out, as: UTF8.self))
}

/// Bytes that look random, the same on every run (SplitMix64).
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    var out = [UInt8](repeating: 0, count: count)
    for i in stride(from: 0, to: count, by: 8) {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        z ^= z >> 31
        for j in 0..<min(8, count - i) { out[i + j] = UInt8(truncatingIfNeeded: z >> (8 * UInt64(j))) }
    }
    return out
}

/// Text that compresses.
func prose(_ count: Int, seed: Int) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(count + 64)
    var line = seed
    while out.count < count {
        out += Array("line \(line) of a text that repeats itself, \(line &* 7919 % 10007)\n".utf8)
        line += 1
    }
    return Array(out.prefix(count))
}

let manifestText = #"{"id": "urn:oursynth:app:sample@1.0.0", "name": "Sample", "version": "1.0.0", "app": {"framework": "plain"}}"#

extension TemporaryFolder {
    /// An app with a file of every kind.
    func writeApp(_ name: String = "app", manifest: String = manifestText) throws -> String {
        try write(manifest, to: "\(name)/capsule.json")
        try write("#!/bin/sh\necho hello\n", to: "\(name)/bin/run.sh", mode: 0o755)
        try write([], to: "\(name)/empty")
        try Files.makeDirectory(file("\(name)/nothing/inside"))
        try write("gr\u{fc}n\n", to: "\(name)/gr\u{fc}n.txt")
        try write("gru\u{308}n\n", to: "\(name)/gru\u{308}n.txt")
        try write("\u{1f680}", to: "\(name)/\u{65e5}\u{672c}/\u{1f680} .txt")
        try write(prose(300_000, seed: 1), to: "\(name)/text.txt")
        try write(noise(200_000, seed: 2), to: "\(name)/noise.bin")
        try #require(symlink("bin/run.sh", file("\(name)/start")) == 0)
        try #require(symlink("../text.txt", file("\(name)/bin/text")) == 0)
        return file(name)
    }
}

func code(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "nothing was thrown"
    } catch { return (error as? MeshError)?.code.name ?? "\(error)" }
}

func failure(_ body: () throws -> Void) throws -> MeshError {
    do { try body() } catch { return try #require(error as? MeshError) }
    throw MeshError(.inputOutput, "nothing was thrown")
}
