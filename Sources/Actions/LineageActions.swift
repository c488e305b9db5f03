internal import CapsuleFormat
internal import CapsuleStore
internal import MeshCore

private let reference = Schema.string()

/// Where capsules come from, and what differs between them.
let lineageActions: [Action] = [
    Action("capsule.log", "Lineage", "A capsule and the ones it was made from, nearest first, as their manifests name them.", scope: .read,
           input: .object([.init("ref", reference, "sha256:…, NAME or NAME@VERSION")]),
           output: .object([
               .init("capsules", .array(.object([
                   .init("digest", .string(), "The capsule's identity"), .init("name", .string(), "Name"), .init("version", .string(), "Version"),
                   .init("generation", .integer, "Steps back from the capsule that was asked about"), .init("here", .boolean, "Whether it is in this store; of others no more than the digest is known"),
                   .init("parents", .array(.string()), "What it was made from"), .optional("createdAt", .integer, "What its author says, in milliseconds since 1970"),
               ])), "Each once, nearest first"),
               .init("isCut", .boolean, "Whether there are more than are looked at"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts, capsule = try parts.storedCapsule(params["ref"]?.string ?? "")
        let lineage = try await offEventLoops { () throws(MeshError) in try parts.store.lineage(of: capsule.digest) }
        let here: [(Int, JSONValue)] = lineage.members.map { member in
            var row: [String: JSONValue] = [
                "digest": JSONValue(member.digest), "name": .string(member.id.name.description), "version": .string(member.id.version.description),
                "generation": JSONValue(member.generation), "here": true, "parents": .array(member.parents.map(JSONValue.init)),
            ]
            if let at = member.createdAt { row["createdAt"] = .integer(at) }
            return (member.generation, .object(row))
        }
        let missing: [(Int, JSONValue)] = lineage.missing.map { member in
            (member.generation, ["digest": JSONValue(member.digest), "name": "", "version": "", "generation": JSONValue(member.generation), "here": false, "parents": []])
        }
        // Both are in order; of one generation those that are here come first.
        let rows = (here + missing).enumerated().sorted { ($0.element.0, $0.offset) < ($1.element.0, $1.offset) }
        return ["capsules": .array(rows.map(\.element.1)), "isCut": .bool(lineage.isCut)]
    },
    Action("capsule.diff", "Compare", "What differs between two capsules or build outputs, file by file, with unified texts.", scope: .read, isLong: true,
           input: .object([
               .init("from", reference, "sha256:…, NAME or NAME@VERSION"), .init("to", reference, "The same; of a build's output its digest"),
               .optional("path", .string(), "Only this file, or what is in this folder"), .optional("stat", .boolean, "Counts only, no texts"),
           ]),
           output: .object([
               .init("from", .string(), "Digest"), .init("to", .string(), "Digest"),
               .init("changes", .array(.object([
                   .init("kind", .string(), "added, removed, renamed, type, content, target or mode"), .init("path", .string(), "The new path; the old one of what was removed"),
                   .optional("oldPath", .string(), "Of what was renamed"), .optional("oldMode", .string(), "Octal, where it differs"), .optional("newMode", .string(), "Octal, where it differs"),
                   .optional("oldTarget", .string(), "Of a link"), .optional("newTarget", .string(), "Of a link"),
                   .optional("oldBytes", .integer, "Size of the file that was"), .optional("newBytes", .integer, "Size of the file that is"),
                   .optional("shown", .string(), "text; or why no lines are shown: binary, large, rest (the answer is full; ask for this path)"),
                   .optional("added", .integer, "Lines"), .optional("removed", .integer, "Lines"), .optional("unified", .string(), "As `patch -p1` takes it"),
               ])), "In the order of paths"),
               .init("addedLines", .integer, "All together"), .init("removedLines", .integer, "All together"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts, stat = params["stat"]?.bool == true
        let from = try parts.comparable(params["from"]?.string ?? ""), to = try parts.comparable(params["to"]?.string ?? "")
        return try await offEventLoops { () throws(MeshError) in
            let differences = try parts.store.diff(from.tree, to.tree, manifests: (from.manifest, to.manifest), path: params["path"]?.string)
            return [
                "from": JSONValue(from.digest), "to": JSONValue(to.digest), "changes": .array(differences.map { row(of: $0, stat: stat) }),
                "addedLines": JSONValue(differences.reduce(0) { $0 + $1.addedLines }), "removedLines": JSONValue(differences.reduce(0) { $0 + $1.removedLines }),
            ]
        }
    },
]

private func row(of difference: FileDifference, stat: Bool) -> JSONValue {
    let change = difference.change
    var row: [String: JSONValue] = ["kind": .string(change.kind.rawValue), "path": .string(change.path)]
    if change.kind == .renamed, let old = change.old { row["oldPath"] = .string(old.path) }
    if change.isModeChanged, let old = change.old, let new = change.new {
        row["oldMode"] = .string(String(old.mode, radix: 8))
        row["newMode"] = .string(String(new.mode, radix: 8))
    }
    for (key, entry) in [("old", change.old), ("new", change.new)] {
        switch entry?.content {
        case .file(let size, _): row["\(key)Bytes"] = .integer(size)
        case .link(let target): row["\(key)Target"] = .string(target)
        case .directory, nil: break
        }
    }
    switch difference.content {
    case .none: break
    case .sizes(_, _, let why): row["shown"] = .string(why.rawValue)
    case .text(let unified, let added, let removed, _):
        row["shown"] = "text"
        row["added"] = JSONValue(added)
        row["removed"] = JSONValue(removed)
        if !stat { row["unified"] = .string(unified) }
    }
    return .object(row)
}

extension NodeParts {
    fileprivate struct Comparable: Sendable {
        let digest: Digest
        let tree: VerifiedTree
        /// nil for a build's output.
        let manifest: Manifest?
    }

    /// A capsule in the store, or a build's output by its digest.
    fileprivate func comparable(_ text: String) throws(MeshError) -> Comparable {
        if case .digest(let digest) = try Reference(parsing: text), !store.contains(capsule: digest), let tree = try? store.tree(index: digest) {
            return Comparable(digest: digest, tree: tree, manifest: nil)
        }
        let digest = try digest(of: text)
        let capsule = try storedCapsule(digest.description)
        return Comparable(digest: capsule.digest, tree: capsule.tree, manifest: capsule.manifest)
    }
}
