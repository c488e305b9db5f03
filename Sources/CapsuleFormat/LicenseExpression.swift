public import MeshCore

/// An SPDX licence expression (SPDX 2.3, Annex D) whose identifiers are on the SPDX lists, or `OSL-3.0-or-compatible`, which the
/// ecosystem's manifests say by default and SPDX does not know.
public struct LicenseExpression: Sendable, Hashable, CustomStringConvertible {
    /// What a manifest without a licence says.
    public static let ecosystemDefault = "OSL-3.0-or-compatible"
    private static let bytesMax = 500
    /// Parentheses within each other.
    private static let depthMax = 32

    /// With one space between words, and identifiers as the list spells them.
    public let description: String
    /// The `LicenseRef-…` in it, each once, in order.
    public let references: [String]
    /// Whether it refers to a licence in another SPDX document (`DocumentRef-…:LicenseRef-…`).
    public let hasForeignReferences: Bool
    /// Whether common validators read it, too: they know no `+` but that of `GPL-2.0+` and the like, and take some licences whose names
    /// speak of exceptions for exceptions.
    let isReadEverywhere: Bool

    public var isEcosystemDefault: Bool { description == Self.ecosystemDefault }

    /// Identifiers in any case; `AND`, `OR` and `WITH` in upper case, as the specification has them.
    ///
    /// - Throws: `license_invalid`, with the nearest identifier where one is near.
    public init(parsing text: String) throws(MeshError) { try self.init(parsing: text, suggests: true) }

    /// - Parameter suggests: whether an error names what may have been meant. That takes a look at the whole list, which is too
    ///   much for the licences of 20,000 packages.
    init(parsing text: String, suggests: Bool) throws(MeshError) {
        if text == Self.ecosystemDefault {
            (description, references, hasForeignReferences, isReadEverywhere) = (text, [], false, false)
            return
        }
        guard text.utf8.count <= Self.bytesMax else {
            throw Self.invalid("has more than \(Self.bytesMax) bytes", hint: "write an SPDX identifier, e.g. Apache-2.0, or LicenseRef-NAME for a licence of your own")
        }
        var parser = Parser(text, suggests: suggests)
        if let word = parser.words.first(where: { !Parser.operators.contains($0) && Parser.operators.contains($0.uppercased()) }) {
            throw Self.invalid("has “\(word)” in it", hint: "write AND, OR and WITH in upper case")
        }
        do throws(MeshError) {
            try parser.alternatives(depth: 0)
            if let rest = parser.current { throw Self.invalid("has “\(TreePath.printable(rest))” where AND or OR was expected", hint: "join licences with AND or OR") }
        } catch {
            // Words without an operator are most likely one name, as people write it: “Apache 2.0”.
            let words = parser.words
            guard words.count > 1, !words.contains(where: { Parser.operators.contains($0) || $0 == "(" || $0 == ")" }) else { throw error }
            throw Self.unknown(words.joined(separator: " "), suggests)
        }
        description = parser.written.joined(separator: " ").replacing("( ", with: "(").replacing(" )", with: ")")
        references = parser.references
        hasForeignReferences = parser.hasForeignReferences
        isReadEverywhere = !parser.hasOddLicense
    }

    fileprivate static func unknown(_ id: String, _ suggests: Bool) -> MeshError {
        let near = suggests ? SPDXLicenses.nearestLicenses(to: id) : []
        let hint = near.isEmpty ? "see spdx.org/licenses for the identifiers, or write LicenseRef-NAME for a licence of your own"
            : "did you mean \(near.joined(separator: " or "))? Write LicenseRef-NAME for a licence of your own"
        return invalid("names “\(TreePath.printable(id))”, which is not on the SPDX licence list", hint: hint)
    }

    fileprivate static func invalid(_ why: String, hint: String) -> MeshError {
        MeshError(.licenseInvalid, "the licence expression \(why)", hint: hint)
    }

    private struct Parser {
        static let operators: Set<String> = ["AND", "OR", "WITH"]

        let words: [String]
        private let suggests: Bool
        private var position = 0
        private(set) var written: [String] = []
        private(set) var references: [String] = []
        private(set) var hasForeignReferences = false
        private(set) var hasOddLicense = false

