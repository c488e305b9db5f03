internal import Glibc
public import MeshCore

/// Writes a capsule as one file for any way of carrying it; see docs/formats/oci-and-caps.md.
public enum CapsWriter {
    /// Writes beside `path` first and renames at the end, durably: on any error no new file is there. The content is read
    /// twice, since the digest of files.tar stands before it. `progress` gets (bytes done, bytes in all) over both.
    ///
    /// - Returns: the descriptor of the capsule's OCI manifest.
    /// - Throws: `digest_mismatch` when the content is not the same both times, and what `content`, `codec` and the disk throw.
    @discardableResult
    public static func write(_ capsule: VerifiedCapsule, content: any ContentSource & Sendable, referrers: [ReferrerDocument],
                             codec: any FrameCodec, to path: String,
                             progress: (@Sendable (Int64, Int64) -> Void)?) throws(MeshError) -> OCIDescriptor {
        Leftovers.remove(beside: path)
        let temporary = Leftovers.newPath(beside: path)
        // Before the long work, so that a folder that cannot be written to is told at once.
        let file = try OpenFile(creating: temporary)
        do throws(MeshError) {
            var meter = Meter(total: 2 * CanonicalTar.size(of: capsule.tree.index), report: progress)
            let filesTar = try filesTar(of: capsule, content, &meter) { _ throws(MeshError) in }
            let plan = try LayoutPlan(capsule, filesTar: filesTar, referrers: referrers)
            let frames = SeekableFrameWriter(to: file, codec: codec)
            for (name, member) in plan.members {
                try frames.append(TarEntryShape(path: Array(name.utf8), size: member.size, kind: .file).header(mode: 0o644))
                switch member {
                case .bytes(let bytes):
                    try frames.append(bytes)
                case .filesTar:
                    let again = try Self.filesTar(of: capsule, content, &meter) { piece throws(MeshError) in try frames.append(piece) }
                    guard again == filesTar else {
                        throw MeshError(.digestMismatch, "the files of the capsule changed while they were written to \(path)",
                                        hint: "check the store with: capsule fsck")
                    }
                }
                try frames.append([UInt8](repeating: 0, count: CanonicalTar.padding(afterSize: member.size)))
            }
            try frames.append(CanonicalTar.trailer)
            try frames.finish()
            try Files.rename(temporary, path)
            try Files.syncDirectory(Files.parent(of: path))
            return plan.manifest
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private static func filesTar(of capsule: VerifiedCapsule, _ content: any ContentSource, _ meter: inout Meter,
                                 _ sink: ([UInt8]) throws(MeshError) -> Void) throws(MeshError) -> (digest: Digest, size: Int64) {
        var hasher = DigestHasher()
        var size: Int64 = 0
        try CanonicalTar.write(capsule.tree, content: content) { piece throws(MeshError) in
            hasher.update(piece)
            size += Int64(piece.count)
            meter.add(piece.count)
            try sink(piece)
        }
        return (hasher.finish(), size)
    }

    /// Tells progress once a MiB, not once a chunk.
    private struct Meter {
        let total: Int64
        let report: (@Sendable (Int64, Int64) -> Void)?
        private var done: Int64 = 0
        private var told: Int64 = 0

        init(total: Int64, report: (@Sendable (Int64, Int64) -> Void)?) {
            self.total = total
            self.report = report
        }

        mutating func add(_ count: Int) {
            done += Int64(count)
            guard let report, done - told >= 1 << 20 || done == total else { return }
            told = done
            report(done, total)
        }
    }
}
