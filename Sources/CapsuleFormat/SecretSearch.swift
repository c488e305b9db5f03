internal import MeshCore

/// One look through bytes in memory for private keys and tokens.
struct SecretSearch {
    let isText: Bool

    /// The first thing found, and where it begins. `before` is the byte before these; nil at the start of the file.
    /// `isLast`: the file ends with these bytes.
    func find(_ bytes: UnsafeRawBufferPointer, before: UInt8?, isLast: Bool) -> (what: String, offset: Int)? {
        let key = privateKey(in: bytes, before: before, isLast: isLast)
        guard isText, let token = token(in: UnsafeRawBufferPointer(rebasing: bytes[..<(key ?? bytes.count)]), before: before) else {
            return key.map { ("a private key", $0) }
        }
        return token
    }

    // MARK: - Private keys

    private static let marker = Array(" PRIVATE KEY".utf8), begin = Array("BEGIN".utf8)
    /// `-----BEGIN ENCRYPTED PRIVATE KEY` and its like, up to the marker.
    private static let labelBytesMax = 48
    /// Of the key's own text, this much must follow where the marker alone says too little.
    private static let materialBytesMin = 24

    /// Where a PEM or OpenPGP private key begins (RFC 7468, RFC 4716, RFC 9580 §6.2). Sources and manuals speak of the marker too:
    /// it counts when it is a line of its own, or when what follows looks like a key.
    private func privateKey(in bytes: UnsafeRawBufferPointer, before: UInt8?, isLast: Bool) -> Int? {
        var from = 0
        while let at = bytes.firstOccurrence(of: Self.marker, from: from) {
            from = at + Self.marker.count
            guard let start = Self.dashes(before: at, in: bytes) else { continue }
            var end = from
            if bytes[end...].starts(with: " BLOCK".utf8) { end += 6 }
            let dash = UInt8(ascii: "-")
            guard bytes[end...].starts(with: "----".utf8) || bytes[end...].starts(with: " ----".utf8) else { continue }
            if bytes[end] != dash { end += 1 }
            while end < bytes.count, bytes[end] == dash { end += 1 }
            if (isText && Self.isLine(start, end, in: bytes, before: before, isLast: isLast)) || Self.hasMaterial(bytes, end) { return start }
        }
        return nil
    }

    /// The beginning of `-----BEGIN …` or `---- BEGIN …` before the marker.
    private static func dashes(before at: Int, in bytes: UnsafeRawBufferPointer) -> Int? {
        let label = UnsafeRawBufferPointer(rebasing: bytes[max(0, at - labelBytesMax)..<at])
        var found: Int?, from = 0
        while let begin = label.firstOccurrence(of: begin, from: from) {
            found = begin
            from = begin + 1
        }
        guard let found, !label[found...].contains(0x0a) else { return nil }
        var start = at - label.count + found
        if start > 0, bytes[start - 1] == UInt8(ascii: " ") { start -= 1 }
        let end = start
        while start > 0, bytes[start - 1] == UInt8(ascii: "-") { start -= 1 }
        return end - start >= 4 ? start : nil
    }

