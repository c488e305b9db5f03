internal import MeshCore

/// The rules for symbolic links inside a tree; docs/formats/tree.md.
struct TreeLinks {
    /// As Linux: a chain of more links than this leads nowhere.
    private static let hopsMax = 40

    private typealias Part = ArraySlice<UInt8>
    private var links: [(path: String, target: String)] = []
    private var needsResolving = false
    private let kind: TreeKind

    init(kind: TreeKind) { self.kind = kind }

    /// Takes one link after a look at the link alone.
    ///
    /// - Throws: `link_escapes` where the target leaves the tree, taken by its words; `path_invalid` for what no target may be.
    mutating func add(_ target: String, at path: String) throws(MeshError) {
        let isWellFormed = TreePath.withBytes(target) { !$0.isEmpty && $0.count <= Limits.pathBytesMax && !TreePath.hasControlCharacter($0) }
        guard isWellFormed else {
            throw MeshError(.pathInvalid, "the link “\(TreePath.printable(path))” has the target “\(TreePath.printable(target))”, which no link may have",
                            hint: "change the link")
        }
        guard kind == .app else { return }
        guard target.utf8.first != UInt8(ascii: "/") else { throw Self.escapes(target, path) }
        var depth = path.utf8.reduce(0) { $1 == UInt8(ascii: "/") ? $0 + 1 : $0 }
        var named = false
        for part in target.utf8.split(separator: UInt8(ascii: "/")) where !Self.isDot(part) {
            let up = Self.isUp(part)
            depth += up ? -1 : 1
            guard depth >= 0 else { throw Self.escapes(target, path) }
            // Only a `..` after a name can mean another folder than it says: when the name is itself a link.
            if up, named { needsResolving = true }
            if !up { named = true }
        }
        links.append((path, target))
    }

    /// After the last link: follows each as the kernel would, because `a/..` is not here where `a` is a link.
    ///
    /// - Throws: `link_escapes`.
    func finish() throws(MeshError) {
        guard needsResolving else { return }
        var targets: [[UInt8]: String] = [:]
        for link in links { targets[Array(link.path.utf8)] = link.target }
        for link in links where Self.leaves(link.path, link.target, targets) { throw Self.escapes(link.target, link.path) }
    }

    private static func leaves(_ path: String, _ target: String, _ targets: [[UInt8]: String]) -> Bool {
        var here = parts(path).dropLast().map { $0 }
        var ahead = Array(parts(target).reversed())
        var hops = 1
        while let part = ahead.popLast() {
            if isDot(part) { continue }
            if isUp(part) {
                guard here.popLast() != nil else { return true }
                continue
            }
            here.append(part)
            guard let next = targets[Array(here.joined(separator: [UInt8(ascii: "/")]))] else { continue }
            hops += 1
            guard hops <= hopsMax else { return false }
            here.removeLast()
            ahead += parts(next).reversed()
        }
        return false
    }

    private static func parts(_ path: String) -> [Part] { Array(path.utf8).split(separator: UInt8(ascii: "/")) }
    private static func isDot(_ part: some Sequence<UInt8>) -> Bool { part.elementsEqual(".".utf8) }
    private static func isUp(_ part: some Sequence<UInt8>) -> Bool { part.elementsEqual("..".utf8) }

    private static func escapes(_ target: String, _ path: String) -> MeshError {
        MeshError(.linkEscapes, "the link “\(TreePath.printable(path))” leaves the tree: it points to “\(TreePath.printable(target))”",
                  hint: "make it point inside, or replace it by what it points to")
    }
}
