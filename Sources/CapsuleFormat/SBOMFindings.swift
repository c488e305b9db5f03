internal import MeshCore

/// A package that a list in the tree names.
struct SBOMPackage: Sendable, Hashable {
    /// The type of a package URL (github.com/package-url/purl-spec).
    enum Ecosystem: String, Sendable { case deb, npm, pypi }

    let ecosystem: Ecosystem
    let name: String
    let version: String
    /// Names the package everywhere; no two packages of a document have the same.
    let purl: String
    /// As it was stated, which may be no SPDX expression.
    var license: String?
    /// The first list that names it.
    let source: String
    /// Whether it is in the tree, and not only asked for by it.
    var isContained: Bool

    /// nil for a name or version that no package has.
    init?(_ ecosystem: Ecosystem, _ name: String, _ version: String, namespace: String? = nil, qualifiers: [(String, String)] = [], license: String? = nil,
          source: String, isContained: Bool) {
        guard Self.isName(name, ecosystem), (1...128).contains(version.utf8.count), version.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
        self.ecosystem = ecosystem
        self.name = name
        self.version = version
        self.license = license
        self.source = source
        self.isContained = isContained
        // PyPI takes these spellings for one name.
        let spelled = ecosystem == .pypi ? name.lowercased().replacing("_", with: "-") : name
        let path = ((namespace.map { [$0[...]] } ?? []) + spelled.split(separator: "/")).map { Self.escaped($0) }.joined(separator: "/")
        let query = qualifiers.map { "\($0.0)=\($0.1.split(separator: "/", omittingEmptySubsequences: false).map(Self.escaped).joined(separator: "/"))" }.joined(separator: "&")
        purl = "pkg:\(ecosystem.rawValue)/\(path)@\(Self.escaped(version[...]))\(query.isEmpty ? "" : "?" + query)"
    }

    static func escaped(_ text: Substring) -> String {
        var out: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                 UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: ":"): out.append(byte)
            default: out += ("%" + Hex.encode([byte]).uppercased()).utf8
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func isName(_ name: String, _ ecosystem: Ecosystem) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isScoped = ecosystem == .npm && name.hasPrefix("@")
        guard name.utf8.count <= 214, parts.count == (isScoped ? 2 : 1), parts.allSatisfy({ !$0.isEmpty && $0 != "@" }) else { return false }
        return name.utf8.enumerated().allSatisfy { i, byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                 UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "/"): true
            case UInt8(ascii: "+"): ecosystem == .deb
            case UInt8(ascii: "@"): i == 0 && isScoped
            case UInt8(ascii: "~"), UInt8(ascii: "!"), UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "*"): ecosystem == .npm
            default: false
            }
        }
    }
}

/// What the lists of a tree named, each package once.
struct SBOMFindings {
    private var byURL: [String: SBOMPackage] = [:]
    private(set) var notes: [String] = []
    private var notesLeftOut = 0
    /// Packages beyond the bound.
    private(set) var leftOut = 0

    init(notes: [String] = []) {
        for text in notes { note(text) }
    }

    /// Ordered by their package URLs.
    var packages: [SBOMPackage] { byURL.values.sorted { $0.purl.utf8.lexicographicallyPrecedes($1.purl.utf8) } }

    mutating func add(_ package: SBOMPackage) {
        if let known = byURL[package.purl] {
            byURL[package.purl]?.license = known.license ?? package.license
            byURL[package.purl]?.isContained = known.isContained || package.isContained
        } else if byURL.count < Limits.sbomPackagesMax {
            byURL[package.purl] = package
        } else {
            leftOut += 1
        }
    }

    /// A list that was not read whole. `text` begins with its path.
    mutating func note(_ text: String) {
        if notes.count < Limits.sbomNotesMax { notes.append(text) } else { notesLeftOut += 1 }
    }

    mutating func note(unusable count: Int, in path: String) {
        if count > 0 { note("\(TreePath.printable(path)): entries passed over for want of a usable name or version: \(count)") }
    }

    mutating func note(unreadable path: String) { note("\(TreePath.printable(path)) is not in a form that can be read: passed over") }

    /// All notes, with a last one about those that are too many.
    var remarks: [String] { notesLeftOut > 0 ? notes + ["more remarks, left out: \(notesLeftOut)"] : notes }
}