    private static func isLine(_ start: Int, _ end: Int, in bytes: UnsafeRawBufferPointer, before: UInt8?, isLast: Bool) -> Bool {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }
        var left = start, right = end
        while left > 0, isBlank(bytes[left - 1]) { left -= 1 }
        while right < bytes.count, isBlank(bytes[right]) { right += 1 }
        let first = left > 0 ? bytes[left - 1] : before
        return (first == nil || first == 0x0a) && (right < bytes.count ? bytes[right] == 0x0a : isLast)
    }

    /// Whether a key's text follows after quotes, line ends and escapes of line ends.
    private static func hasMaterial(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> Bool {
        var i = start
        let limit = min(bytes.count, start + 64)
        while i < limit {
            switch bytes[i] {
            case UInt8(ascii: "\\") where i + 1 < bytes.count && (bytes[i + 1] == UInt8(ascii: "n") || bytes[i + 1] == UInt8(ascii: "r")): i += 2
            case 0x09, 0x0a, 0x0d, 0x20, UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`"), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: "\\"): i += 1
            default:
                if bytes[i...].starts(with: "Proc-Type:".utf8) || bytes[i...].starts(with: "Version:".utf8) || bytes[i...].starts(with: "Comment:".utf8) { return true }
                let text = bytes[i...].prefix(materialBytesMin)
                return text.count == materialBytesMin && text.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "=") }
            }
        }
        return false
    }

    // MARK: - Tokens

    private struct Pattern: Sendable {
        let what: String
        let prefix: [UInt8]
        let follows: @Sendable (UInt8) -> Bool
        let count: Int

        init(_ what: String, _ prefix: String, _ count: Int, of follows: @escaping @Sendable (UInt8) -> Bool = isAlphanumeric) {
            self.what = what
            self.prefix = Array(prefix.utf8)
            self.follows = follows
            self.count = count
        }
    }

    /// More of them means a new `SecretScanner.version`.
    private static let patterns: [Pattern] = [
        Pattern("an AWS access key", "AKIA", 16, of: isUpper), Pattern("an AWS access key", "ASIA", 16, of: isUpper),
        Pattern("a GitHub token", "ghp_", 36), Pattern("a GitHub token", "gho_", 36), Pattern("a GitHub token", "ghu_", 36),
        Pattern("a GitHub token", "ghs_", 36), Pattern("a GitHub token", "ghr_", 36), Pattern("a GitHub token", "github_pat_", 40, of: isTokenByte),
        Pattern("a GitLab token", "glpat-", 20, of: isTokenByte), Pattern("a GitLab token", "glrt-", 20, of: isTokenByte),
        Pattern("a GitLab token", "gldt-", 20, of: isTokenByte), Pattern("a GitLab token", "glptt-", 40),
        Pattern("a Slack token", "xoxb-", 20, of: isTokenByte), Pattern("a Slack token", "xoxp-", 20, of: isTokenByte),
        Pattern("a Slack token", "xoxa-", 20, of: isTokenByte), Pattern("a Slack token", "xoxr-", 20, of: isTokenByte),
        Pattern("a Slack token", "xoxs-", 20, of: isTokenByte), Pattern("a Slack token", "xoxe-", 20, of: isTokenByte),
        Pattern("a Slack token", "xapp-", 20, of: isTokenByte),
        Pattern("a Google API key", "AIza", 35, of: isTokenByte), Pattern("a Google client secret", "GOCSPX-", 28, of: isTokenByte),
        Pattern("an npm token", "npm_", 36), Pattern("a PyPI token", "pypi-AgE", 50, of: isTokenByte), Pattern("a RubyGems token", "rubygems_", 48),
        Pattern("a Docker Hub token", "dckr_pat_", 20, of: isTokenByte), Pattern("a Hugging Face token", "hf_", 34),
        Pattern("a Stripe key", "sk_live_", 16), Pattern("a Stripe key", "rk_live_", 16),
        Pattern("an OpenAI key", "sk-proj-", 40, of: isTokenByte), Pattern("an Anthropic key", "sk-ant-", 40, of: isTokenByte),
        Pattern("a DigitalOcean token", "dop_v1_", 64), Pattern("a Shopify token", "shpat_", 32),
        Pattern("an age secret key", "AGE-SECRET-KEY-1", 58, of: isUpper), Pattern("a PuTTY private key", "PuTTY-User-Key-File-", 1),
    ]
    /// Every pattern is at least this long, so that one byte in so many shows whether there can be one.
    private static let runBytesMin = 20

    private static func isAlphanumeric(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte & 0xdf) }
    private static func isUpper(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) }
    private static func isTokenByte(_ byte: UInt8) -> Bool { isAlphanumeric(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") }

    /// Of each byte value: 0 for none of a token's, 2 where a pattern begins so, else 1.
    private static let classes: [UInt8] = (0...255).map { (byte: UInt8) in
        isTokenByte(byte) ? (patterns.contains { $0.prefix.first == byte } ? 2 : 1) : 0
    }
    /// For each first byte, the patterns that begin so.
    private static let byFirstByte: [[Pattern]] = (0...255).map { (byte: UInt8) in patterns.filter { $0.prefix.first == byte } }

    private func token(in bytes: UnsafeRawBufferPointer, before: UInt8?) -> (what: String, offset: Int)? {
        Self.classes.withUnsafeBufferPointer { classes in
            let count = bytes.count, step = Self.runBytesMin
            var probe = step - 1
            while probe < count {
                guard classes[Int(bytes[probe])] != 0 else {
                    probe &+= step
                    continue
                }
                // The byte `step` before the probe is none of a run, or was the end of the last one.
                var start = probe, end = probe &+ 1
                while start > 0, classes[Int(bytes[start &- 1])] != 0 { start &-= 1 }
                while end < count, classes[Int(bytes[end])] != 0 { end &+= 1 }
                if end &- start >= step, let found = Self.token(in: bytes, run: start..<end, before: before, classes) { return found }
                probe = end &+ step
            }
            return nil
        }
    }

    /// A token begins where a word does: at the run's start, after a dash, after an escape such as `\n` or `%3D`.
    private static func token(in bytes: UnsafeRawBufferPointer, run: Range<Int>, before: UInt8?, _ classes: UnsafeBufferPointer<UInt8>) -> (what: String, offset: Int)? {
        let left = run.lowerBound > 0 ? bytes[run.lowerBound - 1] : before
        // A run that goes on to the left was looked at with what is there.
        if run.lowerBound > 0 || left.map({ classes[Int($0)] == 0 }) ?? true {
            if let what = pattern(at: run.lowerBound, in: bytes, run.upperBound) { return (what, run.lowerBound) }
        }
        if left == UInt8(ascii: "\\"), let what = pattern(at: run.lowerBound + 1, in: bytes, run.upperBound) { return (what, run.lowerBound + 1) }
        if left == UInt8(ascii: "%"), let what = pattern(at: run.lowerBound + 2, in: bytes, run.upperBound) { return (what, run.lowerBound + 2) }
        var i = run.lowerBound
        while i < run.upperBound - runBytesMin {
            if bytes[i] == UInt8(ascii: "-"), let what = pattern(at: i + 1, in: bytes, run.upperBound) { return (what, i + 1) }
            i &+= 1
        }
        return nil
    }

    private static func pattern(at start: Int, in bytes: UnsafeRawBufferPointer, _ end: Int) -> String? {
        guard end - start >= runBytesMin else { return nil }
        for pattern in byFirstByte[Int(bytes[start])] {
            let after = start + pattern.prefix.count
            guard end - after >= pattern.count, bytes[start..<after].elementsEqual(pattern.prefix) else { continue }
            if bytes[after..<after + pattern.count].allSatisfy(pattern.follows) { return pattern.what }
        }
        return nil
    }
}
