internal import MeshCore

/// Which packs are garbage, and which are written anew with what is needed of them: a value, made from values.
package struct GCPlan: Sendable, Hashable {
    /// What a pack holds, in bytes of content but for `bytes`, which is its size on the disk.
    package struct Pack: Sendable, Hashable {
        package let id: Int64
        package let bytes: Int64
        /// Of all its frames, also what is read from other packs by now.
        package let content: Int64
        /// Of the chunks that are read from here and needed.
        package var live: Int64 = 0
        /// How many of the documents that are needed this pack must go on naming.
        package var names = 0

        package init(id: Int64, bytes: Int64, content: Int64, live: Int64 = 0, names: Int = 0) {
            (self.id, self.bytes, self.content, self.live, self.names) = (id, bytes, content, live, names)
        }

        /// About what the needed part takes on the disk.
        var liveBytes: Int64 { content > 0 ? Int64(Double(bytes) * Double(min(live, content)) / Double(content)) : names > 0 ? bytes : 0 }
    }

    /// Nothing of them is needed.
    package let deleted: [Pack]
    /// Each group becomes one pack, or a few.
    package let rewritten: [[Pack]]
    package let kept: [Pack]

    /// Below this part of a pack that is needed, in percent, the rest is worth copying what is needed.
    package static let livePercentMin: Int64 = 50
    /// Packs below this size are put together once there are so many of them: every one costs an open file and a look at each start.
    package static let smallBytes: Int64 = 1 << 20
    package static let smallPacksMax = 32

    /// - Parameter packs: in the order in which they came; so is what is copied, neighbours staying neighbours.
    package init(_ packs: [Pack]) {
        var deleted: [Pack] = [], candidates: [Pack] = [], kept: [Pack] = []
        let small = packs.count { $0.live + Int64($0.names) > 0 && $0.bytes < Self.smallBytes }
        for pack in packs {
            if pack.live == 0, pack.names == 0 {
                deleted.append(pack)
            } else if pack.live * 100 < pack.content * Self.livePercentMin || (small > Self.smallPacksMax && pack.bytes < Self.smallBytes) {
                candidates.append(pack)
            } else {
                kept.append(pack)
            }
        }
        var groups: [[Pack]] = [], group: [Pack] = [], bytes: Int64 = 0
        for pack in candidates {
            // A group is on the disk twice for a moment.
            if !group.isEmpty, bytes + pack.liveBytes > Int64(Limits.packBytesMax) {
                groups.append(group)
                (group, bytes) = ([], 0)
            }
            group.append(pack)
            bytes += pack.liveBytes
        }
        if !group.isEmpty { groups.append(group) }
        (self.deleted, self.rewritten, self.kept) = (deleted, groups, kept)
    }

    /// About what the disk gets back.
    package var bytesFreed: Int64 {
        let copied = rewritten.joined().reduce(0) { $0 + $1.bytes - $1.liveBytes }
        return deleted.reduce(0) { $0 + $1.bytes } + max(0, copied)
    }
    package var bytesKept: Int64 { kept.reduce(0) { $0 + $1.bytes } + rewritten.joined().reduce(0) { $0 + $1.liveBytes } }
}
