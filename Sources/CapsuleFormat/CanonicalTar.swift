public import MeshCore

/// Where the chunks of a capsule come from when something is written out of it.
public protocol ContentSource {
    /// The verified bytes of `chunk`, exactly `chunk.length` of them.
    func read(chunk: ChunkReference) throws(MeshError) -> [UInt8]
}

/// files.tar: the one tar that a tree has. A pure function of the tree, never stored; see docs/formats/oci-and-caps.md.
public enum CanonicalTar {
    public static let mediaType = "application/vnd.oci.image.layer.v1.tar"

    /// Two zero blocks, and nothing after them.
    public static let trailer = [UInt8](repeating: 0, count: 2 * TarHeader.blockBytes)

    /// What stands before the entry's content: the ustar header, and before it the pax header and records where ustar
    /// cannot say it. Refused with `tar_invalid`: a mode that the kind of entry never has.
    public static func header(for entry: TreeEntry) throws(MeshError) -> [UInt8] {
        let shape = TarEntryShape(entry)
        guard shape.modes.contains(entry.mode), shape.size >= 0 else {
            throw MeshError(.tarInvalid, "\(entry.path) has the mode \(String(entry.mode, radix: 8)), which its kind never has",
                            hint: "files are 644 or 755, directories 755, links 777 (octal)")
        }
        return shape.header(mode: entry.mode)
    }

    /// How many zero bytes follow content of `size` bytes, to the next multiple of 512.
    public static func padding(afterSize size: Int64) -> Int { TarHeader.padding(after: size) }

    /// The length of the whole files.tar, in bytes.
    public static func size(of index: TreeIndex) -> Int64 {
        var total = Int64(trailer.count)
        for entry in index.entries {
            let shape = TarEntryShape(entry)
            total += shape.headerBytes + shape.size + Int64(padding(afterSize: shape.size))
        }
        return total
    }

    /// Gives the bytes of files.tar to `sink`, piece by piece and in order. `digest_mismatch` when a chunk has another
    /// length than the list says; whatever `content` and `sink` throw.
    public static func write(_ tree: VerifiedTree, content: any ContentSource,
                             to sink: ([UInt8]) throws(MeshError) -> Void) throws(MeshError) {
        for (entry, range) in zip(tree.index.entries, tree.fileChunks) {
            var head = try header(for: entry)
            guard case .file(let size, _) = entry.content else {
                try sink(head)
                continue
            }
            for chunk in tree.chunks.chunks[range] {
                let bytes = try content.read(chunk: chunk)
                guard bytes.count == chunk.length else {
                    throw MeshError(.digestMismatch, "a chunk of \(entry.path) has \(bytes.count) bytes, \(chunk.length) are listed",
                                    hint: "check the store with: capsule fsck")
                }
                if !head.isEmpty { try sink(head) }
                head = []
                try sink(bytes)
            }
            head += [UInt8](repeating: 0, count: padding(afterSize: size))
            if !head.isEmpty { try sink(head) }
        }
        try sink(trailer)
    }
}

extension TarEntryShape {
    fileprivate init(_ entry: TreeEntry) {
        switch entry.content {
        case .file(let size, _): self.init(path: Array(entry.path.utf8), size: size, kind: .file)
        case .directory: self.init(path: Array(entry.path.utf8) + [0x2f], kind: .directory)
        case .link(let target): self.init(path: Array(entry.path.utf8), target: Array(target.utf8), kind: .link)
        }
    }

    fileprivate var modes: [Int] {
        switch kind {
        case .directory: [0o755]
        case .link: [0o777]
        default: [0o644, 0o755]
        }
    }
}
