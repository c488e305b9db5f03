internal import ArgumentParser
internal import MeshCore

/// A key with which to sign, and where its passphrase comes from.
struct SigningOptions: ParsableArguments {
    @Option(help: "Key to sign with: its name here, or the path of its file; the node key unless given.") var key: String?
    @Flag(help: "Read the passphrase of that key from standard input (a prompt on a terminal).") var passphraseStdin = false

    func params() throws(MeshError) -> [String: JSONValue?] {
        ["key": key.map { $0.contains("/") ? Session.path($0) : .string($0) }, "passphrase": passphraseStdin ? .string(try Session.secret(prompt: "passphrase: ")) : nil]
    }
}

struct Pack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Pack a folder with a capsule.json into the store, and sign it.",
        discussion: "Example:\n  capsule pack ./shop -o shop.caps --release\n\nThe same files give the same digest on every machine.")
    @OptionGroup var options: GlobalOptions
    @OptionGroup var signing: SigningOptions
    @Argument(help: "The folder.") var directory: String
    @Option(name: .shortAndLong, help: "Also write a .caps file.") var output: String?
    @Flag(help: "Release it to the mesh.") var release = false
    @Option(help: "Let a file through that looks like a secret; repeat for more.") var allowSecret: [String] = []
    @Option(help: "A capsule that this one was made from; repeat for more.") var parent: [String] = []
    @Flag(help: "Read every file, also those that look unchanged since this folder was packed before.") var paranoid = false

    func run() async throws {
        let session = Session(options: options)
        let params: [String: JSONValue?] = [
            "directory": Session.path(directory), "output": output.map(Session.path), "release": release ? true : nil,
            "allowSecrets": allowSecret.isEmpty ? nil : .array(allowSecret.map(JSONValue.string)),
            "parents": parent.isEmpty ? nil : .array(parent.map(JSONValue.string)), "paranoid": paranoid ? true : nil,
        ]
        session.answer(try await session.call("capsule.pack", params.merging(try signing.params()) { first, _ in first }, makesHome: true)) { result in
            Terminal.print("\(result["name"]?.string ?? "")@\(result["version"]?.string ?? "")  \(result["digest"]?.string ?? "")")
            if !options.quiet {
                Terminal.note("\(result["files"]?.integer ?? 0) files, \(Terminal.bytes(result["bytes"]?.integer ?? 0)), \(Terminal.bytes(result["newBytes"]?.integer ?? 0)) new"
                    + (result["fact"] == nil ? "" : "; released to the mesh") + (result["path"]?.string.map { "; written to \($0)" } ?? ""))
            }
        }
    }
}

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Recompute everything about a capsule, and say whether its makers are trusted.",
        discussion: "Example:\n  capsule verify shop.caps --trust alice.pub\n\nExit 0 intact and trusted, 77 intact but signed by nobody known, 65 damaged.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A .caps file, a name or a digest.") var ref: String
    @Option(help: "A public key to trust for this question; repeat for more.") var trust: [String] = []

    func run() async throws {
        let session = Session(options: options)
        let params: [String: JSONValue?] = ["ref": Session.reference(ref), "trust": trust.isEmpty ? nil : .array(trust.map(Session.path))]
        let report = try await session.call("capsule.verify", params, makesHome: true)
        session.answer(report) { report in
            Terminal.print("\(report["name"]?.string ?? "")@\(report["version"]?.string ?? "")  \(report["digest"]?.string ?? "")")
            for check in report["checks"]?.array ?? [] { Terminal.print("  ok  \(check["name"]?.string ?? ""): \(check["detail"]?.string ?? "")") }
            Terminal.print(report["trusted"]?.bool == true ? "intact, trusted: \(report["reason"]?.string ?? "")" : "intact, NOT trusted: \(report["reason"]?.string ?? "")")
        }
        if report["trusted"]?.bool != true { throw ExitWith(status: .notPermitted) }
    }
}

struct Inspect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The manifest, size and signers of a capsule.", discussion: "Example:\n  capsule inspect shop@1.2.0")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A .caps file, a name or a digest.") var ref: String

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.inspect", ["ref": Session.reference(ref)], makesHome: true)) { capsule in
            let manifest = capsule["manifest"]
            var rows = [
                ["digest", capsule["digest"]?.string ?? ""], ["id", manifest?["id"]?.string ?? ""], ["name", manifest?["name"]?.string ?? ""],
                ["content", "\(capsule["files"]?.integer ?? 0) files, \(Terminal.bytes(capsule["bytes"]?.integer ?? 0)), \(capsule["chunkCount"]?.integer ?? 0) chunks"],
                ["licence", manifest?["rights"]?["license"]?.string ?? "OSL-3.0-or-compatible"],
            ]
            for step in manifest?["build"]?["steps"]?.array ?? [] { rows.append(["step", step.string ?? ""]) }
            for document in capsule["documents"]?.array ?? [] { rows.append(["document", "\(document["type"]?.string ?? "")  \((document["keyIds"]?.array ?? []).compactMap(\.string).map { String($0.prefix(16)) }.joined(separator: ", "))"]) }
            Terminal.table(rows)
        }
    }
}

