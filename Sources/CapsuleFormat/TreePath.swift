internal import MeshCore

/// The rules for names and link targets inside a tree.
enum TreePath {
    /// - Throws: `path_invalid` for an empty, absolute, too long or too deep path, `.` or `..` parts and control characters.
    static func check(_ path: String) throws(MeshError) {
        guard let problem = problem(path) else { return }
        throw MeshError(.pathInvalid, "the path “\(printable(path))” \(problem)", hint: "rename it")
    }

    static func problem(_ path: String) -> String? {
        let bytes = path.utf8
        if bytes.isEmpty { return "is empty" }
        if bytes.first == UInt8(ascii: "/") { return "is absolute" }
        if bytes.count > Limits.pathBytesMax { return "is longer than \(Limits.pathBytesMax) bytes" }
        if let problem = controlProblem(bytes) { return problem }
        var depth = 0
        for part in bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            depth += 1
            if part.isEmpty { return "has an empty part" }
            if part.count > Limits.pathPartBytesMax { return "has a part longer than \(Limits.pathPartBytesMax) bytes" }
            if part.elementsEqual(".".utf8) || part.elementsEqual("..".utf8) { return "has a part “.” or “..”" }
        }
        return depth > Limits.pathDepthMax ? "is deeper than \(Limits.pathDepthMax)" : nil
    }

    /// - Throws: `link_escapes` where the target, from the link's own folder, would leave the tree; `path_invalid` for what no target may be.
    static func check(target: String, of path: String, kind: TreeKind) throws(MeshError) {
        let bytes = target.utf8
        guard !bytes.isEmpty, bytes.count <= Limits.pathBytesMax, controlProblem(bytes) == nil else {
            throw MeshError(.pathInvalid, "the link “\(printable(path))” has the target “\(printable(target))”, which no link may have", hint: "change the link")
        }
        guard kind == .app else { return }
        func escapes() -> MeshError {
            MeshError(.linkEscapes, "the link “\(printable(path))” leaves the tree: it points to “\(printable(target))”",
                      hint: "make it point inside, or replace it by what it points to")
        }
        guard bytes.first != UInt8(ascii: "/") else { throw escapes() }
        var depth = path.utf8.split(separator: UInt8(ascii: "/")).count - 1
        for part in bytes.split(separator: UInt8(ascii: "/")) where !part.elementsEqual(".".utf8) {
            depth += part.elementsEqual("..".utf8) ? -1 : 1
            guard depth >= 0 else { throw escapes() }
        }
    }

    /// Canonical pre-order: siblings by raw name bytes, a folder before what is in it. Comparing with `/` below every other
    /// byte is that order, because no name holds a byte below 0x20.
    static func precedes(_ a: String, _ b: String) -> Bool {
        var x = a.utf8.makeIterator(), y = b.utf8.makeIterator()
        while true {
            let l = x.next(), r = y.next()
            guard let r else { return false }
            guard let l else { return true }
            if l == r { continue }
            return (l == UInt8(ascii: "/") ? 0 : l) < (r == UInt8(ascii: "/") ? 0 : r)
        }
    }

    static func parent(of path: String) -> Substring? { path.lastIndex(of: "/").map { path[..<$0] } }

    /// For messages: no control characters reach a terminal.
    static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(200).map { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) ? "\u{fffd}" : $0 }))
    }

    private static func controlProblem(_ bytes: String.UTF8View) -> String? {
        var previous: UInt8 = 0
        for byte in bytes {
            // C0, DEL, and C1 (which UTF-8 spells C2 80…9F).
            if byte < 0x20 || byte == 0x7f || (previous == 0xc2 && (0x80...0x9f).contains(byte)) { return "has a control character" }
            previous = byte
        }
        return nil
    }
}
