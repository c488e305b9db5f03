internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import MeshCore
internal import Signing

private let reference = Schema.Property("ref", .string(), "sha256:…, NAME, NAME@VERSION or the absolute path of a .caps file")

let capsuleActions: [Action] = [
    Action("capsule.pack", "Pack", "Packs a folder with a capsule.json into the store and signs it.", scope: .write, isLong: true,
           input: .object([
               .init("directory", .string(), "Absolute path of the folder"),
               .optional("output", .string(), "Absolute path of a .caps file to write as well"),
               .optional("key", .string(), "Name of the key to sign with; the node key unless given"),
               .optional("passphrase", .string(), "Of that key, if it is sealed"),
               .optional("allowSecrets", .array(.string()), "Paths that may look like secrets"),
               .optional("parents", .array(.string()), "Capsules that this one was made from, besides those in its manifest: digests, names or versions"),
               .optional("paranoid", .boolean, "Read every file, those too that look unchanged since this folder was packed before"),
               .optional("release", .boolean, "Release it to the mesh at once"),
           ]),
           output: .object([
               .init("digest", .string(), "The capsule's identity"), .init("name", .string(), "Name"), .init("version", .string(), "Version"),
               .init("files", .integer, "Files packed"), .init("bytes", .integer, "Their size"), .init("newBytes", .integer, "Bytes that the store did not have"),
               .init("filesRead", .integer, "Files that were read; the others are unchanged since this folder was packed before"),
               .optional("path", .string(), "The .caps file"), .optional("fact", .string(), "The release"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts
        let signer = try parts.signingKey(named: params["key"]?.string, passphrase: params["passphrase"]?.string)
        let directory = params["directory"]?.string ?? ""
        var parents: [Digest] = []
        for text in (params["parents"]?.array ?? []).compactMap(\.string) { parents.append(try parts.digest(of: text)) }
        let options = CapsuleStore.PackOptions(
            allowSecrets: (params["allowSecrets"]?.array ?? []).compactMap(\.string), parents: parents, paranoid: params["paranoid"]?.bool == true)
        let result = try await offEventLoops { () throws(MeshError) in
            let result = try parts.store.pack(directory: directory, options: options, progress: context.storeProgress("capsule.pack"))
            let documents = [NodeParts.signatureDocument(for: result.capsule.digest, by: signer), try parts.sbomDocument(of: result.capsule, by: signer)]
            try parts.store.addReferrers(documents, to: result.capsule.digest)
            return result
        }
        let digest = result.capsule.digest
        let manifest = result.capsule.manifest
        var answer: [String: JSONValue] = [
            "digest": JSONValue(digest), "name": .string(manifest.id.name.description), "version": .string(manifest.version.description),
            "files": JSONValue(result.files), "bytes": .integer(result.bytes), "newBytes": .integer(result.newBytes), "filesRead": JSONValue(result.filesRead),
        ]
        if params["release"]?.bool == true { answer["fact"] = JSONValue(try parts.release(result.capsule, by: signer, notes: nil).id) }
        if let output = params["output"]?.string {
            try await parts.export(digest, to: output)
            answer["path"] = .string(output)
        }
        return .object(answer)
    },
    Action("capsule.verify", "Verify", "Recomputes everything about a capsule: layout, digests, chunks, files, signatures, trust.", scope: .read, isLong: true,
           input: .object([reference, .optional("trust", .array(.string()), "Absolute paths of public keys to trust for this question: a signer's, or a root's of the mesh it comes from")]),
           output: .object([
               .init("ok", .boolean, "Whether it is intact"), .init("trusted", .boolean, "Whether this node has a reason to believe its makers"),
               .init("digest", .string(), "The capsule's identity"), .init("name", .string(), "Name"), .init("version", .string(), "Version"),
               .init("reason", .string(), "Why it is trusted or not"),
               .init("checks", .array(.object([
                   .init("name", .string(), "What was checked"), .init("ok", .boolean, "Outcome"), .init("detail", .string(), "What was found"),
               ])), "Each check that was made"),
               .init("signers", .array(.object([.init("keyId", .string(), "Key id"), .init("trusted", .boolean, "By this node")])), "Valid signatures"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts
        var keys: [PublicKey] = []
        for path in (params["trust"]?.array ?? []).compactMap(\.string) { keys.append(try KeyFile.readPublic(path)) }
        let checked = try await parts.checkContents(of: params["ref"]?.string ?? "")
        let verdict = try parts.trustVerdict(checked.capsule, checked.documents, anchors: keys)
        let manifest = checked.capsule.manifest
        var checks = checked.checks
        checks.append(("signatures", "\(verdict.signers.count) valid"))
        return [
            "ok": true, "trusted": .bool(verdict.trusted), "digest": JSONValue(checked.capsule.digest), "name": .string(manifest.id.name.description),
            "version": .string(manifest.version.description), "reason": .string(verdict.reason),
            "checks": .array(checks.map { ["name": .string($0.name), "ok": true, "detail": .string($0.detail)] }),
            "signers": .array(verdict.signers.map { ["keyId": .string($0.key.id.hex), "trusted": .bool($0.trusted)] }),
        ]
    },
    Action("capsule.inspect", "Inspect", "The manifest, the size and the signers of a capsule.", scope: .read,
           input: .object([reference]),
           output: .object([
               .init("digest", .string(), "The capsule's identity"), .init("manifest", .any, "capsule.json"), .init("index", .string(), "Digest of the file index"),
               .init("chunks", .string(), "Digest of the chunk list"), .init("files", .integer, "Number of files"), .init("bytes", .integer, "Their size"),
               .init("chunkCount", .integer, "Number of chunks"),
               .init("documents", .array(.object([
                   .init("digest", .string(), "Of the envelope"), .init("type", .string(), "Predicate or payload type"), .init("keyIds", .array(.string()), "Signers named in it"),
               ])), "Signatures, provenance and facts that refer to it"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts
        let capsule: VerifiedCapsule, documents: [ReferrerDocument]
        if case .path(let path) = try Reference(parsing: params["ref"]?.string ?? "") {
            let archive = try CapsuleArchive(Layout.open(path, codec: ZstdCodec()))
            (capsule, documents) = (archive.capsule, archive.referrers)
        } else {
            capsule = try parts.storedCapsule(params["ref"]?.string ?? "")
            documents = try parts.store.referrers(of: capsule.digest)
        }
        var listed: [JSONValue] = []
        for document in documents {
            let envelope = try Envelope(parsing: document.bytes)
            let type = (try? Statement(parsing: envelope.payload))?.predicateType ?? envelope.payloadType
            listed.append(["digest": JSONValue(Digest.of(document.bytes)), "type": .string(type), "keyIds": .array(envelope.signatures.map { .string($0.keyID) })])
        }
        return [
            "digest": JSONValue(capsule.digest), "manifest": capsule.manifest.json, "index": JSONValue(capsule.root.index), "chunks": JSONValue(capsule.root.chunks),
            "files": JSONValue(capsule.tree.index.fileCount), "bytes": .integer(capsule.tree.index.byteCount), "chunkCount": JSONValue(capsule.tree.chunks.chunks.count),
            "documents": .array(listed),
        ]
    },
    Action("capsule.unpack", "Unpack", "Verified files into a new or empty folder; all or nothing. A .caps file is unpacked without being taken in; the digest of a build's output unpacks as well.", scope: .write, isLong: true,
           input: .object([
               reference, .init("directory", .string(), "Absolute path of a folder that is new or empty"),
               .optional("paths", .array(.string()), "Only these files and folders, relative to the top of the capsule"),
               .optional("untrusted", .boolean, "Go on although nobody trusted signed it"),
               .optional("intact", .boolean, "From a damaged store: all files that are whole, the others named"),
           ]),
           output: .object([
               .init("digest", .string(), "What was unpacked"), .init("files", .integer, "Files written"), .init("bytes", .integer, "Their size"),
               .init("lost", .array(.string()), "Files that were left out, because the store lacks some of their content"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts, text = params["ref"]?.string ?? "", directory = params["directory"]?.string ?? ""
        let untrusted = params["untrusted"]?.bool == true, paths = (params["paths"]?.array ?? []).compactMap(\.string)
        let progress = context.storeProgress("capsule.unpack"), intactOnly = params["intact"]?.bool == true
        @Sendable func answer(_ digest: Digest, _ done: RestoreResult) -> JSONValue {
            ["digest": JSONValue(digest), "files": JSONValue(done.files), "bytes": .integer(done.bytes), "lost": .array(done.lost.map(JSONValue.string))]
        }
        return try await offEventLoops { () throws(MeshError) in
            if case .path(let path) = try Reference(parsing: text) {
                let done = try CapsuleStore.restoreLayout(path: path, to: directory, paths: paths, progress: progress, accepting: { archive throws(MeshError) in
                    let verdict = try parts.trustVerdict(archive.capsule, archive.referrers, anchors: [])
                    if !untrusted { try NodeParts.require(verdict, of: archive.capsule) }
                })
                return ["digest": JSONValue(done.capsule.digest), "files": JSONValue(done.files), "bytes": .integer(done.bytes), "lost": []]
            }
            if case .digest(let digest) = try Reference(parsing: text), !parts.store.contains(capsule: digest), let tree = try? parts.store.tree(index: digest) {
                return answer(digest, try parts.store.restore(tree, manifest: nil, to: directory, paths: paths, intactOnly: intactOnly, progress: progress))
            }
            let capsule = try parts.storedCapsule(text)
            if !untrusted { try parts.requireTrust(in: capsule) }
            return answer(capsule.digest, try parts.store.restore(
                capsule.tree, manifest: capsule.manifest, to: directory, paths: paths, intactOnly: intactOnly, progress: progress))
        }
    },
    Action("capsule.export", "Export", "Writes a capsule with its evidence as one .caps file that a stranger can check.", scope: .write, isLong: true,
           input: .object([reference, .init("output", .string(), "Absolute path of the .caps file")]),
           output: .object([.init("digest", .string(), "The capsule's identity"), .init("path", .string(), "The file"), .init("bytes", .integer, "Its size")])) { context, params throws(MeshError) in
        let parts = context.parts, output = params["output"]?.string ?? ""
        let capsule = try parts.storedCapsule(params["ref"]?.string ?? "")
        try await parts.export(capsule.digest, to: output)
        return ["digest": JSONValue(capsule.digest), "path": .string(output), "bytes": .integer(try OpenFile(reading: output).size())]
    },
    Action("capsule.import", "Import", "Takes .caps files or OCI layout folders into the store, verified.", scope: .write, isLong: true,
           input: .object([.init("paths", .array(.string()), "Absolute paths")]),
           output: .array(.object([
               .init("digest", .string(), "The capsule's identity"), .init("name", .string(), "Name"), .init("version", .string(), "Version"),
               .init("trusted", .boolean, "Whether this node has a reason to believe its makers"), .init("reason", .string(), "Why"), .init("path", .string(), "The file"),
           ]))) { context, params throws(MeshError) in
        let parts = context.parts
        var out: [JSONValue] = []
        for path in (params["paths"]?.array ?? []).compactMap(\.string) {
            let capsule = try await offEventLoops { () throws(MeshError) in try parts.importLayout(path) }
            let verdict = try parts.trustVerdict(capsule, try parts.store.referrers(of: capsule.digest), anchors: [])
            out.append(["digest": JSONValue(capsule.digest), "name": .string(capsule.manifest.id.name.description), "path": .string(path),
                        "version": .string(capsule.manifest.version.description), "trusted": .bool(verdict.trusted), "reason": .string(verdict.reason)])
        }
        return .array(out)
    },
    Action("capsule.list", "List", "The capsules in the store, or the releases of the mesh.", scope: .read,
           input: .object([.optional("mesh", .boolean, "The mesh's releases instead of the store"), .optional("glob", .string(), "Names to list, e.g. shop-*")]),
           output: .array(.object([
               .init("digest", .string(), "The capsule's identity"), .init("name", .string(), "Name"), .init("version", .string(), "Version"),
               .init("here", .boolean, "Whether it is in this store"),
               .optional("files", .integer, "Number of files"), .optional("bytes", .integer, "Their size"), .optional("origin", .string(), "packed, imported or fetched"),
               .optional("publisher", .string(), "Key id of who released it"), .optional("contested", .boolean, "The same name and version with other content exists"),
               .optional("notes", .string(), "What the publisher said"), .optional("channels", .array(.string()), "That point to it"),
               .optional("because", .array(.string()), "The facts that decided: the grants from a root to the publisher, then the release"),
           ]))) { context, params throws(MeshError) in
        let parts = context.parts
        let glob = params["glob"]?.string.map(Glob.init)
        if params["mesh"]?.bool == true {
            let channels = Dictionary(grouping: try parts.catalog.channels(matching: glob).filter { $0.trouble == nil }, by: \.capsule)
            return .array(try parts.catalog.releases(matching: glob).map { (release) throws(MeshError) in
                var row: [String: JSONValue] = [
                    "digest": JSONValue(release.capsule), "name": .string(release.name.description), "version": .string(release.version.description),
                    "here": .bool(parts.store.contains(capsule: release.capsule)), "publisher": .string(release.publisher.id.hex), "contested": .bool(release.contested),
                ]
                if let notes = release.notes { row["notes"] = .string(notes) }
                if let names = channels[release.capsule]?.filter({ $0.name == release.name }), !names.isEmpty { row["channels"] = .array(names.map { .string($0.channel) }) }
                row["because"] = .array((try parts.catalog.authority(of: release.publisher, over: release.name) ?? []).map(JSONValue.init) + [JSONValue(release.fact)])
                return .object(row)
            })
        }
        return .array(try parts.store.capsules().filter { glob?.matches($0.name.description) ?? true }
            .sorted { ($0.name, $0.version, $0.addedAt) < ($1.name, $1.version, $1.addedAt) }
            .map { ["digest": JSONValue($0.digest), "name": .string($0.name.description), "version": .string($0.version.description), "here": true,
                    "files": JSONValue($0.files), "bytes": .integer($0.bytes), "origin": .string($0.origin.rawValue)] })
    },
]