        init(_ text: String, suggests: Bool) {
            self.suggests = suggests
            var words: [String] = [], word: [UInt8] = []
            func end() {
                if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
                word = []
            }
            for byte in text.utf8 {
                switch byte {
                case 0x20, 0x09, 0x0a, 0x0d: end()
                case UInt8(ascii: "("), UInt8(ascii: ")"):
                    end()
                    words.append(String(UnicodeScalar(byte)))
                default: word.append(byte)
                }
            }
            end()
            self.words = words
        }

        var current: String? { position < words.count ? words[position] : nil }

        private mutating func take(_ word: String) -> Bool {
            guard current == word else { return false }
            written.append(word)
            position += 1
            return true
        }

        /// `OR` binds weaker than `AND`, `AND` weaker than `WITH`.
        mutating func alternatives(depth: Int) throws(MeshError) {
            repeat { try conjunction(depth: depth) } while take("OR")
        }

        private mutating func conjunction(depth: Int) throws(MeshError) {
            repeat { try operand(depth: depth) } while take("AND")
        }

        private mutating func operand(depth: Int) throws(MeshError) {
            guard depth < LicenseExpression.depthMax else { throw invalid("has parentheses more than \(LicenseExpression.depthMax) deep", hint: "leave some of them out") }
            if take("(") {
                try alternatives(depth: depth + 1)
                guard take(")") else { throw invalid("lacks a closing parenthesis", hint: "close every parenthesis") }
                return
            }
            guard let word = current, word != ")", !Self.operators.contains(word) else {
                throw invalid(current.map { "has “\($0)” where a licence was expected" } ?? "ends where a licence was expected",
                              hint: "write an SPDX identifier there, e.g. MIT or Apache-2.0")
            }
            position += 1
            written.append(try license(word))
            guard take("WITH") else { return }
            guard let word = current else { throw invalid("ends where an exception was expected", hint: "name an exception after WITH, e.g. LLVM-exception") }
            guard let exception = SPDXLicenses.exception(word) else {
                let near = suggests ? SPDXLicenses.nearestExceptions(to: word) : []
                throw invalid("names “\(TreePath.printable(word))”, which is not on SPDX's list of exceptions",
                              hint: near.isEmpty ? "see spdx.org/licenses/exceptions-index.html for the identifiers" : "did you mean \(near.joined(separator: " or "))?")
            }
            position += 1
            written.append(exception)
        }

        private mutating func license(_ word: String) throws(MeshError) -> String {
            // Some deprecated identifiers end in a plus sign themselves.
            if let id = SPDXLicenses.license(word) {
                if SPDXLicenses.takenForExceptions.contains(id) { hasOddLicense = true }
                return id
            }
            if word.hasSuffix("+"), let id = SPDXLicenses.license(word.dropLast()) {
                hasOddLicense = true
                return id + "+"
            }
            let parts = word.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            if let name = parts.last, Self.isReference(name, "LicenseRef-"), parts.count == 1 || Self.isReference(parts[0], "DocumentRef-") {
                if parts.count == 2 { hasForeignReferences = true } else if !references.contains(word) { references.append(word) }
                return word
            }
            throw LicenseExpression.unknown(word, suggests)
        }

        /// `PREFIX` and at least one of letters, digits, `-` and `.`.
        private static func isReference(_ word: Substring, _ prefix: String) -> Bool {
            guard word.hasPrefix(prefix), word.utf8.count > prefix.utf8.count else { return false }
            return word.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."): true
                default: false
                }
            }
        }

        private func invalid(_ why: String, hint: String) -> MeshError { LicenseExpression.invalid(why, hint: hint) }
    }
}

extension Manifest {
    /// Whether `rights.license` is an SPDX expression. Asked when a capsule is made, not when it is read: one that was made elsewhere
    /// is what it is.
    ///
    /// - Throws: `license_invalid` at `/rights/license`.
    public func checkLicense() throws(MeshError) {
        do throws(MeshError) { _ = try LicenseExpression(parsing: rights.license) } catch { throw error.at("/rights/license") }
    }
}
