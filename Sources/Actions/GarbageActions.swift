internal import Builder
internal import CapsuleStore
internal import Deployments
internal import MeshCore

extension NodeParts {
    /// Collects what nobody needs: neither a capsule in the store, nor a deployment that can be started or rolled back to.
    func collectGarbage(dryRun: Bool = false, all: Bool = false, progress: StoreProgressSink? = nil) async throws(MeshError) -> GCReport {
        let deployed = try await deployments.held().outputs
        return try await offEventLoops { [store, replayer] () throws(MeshError) in
            let capsules = Set(try store.capsules().map(\.digest))
            let built = try replayer.outputs(of: capsules, forgetting: !dryRun)
            return try store.gc(keeping: deployed.union(built), dryRun: dryRun, all: all, progress: progress)
        }
    }
}

let garbageActions: [Action] = [
    Action("capsule.remove", "Remove", "Takes capsules out of this store; their bytes go with the next garbage collection. What the mesh knows of them stays.", scope: .admin,
           input: .object([.init("refs", .array(.string()), "sha256:…, NAME or NAME@VERSION")]),
           output: .array(.object([.init("digest", .string(), "The capsule's identity"), .init("name", .string(), "Name"), .init("version", .string(), "Version")]))) { context, params throws(MeshError) in
        let parts = context.parts
        var capsules: [CapsuleStore.StoredCapsule] = []
        let deployed = try await parts.deployments.held().capsules, stored = try parts.store.capsules()
        // All of them are asked about before the first one goes.
        for text in (params["refs"]?.array ?? []).compactMap(\.string) {
            let digest = try parts.digest(of: text)
            guard let capsule = stored.first(where: { $0.digest == digest }) else {
                throw MeshError(.capsuleNotHere, "\(text) (\(digest)) is not in this store", hint: "`capsule ls` lists what is")
            }
            guard !deployed.contains(digest) else {
                throw MeshError(.capsuleInUse, "\(capsule.name)@\(capsule.version) (\(digest)) is deployed here, or a rollback may go to it",
                                hint: "`capsule ps` says where; it can go when later versions have taken its place")
            }
            if !capsules.contains(capsule) { capsules.append(capsule) }
        }
        return try await offEventLoops { [capsules] () throws(MeshError) in
            for capsule in capsules { try parts.store.remove(capsule: capsule.digest) }
            return .array(capsules.map { ["digest": JSONValue($0.digest), "name": .string($0.name.description), "version": .string($0.version.description)] })
        }
    },
    Action("store.gc", "Collect garbage", "Deletes what neither a capsule of this store nor a deployment needs, and copies what is needed out of packs that are mostly garbage.", scope: .admin, isLong: true,
           input: .object([
               .optional("dryRun", .boolean, "Only say what would be freed"),
               .optional("all", .boolean, "Also what came within the last day and is in no capsule: interrupted pulls begin anew then"),
           ]),
           output: .object([
               .init("dryRun", .boolean, "Whether nothing was changed"), .init("freed", .integer, "Bytes that the disk got back; with dryRun, about"),
               .init("kept", .integer, "Bytes that the packs take now"), .init("packsDeleted", .integer, "Packs of which nothing was needed"),
               .init("packsRewritten", .integer, "Packs whose needed part was copied"), .init("outputs", .array(.string()), "Build outputs that nobody needed"),
               .init("damaged", .array(.string()), "Chunks that turned out to be damaged; `capsule fsck --repair` gets them back"),
           ])) { context, params throws(MeshError) in
        let report = try await context.parts.collectGarbage(
            dryRun: params["dryRun"]?.bool == true, all: params["all"]?.bool == true, progress: context.storeProgress("store.gc"))
        return [
            "dryRun": .bool(report.dryRun), "freed": .integer(report.bytesFreed), "kept": .integer(report.bytesKept),
            "packsDeleted": JSONValue(report.packsDeleted), "packsRewritten": JSONValue(report.packsRewritten),
            "outputs": .array(report.outputs.map { JSONValue($0) }), "damaged": .array(report.damaged.map { JSONValue($0) }),
        ]
    },
]

extension ErrorCode {
    static let capsuleInUse = ErrorCode("capsule_in_use", .usage)
}
