package import CapsuleFormat
internal import Glibc
package import MeshCore

/// A static output as a table: which request path names which file. It is made from the output's index, so nothing outside
/// the tree has a name in it, and every file's digest is known before it is opened.
package struct StaticSite: Sendable {
    package struct File: Sendable, Hashable {
        /// In the tree, without links.
        package let path: String
        package let size: Int64
        package let sha256: Digest

        package init(path: String, size: Int64, sha256: Digest) {
            (self.path, self.size, self.sha256) = (path, size, sha256)
        }
    }

    package enum Lookup: Sendable, Hashable {
        case file(File)
        /// A folder without its final slash; the path to go to, percent-encoded.
        case redirect(String)
        case notFound
        /// Not a path at all: `..`, a zero byte, a broken escape.
        case malformed
    }

    /// By bytes: two spellings of one name are equal as Swift strings, and different files.
    private let entries: [[UInt8]: TreeEntry.Content]

    package init(index: TreeIndex) {
        entries = Dictionary(index.entries.map { (Array($0.path.utf8), $0.content) }, uniquingKeysWith: { first, _ in first })
    }

    /// `path` as it stands in the request line, without the query.
    package func lookup(_ path: String) -> Lookup {
        guard path.utf8.first == UInt8(ascii: "/"), let decoded = Self.percentDecoded(path) else { return .malformed }
        let parts = decoded.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        let isFolder = parts.last?.isEmpty ?? true
        let names = isFolder ? Array(parts.dropLast()) : Array(parts)
        // Refused even where they would stay inside: no browser sends them, and what does means harm.
        guard !names.contains(where: { $0 == "." || $0 == ".." }) else { return .malformed }
        guard !names.contains(where: \.isEmpty) else { return .notFound }
        guard let (place, content) = resolve(names) else { return .notFound }
        switch content {
        case .file(let size, let sha256): return isFolder ? .notFound : .file(File(path: place, size: size, sha256: sha256))
        case .directory where isFolder:
            guard let (index, content) = resolve(names + ["index.html"]), case .file(let size, let sha256) = content else { return .notFound }
            return .file(File(path: index, size: size, sha256: sha256))
        case .directory: return .redirect("/" + names.map(Self.percentEncoded).joined(separator: "/") + "/")
        case .link: return .notFound
        }
    }

    /// The page for what is not there, if the site brings one.
    package var notFoundPage: File? {
        guard let (path, content) = resolve(["404.html"]), case .file(let size, let sha256) = content else { return nil }
        return File(path: path, size: size, sha256: sha256)
    }

    /// Walks the table from its root, through links that stay inside.
    private func resolve(_ names: [String]) -> (String, TreeEntry.Content)? {
        var place: [Substring] = []
        var rest = names.map { Substring($0) }[...]
        var hops = 0
        while let name = rest.popFirst() {
            if name == ".." {
                guard place.popLast() != nil else { return nil }
                continue
            }
            if name == "." || name.isEmpty { continue }
            let path = (place + [name]).joined(separator: "/")
            guard let content = entries[Array(path.utf8)] else { return nil }
            if case .link(let target) = content {
                hops += 1
                guard hops <= Limits.siteLinkHopsMax, !target.hasPrefix("/") else { return nil }
                rest = ArraySlice(target.split(separator: "/")) + rest
            } else {
                place.append(name)
            }
        }
        let path = place.joined(separator: "/")
        return path.isEmpty ? (path, .directory) : entries[Array(path.utf8)].map { (path, $0) }
    }

    private static func percentDecoded(_ text: String) -> String? {
        var out: [UInt8] = []
        var bytes = Array(text.utf8)[...]
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            guard let high = bytes.popFirst(), let low = bytes.popFirst(),
                  let value = Hex.decode(String(decoding: [high, low], as: UTF8.self).lowercased()) else { return nil }
            out += value
        }
        // An escaped slash would be a name with a slash in it, which no file has.
        guard out.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }), out.count(where: { $0 == UInt8(ascii: "/") }) == text.utf8.count(where: { $0 == UInt8(ascii: "/") }) else { return nil }
        return String(validating: out, as: UTF8.self)
    }

    private static func percentEncoded(_ name: String) -> String {
        name.utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "-._~".utf8.contains(byte)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + Hex.encode([byte]).uppercased()
        }.joined()
    }
}

/// The files of one generation on the disk, opened without following a link anywhere.
final class SiteFolder: Sendable {
    private let root: Descriptor

    init(_ path: String) throws(MeshError) { root = try Descriptor.directory(path) }

    func open(_ file: StaticSite.File) throws(MeshError) -> Descriptor {
        let slash = file.path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = try slash.map { (slash) throws(MeshError) in try root.openDirectory(String(file.path[..<slash])) } ?? root
        let name = slash.map { String(file.path[file.path.index(after: $0)...]) } ?? file.path
        let number = openat(folder.number, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard number >= 0 else { throw Files.failure("read", file.path) }
        let opened = Descriptor(owning: number)
        var info = stat()
        guard fstat(number, &info) == 0, info.st_mode & S_IFMT == S_IFREG, Int64(info.st_size) == file.size else {
            throw MeshError(.inputOutput, "\(file.path) is not as it was restored", hint: "deploy the capsule again")
        }
        return opened
    }
}

extension Descriptor {
    /// Exactly `count` bytes at `offset`.
    func read(_ count: Int, at offset: Int64, of path: String) throws(MeshError) -> [UInt8] {
        var number: Int32 = 0
        let out = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = pread(self.number, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(offset) + off_t(filled))
                if got < 0, errno == EINTR { continue }
                number = got < 0 ? errno : EIO
                guard got > 0 else { break }
                filled += got
            }
        }
        guard out.count == count else { throw Files.failure("read", path, number) }
        return out
    }
}
