internal import ArgumentParser
internal import MeshCore

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Keys of this home, and who is trusted with what.", subcommands: [New.self, ListKeys.self, Trust.self, RevokeKey.self, Rotate.self, MoveRoot.self], defaultSubcommand: ListKeys.self)

    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make an Ed25519 key.", discussion: "Example:\n  capsule keys new alice --passphrase")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "File name of the key.") var name: String
        @Flag(help: "Seal the secret key with a passphrase, asked for at the prompt.") var passphrase = false
        @Flag(help: "Seal it with the passphrase that standard input gives.") var passphraseStdin = false

        func run() async throws {
            let session = Session(options: options)
            // Typed: a bare nil would become JSON's null.
            let secret: JSONValue? = passphrase || passphraseStdin ? .string(try Session.secret(prompt: "passphrase for \(name): ")) : nil
            session.answer(try await session.call("keys.new", ["name": .string(name), "passphrase": secret], makesHome: true)) { key in
                Terminal.print("\(key["name"]?.string ?? "")  \(key["id"]?.string ?? "")")
            }
        }
    }

    struct ListKeys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The keys here and their roles.", discussion: "Example:\n  capsule keys list")
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("keys.list")) { keys in
                Terminal.table((keys.array ?? []).map { key in
                    [key["name"]?.string ?? "", key["short"]?.string ?? "", key["hasSecret"]?.bool == true ? (key["sealed"]?.bool == true ? "sealed" : "secret") : "public",
                     (key["roles"]?.array ?? []).compactMap(\.string).joined(separator: ", ")]
                })
            }
        }
    }

    struct Trust: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Grant a role in this mesh to a public key.",
            discussion: "Example:\n  capsule keys trust courier.pub --role publisher --scope 'shop-*'")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "PEM file of the public key.") var file: String
        @Option(help: "member, publisher, builder, operator or grantor.") var role: String
        @Option(help: "Name glob that a publisher may release; repeat for more.") var scope: [String] = []

        func run() async throws {
            let session = Session(options: options)
            let params: [String: JSONValue?] = ["path": Session.path(file), "role": .string(role), "scope": .array(scope.map(JSONValue.string))]
            session.answer(try await session.call("keys.trust", params)) { Terminal.print("granted \(role) to \($0["id"]?.string ?? "") by fact \($0["fact"]?.string ?? "")") }
        }
    }
}

struct Tokens: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "token", abstract: "Bearer tokens of the control API.", subcommands: [New.self, ListTokens.self, Revoke.self], defaultSubcommand: ListTokens.self)

    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a token; it is shown once.", discussion: "Example:\n  capsule token new --scope read,write --name ci")
        @OptionGroup var options: GlobalOptions
        @Option(help: "read, write, deploy, admin; separated by commas.") var scope: String
        @Option(help: "What it is for.") var name: String?

        func run() async throws {
            let session = Session(options: options)
            let scopes = scope.split(separator: ",").map { JSONValue.string(String($0)) }
            session.answer(try await session.call("token.new", ["scopes": .array(scopes), "name": name.map(JSONValue.string)], makesHome: true)) {
                Terminal.print($0["token"]?.string ?? "")
            }
        }
    }

    struct ListTokens: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The tokens, without their secrets.", discussion: "Example:\n  capsule token list")
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("token.list")) { tokens in
                Terminal.table((tokens.array ?? []).map { [$0["id"]?.string ?? "", ($0["scopes"]?.array ?? []).compactMap(\.string).joined(separator: ","), $0["createdAt"]?.string ?? "", $0["name"]?.string ?? ""] })
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a token stop working.", discussion: "Example:\n  capsule token revoke 0a1b2c3d4e5f")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "Its id in `capsule token list`.") var id: String

        func run() async throws {
            let session = Session(options: options)
            let answer = try await session.call("token.revoke", ["id": .string(id)])
            guard answer["revoked"]?.bool == true else { throw MeshError(.tokenUnknown, "there is no token \(id)", hint: "`capsule token list` shows those there are") }
            session.answer(answer) { _ in Terminal.print("revoked \(id)") }
        }
    }
}

extension ErrorCode {
    static let tokenUnknown = ErrorCode("token_unknown", .usage)
}
