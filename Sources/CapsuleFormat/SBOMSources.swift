internal import MeshCore

/// Which files of a tree list packages.
struct SBOMSources {
    enum Kind: Hashable {
        /// What dpkg says is installed, in the root file system at `folder` (empty, or ending in a slash).
        case dpkg(folder: String)
        case npmLock
        case npmPackage
        case requirements
        case tomlLock
        case pipfileLock
        case wheel
    }

    private(set) var lists: [(path: String, kind: Kind)] = []
    /// For each folder with a dpkg list, the file that says which distribution it is.
    private(set) var releases: [String: String] = [:]
    /// What is passed over already here.
    private(set) var notes: [String] = []

    init(in tree: TreeIndex) {
        var bytes: Int64 = 0, unread = 0
        var locked: [Substring: Bool] = [:]
        for entry in tree.entries {
            guard case .file(let size, _) = entry.content, let kind = Self.kind(of: entry.path) else { continue }
            if kind == .npmPackage, Self.hasLock(entry.path, tree, &locked) { continue }
            guard size <= Int64(Limits.sbomFileBytesMax) else {
                if notes.count == Limits.sbomNotesMax { unread += 1; continue }
                notes.append("\(TreePath.printable(entry.path)) has \(size) bytes, more than are read: passed over")
                continue
            }
            guard lists.count < Limits.sbomFilesMax, bytes + size <= Limits.sbomReadBytesMax else {
                unread += 1
                continue
            }
            bytes += size
            lists.append((entry.path, kind))
            if case .dpkg(let folder) = kind, releases[folder] == nil, let release = Self.release(in: folder, tree) { releases[folder] = release }
        }
        if unread > 0 { notes.append("package lists passed over, because there are too many: \(unread)") }
    }

    private static let names = [
        "status", "package-lock.json", "npm-shrinkwrap.json", "package.json", "requirements.txt", "poetry.lock", "uv.lock", "Pipfile.lock", "METADATA",
    ].map { Array($0.utf8) }
    private static let dpkgParts = Array("var/lib/dpkg/status.d/".utf8)

    /// A first look by bytes: of millions of paths next to none go on.
    private static func mayList(_ path: String) -> Bool {
        TreePath.withBytes(path) { bytes in
            let last = UnsafeBufferPointer(rebasing: bytes[((bytes.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1)...])
            return names.contains { $0.count == last.count && last.elementsEqual($0) } || UnsafeRawBufferPointer(bytes).firstOccurrence(of: dpkgParts) != nil
        }
    }

    private static func kind(of path: String) -> Kind? {
        guard mayList(path) else { return nil }
        // distroless images have a file for each package.
        if let (folder, rest) = split(path, at: "var/lib/dpkg/status.d/") {
            return rest.contains("/") || rest.hasSuffix(".md5sums") ? nil : .dpkg(folder: folder)
        }
        let folders = path.split(separator: "/").dropLast()
        let name = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path[path.utf8.index(after: $0)...] } ?? path[...]
        let isInstalled = folders.contains { $0 == "node_modules" || $0 == "site-packages" || $0 == "dist-packages" }
        switch name {
        case "status": return split(path, at: "var/lib/dpkg/status").flatMap { $0.1.isEmpty ? .dpkg(folder: $0.0) : nil }
        case "package.json": return isPackage(folders) ? .npmPackage : nil
        case "METADATA": return folders.last?.hasSuffix(".dist-info") == true ? .wheel : nil
        // Lists that came with an installed package are about its own development.
        case _ where isInstalled: return nil
        case "package-lock.json", "npm-shrinkwrap.json": return .npmLock
        case "requirements.txt": return .requirements
        case "Pipfile.lock": return .pipfileLock
        default: return .tomlLock
        }
    }

    /// What stands before and after `part`, where it begins the path or a part of it.
    private static func split(_ path: String, at part: String) -> (String, Substring)? {
        guard let range = path.firstRange(of: part), range.lowerBound == path.startIndex || path[..<range.lowerBound].utf8.last == UInt8(ascii: "/") else { return nil }
        return (String(path[..<range.lowerBound]), path[range.upperBound...])
    }

    /// `…/node_modules/NAME` or `…/node_modules/@SCOPE/NAME`, and no `.bin` or `.cache`.
    private static func isPackage(_ folders: ArraySlice<Substring>) -> Bool {
        guard let name = folders.last, !name.hasPrefix(".") else { return false }
        let above = folders.dropLast()
        guard let parent = above.last else { return false }
        return parent == "node_modules" ? !name.hasPrefix("@") : parent.hasPrefix("@") && above.dropLast().last == "node_modules"
    }

    /// Whether a lock file beside the outermost `node_modules` says it better.
    private static func hasLock(_ path: String, _ tree: TreeIndex, _ known: inout [Substring: Bool]) -> Bool {
        guard let range = path.hasPrefix("node_modules/") ? path.startIndex..<path.startIndex : path.firstRange(of: "/node_modules/") else { return false }
        let folder = path[..<range.lowerBound]
        if let known = known[folder] { return known }
        let found = ["package-lock.json", "npm-shrinkwrap.json"].contains { isFile(folder.isEmpty ? $0 : "\(folder)/\($0)", tree) }
        known[folder] = found
        return found
    }

    private static func release(in folder: String, _ tree: TreeIndex) -> String? {
        [folder + "etc/os-release", folder + "usr/lib/os-release"].first { isFile($0, tree) }
    }

    private static func isFile(_ path: String, _ tree: TreeIndex) -> Bool {
        guard let place = tree.position(of: path), case .file(let size, _) = tree.entries[place].content else { return false }
        return size <= Int64(Limits.sbomFileBytesMax)
    }
}
