internal import ArgumentParser
internal import Actions
internal import Glibc
internal import MeshCore

struct Home: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The home as one sealed file, and back.", discussion: "Example:\n  capsule home backup /media/stick/studio.oshb", subcommands: [Backup.self, Restore.self])

    struct Backup: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write everything but packs to one new file, sealed with a passphrase.",
            discussion: """
                Example:
                  capsule home backup /media/stick/studio.oshb

                Keys, charter, facts, peers, tokens, deployments and their data are in it; the node may go on running. The contents of
                capsules are not: they come back by `capsule pull` or `capsule import`, or with a copy of capsules/packs. Nobody can
                open the file without the passphrase.
                """)
        @OptionGroup var options: GlobalOptions
        @Argument(help: "The file to write; it must not be there yet.") var file: String
        @Flag(help: "Seal it with the passphrase that standard input gives.") var passphraseStdin = false

        func run() async throws {
            let session = Session(options: options)
            guard !Files.exists(file) else { throw MeshError(.alreadyExists, "\(file) is there already", hint: "choose another name; a backup is never overwritten") }
            let passphrase = try Session.passphrase(prompt: "passphrase for \(file): ", fromInput: passphraseStdin, twice: true)
            session.answer(try await session.call("home.backup", ["path": Session.path(file), "passphrase": .string(passphrase)])) { result in
                Terminal.print("\(result["path"]?.string ?? "")  \(result["files"]?.integer ?? 0) files, \(Terminal.bytes(result["bytes"]?.integer ?? 0))")
                for row in result["skipped"]?.array ?? [] { Terminal.note("not as it was: \(row["path"]?.string ?? ""): \(row["why"]?.string ?? "")") }
                let more = (result["skippedCount"]?.integer ?? 0) - Int64(result["skipped"]?.array?.count ?? 0)
                if more > 0 { Terminal.note("and \(more) more") }
                if !options.quiet { Terminal.note("packs are not in it: copy \(options.home.capsules)/packs as well, or pull the capsules again after a restore") }
            }
        }
    }

    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a home of a backup; all of it or nothing.",
            discussion: """
                Example:
                  capsule --home ~/studio home restore /media/stick/studio.oshb

                The home must not be there yet, or be an empty folder. It is the same node as before: never let the old home and the
                restored one run both.
                """)
        @OptionGroup var options: GlobalOptions
        @Argument(help: "The backup.") var file: String
        @Flag(help: "Open it with the passphrase that standard input gives.") var passphraseStdin = false

        func run() async throws {
            let session = Session(options: options), home = options.home, path = Files.absolute(file), onEvent = session.progress
            // What cannot go well is said before anybody types.
            try HomeBackup.check(path, home)
            let passphrase = Array(try Session.passphrase(prompt: "passphrase of \(file): ", fromInput: passphraseStdin, twice: false).utf8)
            defer { Progress.clear() }
            let restored = try await offEventLoops { () throws(MeshError) in
                try HomeBackup.restore(from: path, to: home, passphrase: passphrase, clock: SystemClock(), emit: onEvent)
            }
            Progress.clear()
            session.answer(restored.json) { result in
                Terminal.table([
                    ["home", restored.home], ["node", "\(restored.name)  \(restored.nodeID)"], ["mesh", restored.mesh],
                    ["content", "\(restored.files) files, \(Terminal.bytes(restored.bytes))"],
                ])
                guard !options.quiet else { return }
                if !restored.missing.isEmpty {
                    Terminal.note("""
                        \(restored.missing.count) capsules are known whose contents are not here. Copy the old home's packs to \(home.capsules)/packs,
                        or bring each back with `capsule pull sha256:…` or `capsule import FILE`; `--json` lists them.
                        """)
                }
                Terminal.note("next: `capsule up`; sync with the mesh before you release, and do not run the old home any more")
            }
        }
    }
}

extension Session {
    /// A passphrase typed at the terminal, twice when it is a new one, or the first line of standard input.
    static func passphrase(prompt: String, fromInput: Bool, twice: Bool) throws(MeshError) -> String {
        guard isatty(0) == 1 else {
            guard fromInput else { throw MeshError(.inputMissing, "there is no terminal at which to ask for the passphrase", hint: "pipe it in and say --passphrase-stdin") }
            return try secret(prompt: "")
        }
        let first = try secret(prompt: prompt)
        guard twice, try secret(prompt: "once more: ") != first else { return first }
        throw MeshError(.passphraseDiffers, "the two passphrases are not the same", hint: "try again; nothing was written")
    }
}

extension ErrorCode {
    static let passphraseDiffers = ErrorCode("passphrase_differs", .usage)
}
