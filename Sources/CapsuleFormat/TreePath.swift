internal import MeshCore

/// The rules for names inside a tree; docs/formats/tree.md.
package enum TreePath {
    /// - Throws: `path_invalid` for an empty, absolute, too long or too deep path, `.` or `..` parts and control characters.
    static func check(_ path: String) throws(MeshError) {
        guard let problem = problem(path) else { return }
        throw MeshError(.pathInvalid, "the path “\(printable(path))” \(problem)", hint: "rename it")
    }

    /// What is wrong with a path, as the rest of a sentence about it; nil where nothing is.
    static func problem(_ path: String) -> String? {
        withBytes(path) { bytes in
            if bytes.isEmpty { return "is empty" }
            if bytes[0] == slash { return "is absolute" }
            if bytes.count > Limits.pathBytesMax { return "is longer than \(Limits.pathBytesMax) bytes" }
            if hasControlCharacter(bytes) { return "has a control character" }
            var depth = 0, start = 0
            while start <= bytes.count {
                var end = start
                while end < bytes.count, bytes[end] != slash { end += 1 }
                depth += 1
                if let problem = partProblem(UnsafeBufferPointer(rebasing: bytes[start..<end])) { return problem }
                start = end + 1
            }
            return depth > Limits.pathDepthMax ? "is deeper than \(Limits.pathDepthMax)" : nil
        }
    }

    private static func partProblem(_ part: UnsafeBufferPointer<UInt8>) -> String? {
        if part.isEmpty { return "has an empty part" }
        if part.count > Limits.pathPartBytesMax { return "has a part longer than \(Limits.pathPartBytesMax) bytes" }
        if part.count <= 2, part.allSatisfy({ $0 == UInt8(ascii: ".") }) { return "has a part “.” or “..”" }
        return nil
    }

    /// Canonical pre-order: siblings by raw name bytes, a folder before what is in it. Comparing with `/` below every other
    /// byte is that order, because no name holds a byte below 0x20.
    static func precedes(_ a: String, _ b: String) -> Bool { withBytes(a) { x in withBytes(b) { y in precedes(x, y) } } }

    /// As above, for the bytes of two paths.
    package static func precedes(_ x: UnsafeBufferPointer<UInt8>, _ y: UnsafeBufferPointer<UInt8>) -> Bool {
        let shared = min(x.count, y.count)
        var i = 0
        while i < shared, x[i] == y[i] { i += 1 }
        guard i < shared else { return x.count < y.count }
        return (x[i] == slash ? 0 : x[i]) < (y[i] == slash ? 0 : y[i])
    }

    /// Whether `path` is below `folder`, at whatever depth; both by their bytes.
    static func isBelow(_ path: String, _ folder: String) -> Bool {
        withBytes(path) { path in
            withBytes(folder) { folder in
                path.count > folder.count && path[folder.count] == slash && folder.elementsEqual(path.prefix(folder.count))
            }
        }
    }

    /// The length of the parent's path in bytes; nil at the root.
    static func parentLength(_ path: String) -> Int? {
        withBytes(path) { $0.lastIndex(of: slash) }
    }

    /// Paths are equal by their bytes: String's == also holds for two spellings of one character, which are two names.
    static func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }

    /// For messages: no control characters reach a terminal.
    package static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(200).map { isControl($0) ? "\u{fffd}" : $0 }))
    }

    /// C0, DEL, C1, and what starts a line or turns the direction of a text around.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069: true
        default: false
        }
    }

    /// C0, DEL and C1 (which UTF-8 spells C2 80…9F).
    static func hasControlCharacter(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        var previous: UInt8 = 0
        for byte in bytes {
            if byte < 0x20 || byte == 0x7f || (previous == 0xc2 && byte >= 0x80 && byte < 0xa0) { return true }
            previous = byte
        }
        return false
    }

    package static func withBytes<R>(_ text: String, _ body: (UnsafeBufferPointer<UInt8>) -> R) -> R {
        text.utf8.withContiguousStorageIfAvailable(body) ?? Array(text.utf8).withUnsafeBufferPointer(body)
    }

    private static let slash = UInt8(ascii: "/")
}
