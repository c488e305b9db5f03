internal import ArgumentParser
internal import MeshCore

struct Log: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A capsule and the ones it was made from.",
        discussion: "Example:\n  capsule log shop\n\nA capsule names its parents in its manifest, or by `capsule pack --parent`.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A name or a digest.") var ref: String

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.log", ["ref": Session.reference(ref)])) { result in
            Terminal.table((result["capsules"]?.array ?? []).map { row in
                let isHere = row["here"]?.bool == true
                return [row["digest"]?.string ?? "", isHere ? "\(row["name"]?.string ?? "")@\(row["version"]?.string ?? "")" : "not here",
                        row["createdAt"]?.integer.map { $0.rfc3339 } ?? ""]
            })
            if result["isCut"]?.bool == true { Terminal.note("there are more; ask for one of the last again") }
        }
    }
}

struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What differs between two capsules or build outputs.",
        discussion: """
            Example:
              capsule diff shop@1.1.0 shop@1.2.0 src
              capsule diff old.caps new.caps --stat

            Prints what `patch -p1` takes, and a line for what has no text. Files are taken into the store first.
            """)
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A .caps file, a name or a digest.") var from: String
    @Argument(help: "The same.") var to: String
    @Argument(help: "Only this file, or what is in this folder.") var path: String?
    @Flag(help: "Only counts, a line for each file.") var stat = false

    func run() async throws {
        let session = Session(options: options)
        let from = try await digest(of: from, session), to = try await digest(of: to, session)
        let params: [String: JSONValue?] = ["from": from, "to": to, "path": path.map(JSONValue.string), "stat": stat ? true : nil]
        session.answer(try await session.call("capsule.diff", params)) { result in
            let changes = result["changes"]?.array ?? []
            if stat { return summary(result, changes) }
            for change in changes {
                for line in Self.headings(of: change) { Terminal.print(line) }
                if let text = change["unified"]?.string, !text.isEmpty { Terminal.print(text.trimmedNewline) }
            }
        }
    }

    /// Of a file, what it became in the store.
    private func digest(of text: String, _ session: Session) async throws -> JSONValue {
        let reference = Session.reference(text)
        guard let path = reference.string, path.hasPrefix("/") else { return reference }
        return try await session.call("capsule.import", ["paths": .array([reference])], makesHome: true).array?.first?["digest"] ?? reference
    }

    private func summary(_ result: JSONValue, _ changes: [JSONValue]) {
        Terminal.table(changes.map { change in
            let name = change["oldPath"]?.string.map { "\($0) → \(change["path"]?.string ?? "")" } ?? change["path"]?.string ?? ""
            let count = change["shown"]?.string == "text" ? "+\(change["added"]?.integer ?? 0) −\(change["removed"]?.integer ?? 0)" : Self.sizes(change) ?? ""
            return [name, change["kind"]?.string ?? "", count]
        })
        Terminal.print("\(changes.count) differ, +\(result["addedLines"]?.integer ?? 0) −\(result["removedLines"]?.integer ?? 0) lines")
    }

    /// What the text does not say, or all there is where there is none.
    private static func headings(of change: JSONValue) -> [String] {
        let path = change["path"]?.string ?? "", kind = change["kind"]?.string ?? ""
        var lines: [String] = []
        switch kind {
        case "renamed": lines.append("renamed \(change["oldPath"]?.string ?? "") → \(path)")
        case "target": lines.append("target \(path): \(change["oldTarget"]?.string ?? "") → \(change["newTarget"]?.string ?? "")")
        case "type": lines.append("type \(path)")
        default: if change["unified"]?.string ?? "" == "", kind != "mode" { lines.append("\(kind) \(path)") }
        }
        if let old = change["oldMode"]?.string, let new = change["newMode"]?.string { lines.append("mode \(path): \(old) → \(new)") }
        if let why = change["shown"]?.string, why != "text" { lines[lines.endIndex - 1] += ": \(why), \(sizes(change) ?? "")" }
        return lines
    }

    private static func sizes(_ change: JSONValue) -> String? {
        let old = change["oldBytes"]?.integer, new = change["newBytes"]?.integer
        guard old != nil || new != nil else { return nil }
        return [old, new].compactMap { $0.map(Terminal.bytes) }.joined(separator: " → ")
    }
}
