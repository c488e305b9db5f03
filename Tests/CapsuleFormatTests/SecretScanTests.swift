import CapsuleFormat
import MeshCore
import Testing

/// The tokens here are put together from their prefix and letters, so that nobody's scanner takes this file for a leak.
@Suite struct SecretScanTests {
    static func scan(_ text: [UInt8], pieces: Int? = nil) -> (what: String, line: Int)? {
        var scanner = SecretScanner()
        guard let pieces, !text.isEmpty else { return text.withUnsafeBytes { scanner.scan($0, isLast: true) } }
        var start = 0
        while start < text.count {
            let end = min(text.count, start + pieces)
            if let found = text[start..<end].withUnsafeBytes({ scanner.scan($0, isLast: end == text.count) }) { return found }
            start = end
        }
        return nil
    }

    static func scan(_ text: String) -> String? { scan(Array(text.utf8))?.what }

    static let letters = "aB3dE5gH7jK9mN1pQ2sT4vW6yZ8cF0xR5tU7iO9lA2bD4eG6hJ8kM0nP3qS5rV7wX9zC1fI"
    static func some(_ count: Int) -> String { String(letters.prefix(count)) }
    static let upper = "Q3JKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGH"
    static func up(_ count: Int) -> String { String(upper.prefix(count)) }
    static let dashes = "-----"

    static func pem(_ label: String, newline: String = "\n") -> String {
        "\(dashes)BEGIN \(label)\(dashes)\(newline)MC4CAQAwBQYDK2VwBCIEI\(some(40))\(newline)\(dashes)END \(label)\(dashes)\(newline)"
    }

    static let tokens: [(String, what: String)] = [
        ("AKIA\(up(16))", "an AWS access key"), ("ASIA\(up(16))", "an AWS access key"), ("ghp_\(some(36))", "a GitHub token"),
        ("gho_\(some(36))", "a GitHub token"), ("ghs_\(some(36))", "a GitHub token"), ("github_pat_\(some(22))_\(some(59))", "a GitHub token"),
        ("glpat-\(some(20))", "a GitLab token"), ("xoxb-1234567890-1234567890-\(some(24))", "a Slack token"), ("xoxp-1234567890-\(some(24))", "a Slack token"),
        ("xapp-1-A0123-1234567890-\(some(24))", "a Slack token"), ("AIza\(some(35))", "a Google API key"), ("GOCSPX-\(some(28))", "a Google client secret"),
        ("npm_\(some(36))", "an npm token"), ("pypi-AgEIcHlwaS5vcmc\(some(60))", "a PyPI token"), ("sk_live_\(some(24))", "a Stripe key"), ("rk_live_\(some(24))", "a Stripe key"),
        ("hf_\(some(34))", "a Hugging Face token"), ("dckr_pat_\(some(27))", "a Docker Hub token"), ("sk-ant-api03-\(some(60))", "an Anthropic key"),
        ("AGE-SECRET-KEY-1\(up(58))", "an age secret key"), ("PuTTY-User-Key-File-3: ssh-ed25519", "a PuTTY private key"),
    ]

    @Test func tokensInAllPlaces() {
        for (token, what) in Self.tokens {
            let texts: [String] = [
                token, "\(token)\n", "KEY=\(token)", "key: \"\(token)\"", "https://user:\(token)@example.org/", "Authorization: Bearer \(token)", "a,\(token),b", "\t\(token) ",
                "{\"text\":\"line\\n\(token)\\n\"}", "?token%3D\(token)&x", "é\(token)é", "--token-\(token)", String(repeating: "word and word ", count: 400) + token,
            ]
            for text in texts {
                #expect(Self.scan(text) == what, "\(what) in \(text.prefix(40))")
            }
            #expect(Self.scan(Array("one\ntwo\r\n\nx=\(token)\nfive".utf8))?.line == 4, "\(what)")
        }
    }

    @Test func whatIsNone() {
        let texts: [String] = [
            "AKIA\(Self.up(15))", "xAKIA\(Self.up(16))", "AKIA\(Self.up(10))abcdef", "ghp_\(Self.some(35))", "ghp_\(Self.some(20))-\(Self.some(20))",
            "GHP_\(Self.some(36))", "my_ghp_\(Self.some(36))", "sk_test_\(Self.some(24))", "npm_config_registry_and_more_of_it_here_today", "sk-learn-is-a-well-known-library-for-machine-learning",
            "xoxb-", "AIza", Self.letters, String(repeating: "a", count: 100_000), String(repeating: "-", count: 5000), String(repeating: "_ -", count: 3000), "PuTTY-User-Key-File-%d", "",
        ]
        for text in texts { #expect(Self.scan(text) == nil, "\(text.prefix(60))") }
    }

    @Test func privateKeys() {
        let labels = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]
        for label in labels {
            let texts: [String] = [
                Self.pem(label), "key = `\(Self.pem(label))`", Self.pem(label, newline: "\r\n"), "{\"key\":\"\(Self.pem(label, newline: "\\n"))\"}", "key: |\n  \(Self.pem(label, newline: "\n  "))",
                "\(Self.dashes)BEGIN \(label)\(Self.dashes)\nshort\n", "x\n\(Self.dashes)BEGIN \(label)\(Self.dashes)", "s = \"\(Self.dashes)BEGIN \(label)\(Self.dashes)\\n\" +\n    \"\(Self.some(64))\\n\"",
                "\(Self.dashes)BEGIN \(label)\(Self.dashes)\nProc-Type: 4,ENCRYPTED\n",
            ]
            for text in texts {
                #expect(Self.scan(text) == "a private key", "\(text.debugDescription.prefix(80))")
            }
            #expect(Self.scan(Array(("a\nb\n" + Self.pem(label)).utf8))?.line == 3)
        }
        #expect(Self.scan("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n") == "a private key")
    }

