internal import CapsuleStore
internal import Exchange
public import MeshCore

let storeActions: [Action] = [
    Action("store.fsck", "Check the store", "Holds the store's index, packs and journal against each other; reads every byte when asked to; mends what it can.", scope: .admin, isLong: true,
           input: .object([
               .optional("read", .boolean, "Read every byte of every pack"),
               .optional("repair", .boolean, "Write damaged packs anew, and get what was lost from the given files and from peers; reads everything"),
               .optional("files", .array(.string()), "Absolute paths of .caps files to repair from"),
           ]),
           output: .object([
               .init("ok", .boolean, "Whether nothing is wrong now"), .init("packs", .integer, "Packs looked at"), .init("chunks", .integer, "Chunks in them"),
               .init("bytes", .integer, "Bytes of their content"), .init("bad", .integer, "Problems found"), .init("repaired", .integer, "Of them mended"),
               .init("problems", .array(.object([
                   .init("kind", .string(), "pack-gone, pack-damaged, chunk-damaged, index-damaged or incomplete"), .init("what", .string(), "Pack, chunk, capsule or build output"),
                   .init("detail", .string(), "What is wrong"),
               ])), "What is wrong still"),
               .init("affected", .array(.string()), "Digests of the capsules that are not whole"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts, store = parts.store
        let repairs = params["repair"]?.bool == true, files = (params["files"]?.array ?? []).compactMap(\.string)
        let reads = params["read"]?.bool == true || repairs
        let progress = context.storeProgress("store.fsck")
        let found = try await offEventLoops { () throws(MeshError) in try store.fsck(read: reads, progress: progress) }
        var left = found
        if repairs, !found.isClean {
            try await offEventLoops { () throws(MeshError) in
                try store.renewDamagedPacks(found)
                for file in files { _ = try parts.importLayout(file) }
            }
            for capsule in found.affected {
                guard try await offEventLoops({ () throws(MeshError) in try !store.isWhole(capsule) }) else { continue }
                // Nobody who has it is no reason not to mend the rest; what is not whole is told below.
                do throws(MeshError) { _ = try await parts.exchange.pull(capsule, from: nil, progress: context.pullProgress(capsule)) } catch {
                    context.emit(NodeEvent(source: "store.fsck", type: "repair.failed", data: ["capsule": JSONValue(capsule), "error": error.json]))
                }
            }
            left = try await offEventLoops { () throws(MeshError) in try store.fsck(read: true, progress: progress) }
        }
        return [
            "ok": .bool(left.isClean), "packs": JSONValue(left.packs), "chunks": JSONValue(left.chunks), "bytes": .integer(left.bytes),
            "bad": JSONValue(found.problems.count), "repaired": JSONValue(max(0, found.problems.count - left.problems.count)),
            "problems": .array(left.problems.map { ["kind": .string($0.kind.rawValue), "what": .string($0.what), "detail": .string($0.detail)] }),
            "affected": .array(left.affected.map { JSONValue($0) }),
        ]
    },
]

/// `fsck --rebuild`, which must work where no store can be opened.
public enum StoreRecovery {
    /// Makes the store's index again from its packs and journal.
    ///
    /// - Throws: `home_missing`, `home_in_use` (a node runs there), `store_busy`.
    public static func rebuild(_ home: HomeLayout, clock: any WallClock) throws(MeshError) {
        _ = try NodeSettings.read(home)
        guard let lock = try FileLock(home.lock) else { throw NodeParts.inUse(home) }
        defer { _ = consume lock }
        try CapsuleStore.rebuildIndex(home: home, clock: clock)
    }
}
