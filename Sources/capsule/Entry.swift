internal import ArgumentParser
internal import Glibc
internal import MeshCore

@main
struct Entry {
    static func main() async {
        // A closed pipe (`capsule ls | head`) is an error to handle, not a signal to die from.
        signal(SIGPIPE, SIG_IGN)
        let arguments = Array(CommandLine.arguments.dropFirst())
        let json = arguments.contains("--json")
        do {
            var command = try Capsule.parseAsRoot(GlobalOptions.movedBehindVerb(arguments))
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as MeshError {
            Terminal.fail(error, json: json)
        } catch let status as ExitWith {
            exit(status.status.rawValue)
        } catch {
            let code = Capsule.exitCode(for: error)
            if json, !code.isSuccess, code == .validationFailure {
                Terminal.fail(MeshError(.usage, Capsule.message(for: error), hint: "`capsule --help` lists the verbs, `capsule VERB --help` their options"), json: true)
            }
            Capsule.exit(withError: error)
        }
    }
}

/// Ends with a status although there is an answer to print: intact but untrusted, a doctor's finding.
struct ExitWith: Error { let status: ExitStatus }

extension ErrorCode {
    static let usage = ErrorCode("usage", .usage)
}

struct Capsule: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capsule",
        abstract: "Carry an app as one signed capsule: pack it, share it on the LAN, rebuild it bit for bit, run it.",
        discussion: """
            No server, no account. A first session:

              capsule init
              capsule up &                      # the node: finds its neighbours by itself
              capsule pack ./my-app --release   # everyone in the mesh sees it
              capsule deploy my-app --env dev   # builds, starts, prints the address

            Exit codes: 0 done, 64 usage, 65 bad data, 69 unavailable, 73 cannot create, 75 try again, 77 not trusted or
            not permitted, 78 bad configuration.
            """,
        version: "0.1.0",
        subcommands: [
            Init.self, Home.self, Up.self, Status.self, Doctor.self, Keys.self, Pack.self, Verify.self, Inspect.self, Unpack.self, Export.self, Import.self, Fsck.self, GC.self, Remove.self,
            List.self, Log.self, Diff.self, Release.self, Withdraw.self, Channels.self, CatalogCommand.self, Pull.self, Peers.self, Invite.self, Join.self, Sync.self, Build.self, Deploy.self, Processes.self, Logs.self,
            Rollback.self, Stop.self, Tokens.self, Events.self, Act.self, Tools.self,
        ])
}