    /// Programs that read keys, and manuals about them, speak of the marker.
    @Test func talkAboutKeys() {
        let texts: [String] = [
            "if line == \"\(Self.dashes)BEGIN PRIVATE KEY\(Self.dashes)\" {", "static const char *begin = \"\(Self.dashes)BEGIN RSA PRIVATE KEY\(Self.dashes)\\n\";\nint main() {}",
            "A file with `\(Self.dashes)BEGIN PRIVATE KEY\(Self.dashes)` holds a key.", Self.pem("PUBLIC KEY"), Self.pem("CERTIFICATE"), "\(Self.dashes)BEGIN PGP PUBLIC KEY BLOCK\(Self.dashes)\n", "THE PRIVATE KEY\n",
            "BEGIN PRIVATE KEY\n", "-- BEGIN PRIVATE KEY --\n", "\(Self.dashes)BEGIN\nPRIVATE KEY\(Self.dashes)\n", "\(Self.dashes)END PRIVATE KEY\(Self.dashes)\n",
        ]
        for text in texts {
            #expect(Self.scan(text) == nil, "\(text.debugDescription.prefix(80))")
        }
    }

    /// A program holds strings that look like tokens; a key with its material is one anywhere.
    @Test func binaryFiles() {
        let zero: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 0, 0, 0]
        for (token, what) in Self.tokens { #expect(Self.scan(zero + Array(token.utf8)) == nil, "\(what)") }
        #expect(Self.scan(zero + Array("\n\(Self.dashes)BEGIN PRIVATE KEY\(Self.dashes)\n".utf8) + [0]) == nil)
        #expect(Self.scan(zero + Array(Self.pem("PRIVATE KEY").utf8))?.what == "a private key")
        // Only the beginning tells.
        #expect(Self.scan([UInt8](repeating: 0x20, count: 8192) + [0] + Array(Self.tokens[0].0.utf8))?.what == "an AWS access key")
    }

    @Test func linesAreCountedThroughManyBytes() {
        // Nothing but newlines is the most that the lanes of the counting can be asked to hold.
        let text = [UInt8](repeating: 0x0a, count: 300_007) + Array(String(repeating: "ab\n", count: 50_000).utf8) + Array(Self.pem("PRIVATE KEY").utf8)
        for pieces in [nil, 40_000, 100_001] { #expect(Self.scan(text, pieces: pieces)?.line == 350_008, "\(pieces ?? 0)") }
    }

    /// However a file comes in pieces, the same is found in the same line.
    @Test func anyPieces() {
        let filler = String(repeating: "some words of text\nand more-of_it\n", count: 12)
        let quoted = Self.pem("RSA PRIVATE KEY", newline: "\\n")
        for secret in Self.tokens.map(\.0) + [Self.pem("PRIVATE KEY"), "s = \"\(quoted)\""] {
            let text = Array("\(filler)x = \n\(secret)\n\(filler)".utf8)
            let whole = Self.scan(text)
            #expect(whole?.line == 26)
            for pieces in Array(1...40) + [63, 64, 127, 128, 200, 255, 256, 257, 300, 400, 411, 412, 413, 414, 415, 420, 430, 440, 450, 460, 500] {
                let found = Self.scan(text, pieces: pieces)
                #expect(found?.what == whole?.what && found?.line == whole?.line, "\(whole?.what ?? "") in pieces of \(pieces): \(String(describing: found))")
            }
        }
        for text in ["xAKIA\(Self.up(16))", "ghp_\(Self.some(35))", Self.letters] {
            for pieces in 1...30 { #expect(Self.scan(Array("a \(text) b".utf8), pieces: pieces) == nil, "\(pieces)") }
        }
    }

    /// The look at one byte in twenty finds what a look at every byte finds.
    @Test func nothingIsSteppedOver() {
        let token = Array(Self.tokens[0].0.utf8)
        for left in 0..<64 {
            for right in [0, 1, 19, 20, 21] {
                for filler: UInt8 in [0x20, 0x2e] {
                    let text = [UInt8](repeating: filler, count: left) + token + [UInt8](repeating: filler, count: right)
                    #expect(Self.scan(text)?.what == "an AWS access key", "\(left) before, \(right) after")
                }
            }
        }
    }

    @Test func names() {
        for path in [".env", "a/.env", ".env.local", "a/b/.env.production", ".envrc", ".env.example"] { #expect(SecretScanner.isSecretName(path), "\(path)") }
        for path in ["env", "a.env", ".en", ".env/a", "environment", "a/x.env"] { #expect(!SecretScanner.isSecretName(path), "\(path)") }
    }

    @Test func whatIsTold() {
        let error = SecretScanner.error("conf/\u{1b}app.yml", what: "a GitHub token", line: 12)
        #expect(error.code == .secretFound && error.isClearRefusal)
        #expect(error.message == "conf/\u{fffd}app.yml, line 12, looks like a GitHub token")
        #expect(error.hint.contains("--allow-secret"))
        #expect(SecretScanner.error(".env", what: "a file of secrets", line: nil).message == ".env looks like a file of secrets")
    }
}
