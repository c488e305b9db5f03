internal import ArgumentParser
internal import MeshCore

struct Withdraw: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say to the mesh that a capsule is no release any more.",
        discussion: "Example:\n  capsule withdraw shop@1.2.0 --reason 'loses orders'\n\nNothing takes it back. With --security it stays even if the key that signs it turns out to be stolen.")
    @OptionGroup var options: GlobalOptions
    @OptionGroup var signing: SigningOptions
    @Argument(help: "A name or a digest.") var ref: String
    @Option(help: "Why, for people.") var reason: String
    @Flag(help: "It is not safe: final.") var security = false

    func run() async throws {
        let session = Session(options: options)
        let params: [String: JSONValue?] = ["ref": Session.reference(ref), "reason": .string(reason), "security": security ? true : nil]
        session.answer(try await session.call("capsule.withdraw", params.merging(try signing.params()) { first, _ in first })) {
            Terminal.print("withdrew \($0["digest"]?.string ?? "") from \($0["name"]?.string ?? "") by fact \($0["fact"]?.string ?? "")")
        }
    }
}

struct Channels: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "channel", abstract: "Channels of a name: stable, beta, …", subcommands: [Set.self, ListChannels.self], defaultSubcommand: ListChannels.self)

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Point a channel to a release.",
            discussion: "Example:\n  capsule channel set shop@stable shop@1.2.0\n\nA new epoch, opened by a root, sets aside whatever was said of the channel before, whoever has run ahead with it.")
        @OptionGroup var options: GlobalOptions
        @OptionGroup var signing: SigningOptions
        @Argument(help: "NAME@CHANNEL") var channel: String
        @Argument(help: "The release: a name or a digest.") var ref: String
        @Flag(help: "Open a new epoch; needs a root's key.") var newEpoch = false
        @Option(help: "The channel is stale after so many days, unless it is set again before.") var validDays: Int?

        func run() async throws {
            let session = Session(options: options)
            let params: [String: JSONValue?] = ["channel": .string(channel), "ref": Session.reference(ref), "newEpoch": newEpoch ? true : nil, "validDays": validDays.map { JSONValue($0) }]
            session.answer(try await session.call("channel.set", params.merging(try signing.params()) { first, _ in first })) {
                Terminal.print("\(channel) is \($0["digest"]?.string ?? "") (\($0["epoch"]?.integer ?? 0).\($0["ver"]?.integer ?? 0)) by fact \($0["fact"]?.string ?? "")")
            }
        }
    }

    struct ListChannels: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The channels of the mesh.", discussion: "Example:\n  capsule channel list 'shop-*'")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "Names to list.") var glob: String?

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("catalog.show", ["name": glob.map(JSONValue.string), "limit": 0])["channels"] ?? []) { CatalogCommand.print(channels: $0) }
        }
    }
}