struct Unpack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Verified files into a new or empty folder; all or nothing.",
        discussion: "Example:\n  capsule unpack shop.caps ./shop\n  capsule unpack shop@1.2.0 ./docs --path docs --path README.md\n\nA file is unpacked as it is, without being taken in. The digest of a build's output unpacks as well. With --intact a damaged store gives all files that are whole and names the others; exit 65 then.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A .caps file, a name or a digest.") var ref: String
    @Argument(help: "A folder that is new or empty.") var directory: String
    @Option(help: "Only this file or folder of the capsule; repeat for more.") var path: [String] = []
    @Flag(help: "Go on although nobody trusted signed it.") var untrusted = false
    @Flag(help: "From a damaged store: write what is whole, name what is not.") var intact = false

    func run() async throws {
        let session = Session(options: options)
        let params: [String: JSONValue?] = ["ref": Session.reference(ref), "directory": Session.path(directory), "untrusted": untrusted ? true : nil, "intact": intact ? true : nil,
                                            "paths": path.isEmpty ? nil : .array(path.map(JSONValue.string))]
        let result = try await session.call("capsule.unpack", params, makesHome: true), lost = result["lost"]?.array ?? []
        session.answer(result) {
            for path in lost { Terminal.print("lost  \(path.string ?? "")") }
            Terminal.print("\($0["files"]?.integer ?? 0) files, \(Terminal.bytes($0["bytes"]?.integer ?? 0)) in \(directory)" + (lost.isEmpty ? "" : "; \(lost.count) lost"))
        }
        if !lost.isEmpty { throw ExitWith(status: .badData) }
    }
}

struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write a capsule with its evidence as one .caps file.", discussion: "Example:\n  capsule export shop@1.2.0 -o shop.caps")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A name or a digest.") var ref: String
    @Option(name: .shortAndLong, help: "The file to write.") var output: String

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.export", ["ref": Session.reference(ref), "output": Session.path(output)])) {
            Terminal.print("\($0["path"]?.string ?? "")  \(Terminal.bytes($0["bytes"]?.integer ?? 0))")
        }
    }
}

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Take .caps files or OCI layout folders into the store, verified.", discussion: "Example:\n  capsule import shop.caps")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "The files.") var files: [String]

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.import", ["paths": .array(files.map(Session.path))], makesHome: true)) { capsules in
            for capsule in capsules.array ?? [] {
                Terminal.print("\(capsule["name"]?.string ?? "")@\(capsule["version"]?.string ?? "")  \(capsule["digest"]?.string ?? "")")
                if capsule["trusted"]?.bool != true, !options.quiet { Terminal.note("  intact, NOT trusted: \(capsule["reason"]?.string ?? "")") }
            }
        }
    }
}

struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "The capsules here, or the mesh's releases.", discussion: "Example:\n  capsule ls --mesh 'shop-*'")
    @OptionGroup var options: GlobalOptions
    @Flag(help: "The releases of the mesh instead of this store.") var mesh = false
    @Argument(help: "Names to list.") var glob: String?

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.list", ["mesh": mesh ? true : nil, "glob": glob.map(JSONValue.string)])) { rows in
            Terminal.table((rows.array ?? []).map { row in
                let state = mesh ? ([row["contested"]?.bool == true ? "contested" : row["here"]?.bool == true ? "here" : "in the mesh"]
                        + (row["channels"]?.array ?? []).compactMap(\.string)).joined(separator: " ")
                    : "\(row["origin"]?.string ?? "")  \(Terminal.bytes(row["bytes"]?.integer ?? 0))"
                return ["\(row["name"]?.string ?? "")@\(row["version"]?.string ?? "")", row["digest"]?.string ?? "", state]
            })
        }
    }
}

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Say to the mesh that a capsule is a release of its name and version.", discussion: "Example:\n  capsule release shop@1.2.0 --notes 'faster search'")
    @OptionGroup var options: GlobalOptions
    @OptionGroup var signing: SigningOptions
    @Argument(help: "A .caps file, a name or a digest.") var ref: String
    @Option(help: "What is new, for people.") var notes: String?

    func run() async throws {
        let session = Session(options: options)
        let params: [String: JSONValue?] = ["ref": Session.reference(ref), "notes": notes.map(JSONValue.string)]
        session.answer(try await session.call("capsule.release", params.merging(try signing.params()) { first, _ in first })) {
            Terminal.print("released \($0["digest"]?.string ?? "") by fact \($0["fact"]?.string ?? "")")
        }
    }
}

struct Pull: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fetch a capsule from whichever peers have it.",
        discussion: "Example:\n  capsule pull shop\n\nAn interrupted pull goes on where it ended when it is run again.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A name or a digest.") var ref: String
    @Option(help: "Key id of the only peer to ask.") var from: String?

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.pull", ["ref": Session.reference(ref), "from": from.map(JSONValue.string)])) { result in
            Terminal.print("\(result["digest"]?.string ?? "")  \(Terminal.bytes(result["bytesFetched"]?.integer ?? 0)) fetched, \(Terminal.bytes(result["bytesReused"]?.integer ?? 0)) reused, \(result["sources"]?.array?.count ?? 0) sources, \(result["milliseconds"]?.integer ?? 0) ms")
        }
    }
}
