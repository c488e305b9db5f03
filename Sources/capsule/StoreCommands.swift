internal import Actions
internal import ArgumentParser
internal import MeshCore

struct Fsck: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the store, and mend it.",
        discussion: """
            Example:
              capsule fsck --read
              capsule fsck --repair shop.caps

            Exit 0 when nothing is wrong (any more), 65 otherwise. --repair writes damaged packs anew and gets what was lost from the
            given files and from peers. --rebuild makes the index again from the packs, also where it is damaged; no node may run
            in the home meanwhile.
            """)
    @OptionGroup var options: GlobalOptions
    @Flag(help: "Read every byte of every pack.") var read = false
    @Flag(help: "Mend what can be mended.") var repair = false
    @Flag(help: "First make the index again from the packs.") var rebuild = false
    @Argument(help: "With --repair: .caps files to take lost chunks from.") var files: [String] = []

    func validate() throws {
        if !files.isEmpty, !repair { throw ValidationError("Files are for --repair.") }
    }

    func run() async throws {
        let session = Session(options: options)
        if rebuild {
            try StoreRecovery.rebuild(options.home, clock: SystemClock())
            if !options.quiet { Terminal.note("the index was made again from the packs") }
        }
        let params: [String: JSONValue?] = [
            "read": read ? true : nil, "repair": repair ? true : nil, "files": files.isEmpty ? nil : .array(files.map(Session.path)),
        ]
        let report = try await session.call("store.fsck", params)
        session.answer(report) { report in
            for problem in report["problems"]?.array ?? [] {
                Terminal.print("\(problem["kind"]?.string ?? "")  \(problem["what"]?.string ?? ""): \(problem["detail"]?.string ?? "")")
            }
            let looked = "\(report["packs"]?.integer ?? 0) packs, \(report["chunks"]?.integer ?? 0) chunks, \(Terminal.bytes(report["bytes"]?.integer ?? 0))"
            let bad = report["bad"]?.integer ?? 0, repaired = report["repaired"]?.integer ?? 0
            Terminal.print(bad == 0 ? "\(looked): nothing is wrong" : "\(looked): \(bad) problems, \(repaired) mended")
        }
        if report["ok"]?.bool != true { throw ExitWith(status: .badData) }
    }
}

struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Take capsules out of this store.",
        discussion: "Example:\n  capsule rm shop@1.0.0\n  capsule gc\n\nTheir bytes go with the next `capsule gc`. What is deployed, or may be rolled back to, stays.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "Names or digests.") var refs: [String]

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("capsule.remove", ["refs": .array(refs.map(Session.reference))])) { capsules in
            for capsule in capsules.array ?? [] { Terminal.print("\(capsule["name"]?.string ?? "")@\(capsule["version"]?.string ?? "")  \(capsule["digest"]?.string ?? "")") }
        }
    }
}

struct GC: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Delete what no capsule and no deployment needs.",
        discussion: """
            Example:
              capsule gc --dry-run

            What an interrupted pull or pack left stays for a day, so that it can go on; --all takes it as well. A running node
            collects by itself when its disk is 85 % full.
            """)
    @OptionGroup var options: GlobalOptions
    @Flag(help: "Only say what would be freed.") var dryRun = false
    @Flag(help: "Also what came within the last day and is in no capsule.") var all = false

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("store.gc", ["dryRun": dryRun ? true : nil, "all": all ? true : nil])) { report in
            let freed = Terminal.bytes(report["freed"]?.integer ?? 0), kept = Terminal.bytes(report["kept"]?.integer ?? 0)
            Terminal.print((dryRun ? "would free about \(freed)" : "freed \(freed)") + ", \(kept) kept")
            let packs = "\(report["packsDeleted"]?.integer ?? 0) packs deleted, \(report["packsRewritten"]?.integer ?? 0) copied"
            if !options.quiet { Terminal.note(packs + ", \(report["outputs"]?.array?.count ?? 0) build outputs dropped") }
            for chunk in report["damaged"]?.array ?? [] { Terminal.note("damaged: \(chunk.string ?? ""); `capsule fsck --repair` gets it back") }
        }
    }
}