struct CatalogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "catalog", abstract: "What the mesh says, and why.", subcommands: [Show.self, VerifyCatalog.self, ExportFacts.self, ImportFacts.self], defaultSubcommand: Show.self)

    static func print(channels: JSONValue) {
        Terminal.table((channels.array ?? []).map { row in
            ["\(row["name"]?.string ?? "")@\(row["channel"]?.string ?? "")", row["digest"]?.string ?? "", "\(row["epoch"]?.integer ?? 0).\(row["ver"]?.integer ?? 0)",
             [row["trouble"]?.string, row["stale"]?.bool == true ? "stale" : nil].compactMap(\.self).joined(separator: " ")]
        })
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Charter, keys, channels, withdrawals, and the facts that decided.",
            discussion: "Example:\n  capsule catalog show --name shop\n  capsule catalog show --author c3f860ca --limit 20")
        @OptionGroup var options: GlobalOptions
        @Option(help: "Only what is about names like this.") var name: String?
        @Option(help: "Only facts by this key: its id, or the beginning of it.") var author: String?
        @Option(help: "Only facts of this kind.") var kind: String?
        @Option(help: "So many facts at most.") var limit = 100

        func run() async throws {
            let session = Session(options: options)
            let params: [String: JSONValue?] = ["name": name.map(JSONValue.string), "author": author.map(JSONValue.string), "kind": kind.map(JSONValue.string), "limit": JSONValue(limit)]
            session.answer(try await session.call("catalog.show", params)) { catalog in
                let charter = catalog["charter"]
                Terminal.table([
                    ["mesh", catalog["mesh"]?.string ?? ""], ["root", catalog["root"]?.string ?? ""],
                    ["facts", "\(catalog["facts"]?.integer ?? 0), \(catalog["waiting"]?.integer ?? 0) more waiting"],
                    ["charter", "version \(charter?["version"]?.integer ?? 0), \(charter?["threshold"]?.integer ?? 0) of \(charter?["roots"]?.array?.count ?? 0) roots"
                        + (charter?["contested"]?.array?.isEmpty == false ? ", CONTESTED" : "")],
                ])
                for key in catalog["keys"]?.array ?? [] {
                    Terminal.print("key  \(key["id"]?.string?.prefix(16) ?? "")  \(key["state"]?.string ?? "")  \((key["roles"]?.array ?? []).compactMap(\.string).joined(separator: ", "))")
                }
                CatalogCommand.print(channels: catalog["channels"] ?? [])
                for row in catalog["withdrawn"]?.array ?? [] {
                    Terminal.print("withdrawn  \(row["name"]?.string ?? "")  \(row["digest"]?.string ?? "")  \(row["reason"]?.string ?? "")\(row["security"]?.bool == true ? " (security)" : "")")
                }
                for fact in catalog["list"]?.array ?? [] {
                    Terminal.print("\(fact["fact"]?.string ?? "")  \(fact["kind"]?.string ?? "")  \(fact["author"]?.string?.prefix(16) ?? "") \(fact["seq"]?.integer ?? 0)"
                        + (fact["counts"]?.bool == true ? "" : "  does not count: its author was revoked"))
                }
            }
        }
    }

    struct VerifyCatalog: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "verify", abstract: "Check every fact and work everything out anew.", discussion: "Example:\n  capsule catalog verify")
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let session = Session(options: options)
            let report = try await session.call("catalog.verify"), isGood = report["ok"]?.bool == true
            session.answer(report) { report in
                for line in (report["problems"]?.array ?? []) + (report["remarks"]?.array ?? []) { Terminal.print(line.string ?? "") }
                Terminal.print("\(report["facts"]?.integer ?? 0) facts, \(isGood ? "all hold" : "NOT all hold"); root \(report["root"]?.string ?? "")")
            }
            if !isGood { throw ExitWith(status: .badData) }
        }
    }

    struct ExportFacts: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "export", abstract: "Write charter and facts to a file.", discussion: "Example:\n  capsule catalog export /media/stick/mesh.facts")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "The file to write.") var file: String

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("catalog.export", ["output": Session.path(file)])) {
                Terminal.print("\($0["path"]?.string ?? "")  \($0["facts"]?.integer ?? 0) facts, \(Terminal.bytes($0["bytes"]?.integer ?? 0))")
            }
        }
    }

    struct ImportFacts: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "import", abstract: "Take in charter and facts of this mesh from a file.", discussion: "Example:\n  capsule catalog import /media/stick/mesh.facts")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "The file.") var file: String

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("catalog.import", ["path": Session.path(file)])) {
                Terminal.print("\($0["facts"]?.integer ?? 0) new, \($0["known"]?.integer ?? 0) known, \($0["waiting"]?.integer ?? 0) waiting, \($0["refused"]?.integer ?? 0) refused")
            }
        }
    }
}

extension Keys {
    struct RevokeKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke", abstract: "Take a key's word away in this mesh, for good.",
            discussion: "Example:\n  capsule keys revoke c3f860ca5da4454d --reason 'laptop stolen' --keep sha256:…\n\nWhat it said up to the fact that --keep names still counts; without it, all that is known here now. `capsule catalog show --author ID` lists its facts.")
        @OptionGroup var options: GlobalOptions
        @OptionGroup var signing: SigningOptions
        @Argument(help: "Key id, or its beginning.") var id: String
        @Option(help: "Why, for people.") var reason: String
        @Option(help: "The last honest fact of the key.") var keep: String?

        func run() async throws {
            let session = Session(options: options)
            let params: [String: JSONValue?] = ["id": .string(id), "reason": .string(reason), "keep": keep.map(JSONValue.string)]
            session.answer(try await session.call("keys.revoke", params.merging(try signing.params()) { first, _ in first })) {
                Terminal.print("revoked \($0["id"]?.string ?? "") by fact \($0["fact"]?.string ?? "")\($0["keep"]?.string.map { "; its facts count up to \($0)" } ?? "; none of its facts counts")")
            }
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a new key in the place of one of this home.",
            discussion: "Example:\n  capsule keys rotate            # the node key; stop the node first\n  capsule keys rotate root       # a new charter\n\nThe new key has all that the old one was granted; the old one says nothing more.")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "Name of the key.") var name = "node"
        @Flag(help: "Read the passphrase of that key from standard input (a prompt on a terminal).") var passphraseStdin = false

        func run() async throws {
            let session = Session(options: options)
            let secret: JSONValue? = passphraseStdin ? .string(try Session.secret(prompt: "passphrase: ")) : nil
            session.answer(try await session.call("keys.rotate", ["name": .string(name), "passphrase": secret])) {
                Terminal.print("\($0["name"]?.string ?? ""): \($0["old"]?.string ?? "") → \($0["id"]?.string ?? "")")
            }
        }
    }

    struct MoveRoot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "move-root", abstract: "Move the secret root key out of this home.",
            discussion: "Example:\n  capsule keys move-root /media/stick\n\nAfterwards whoever takes this machine has a node, not the mesh. Sign with --key /media/stick/….key where a root is needed.")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "A folder outside of this home.") var directory: String

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("keys.move-root", ["directory": Session.path(directory)])) {
                Terminal.print("the root key is in \($0["path"]?.string ?? "")")
            }
        }
    }
}
