internal import MeshCore

/// Reads Python's lock files, requirements with exact versions, and the metadata of installed packages.
enum PythonPackages {
    /// `name[extras]==version ; marker`, one a line (pip's requirements file format). Only exact versions say what is used.
    static func readRequirements(_ bytes: [UInt8], _ path: String, into findings: inout SBOMFindings) {
        guard let text = String(validating: bytes, as: UTF8.self) else { return findings.note(unreadable: path) }
        var open = 0, unusable = 0
        let joined = text.replacing("\\\r\n", with: " ").replacing("\\\n", with: " ")
        for line in joined.split(whereSeparator: \.isNewline) {
            let line = line.prefix { $0 != "#" && $0 != ";" }.drop { $0 == " " || $0 == "\t" || $0 == "\u{feff}" }
            if line.allSatisfy(\.isWhitespace) { continue }
            guard let equals = line.firstRange(of: "=="), !line.hasPrefix("-") else {
                open += 1
                continue
            }
            var name = line[..<equals.lowerBound].prefix { $0 != "[" }
            while name.last?.isWhitespace == true { name.removeLast() }
            let version = line[equals.upperBound...].drop { $0 == "=" || $0 == " " }.prefix { !$0.isWhitespace && $0 != "," }
            guard !version.contains("*"), let package = SBOMPackage(.pypi, String(name), String(version), source: path, isContained: false) else {
                unusable += 1
                continue
            }
            findings.add(package)
        }
        if open > 0 { findings.note("\(TreePath.printable(path)): lines passed over for want of an exact version: \(open)") }
        findings.note(unusable: unusable, in: path)
    }

    /// poetry.lock and uv.lock.
    static func readTOMLLock(_ bytes: [UInt8], _ path: String, into findings: inout SBOMFindings) {
        guard let text = String(validating: bytes, as: UTF8.self) else { return findings.note(unreadable: path) }
        var unusable = 0
        for package in TOMLPackages.read(text) where !package.isLocal {
            guard let package = SBOMPackage(.pypi, package.name, package.version, source: path, isContained: false) else {
                unusable += 1
                continue
            }
            findings.add(package)
        }
        findings.note(unusable: unusable, in: path)
    }

    /// `{"default": {name: {"version": "==1.0"}}, "develop": …}`
    static func readPipfileLock(_ bytes: [UInt8], _ path: String, into findings: inout SBOMFindings) {
        guard let json = ForeignJSON.parse(bytes), json.object != nil else { return findings.note(unreadable: path) }
        var unusable = 0
        for section in ["default", "develop"] {
            for (name, entry) in (json[section]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                let version = entry["version"]?.string ?? ""
                guard version.hasPrefix("=="), let package = SBOMPackage(.pypi, name, String(version.drop { $0 == "=" }), source: path, isContained: false) else {
                    unusable += 1
                    continue
                }
                findings.add(package)
            }
        }
        findings.note(unusable: unusable, in: path)
    }

    /// `*.dist-info/METADATA` (packaging.python.org, core metadata).
    static func readMetadata(_ bytes: [UInt8], _ path: String, into findings: inout SBOMFindings) {
        let fields = ControlText.paragraphs(of: bytes, fields: ["name", "version", "license-expression", "license"], headerOnly: true).first ?? [:]
        let license = fields["license-expression"] ?? fields["license"].flatMap { $0.isEmpty ? nil : $0 }
        guard let package = SBOMPackage(.pypi, fields["name"] ?? "", fields["version"] ?? "", license: license, source: path, isContained: true) else {
            return findings.note(unusable: 1, in: path)
        }
        findings.add(package)
    }
}

/// The `[[package]]` tables of a lock file in TOML 1.0: `name`, `version` and where the package comes from. The rest is stepped over.
enum TOMLPackages {
    struct Package {
        var name = "", version = ""
        /// The capsule's own code: it has a place and no index.
        var isLocal = false
    }

    private enum Table { case package, source, other }

    static func read(_ text: String) -> [Package] {
        var out: [Package] = []
        var table = Table.other, skip = Skip()
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.drop { $0 == " " || $0 == "\t" }
            if skip.isInside {
                skip.read(line)
                continue
            }
            if line.hasPrefix("[") {
                let header = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
                table = header == "[[package]]" ? .package : header == "[package.source]" ? .source : .other
                if table == .package { out.append(Package()) }
                continue
            }
            guard let equals = line.firstIndex(of: "="), line.first != "#" else { continue }
            let key = line[..<equals].filter { !$0.isWhitespace }
            let value = line[line.index(after: equals)...].drop { $0 == " " || $0 == "\t" }
            skip.read(value)
            guard !out.isEmpty else { continue }
            switch (table, key) {
            case (.package, "name"): out[out.count - 1].name = string(value)
            case (.package, "version"): out[out.count - 1].version = string(value)
            case (.package, "source"): out[out.count - 1].isLocal = ["editable", "virtual", "directory"].contains { value.dropFirst().drop { $0 == " " }.hasPrefix($0) }
            case (.source, "type"): out[out.count - 1].isLocal = string(value) == "directory"
            default: break
            }
        }
        return out
    }

    /// A string without escapes, which no name and no version has; empty for anything else.
    private static func string(_ value: Substring) -> String {
        guard let quote = value.first, quote == "\"" || quote == "'" else { return "" }
        let text = value.dropFirst().prefix { $0 != quote }
        return text.contains("\\") ? "" : String(text)
    }

    /// Arrays and texts over several lines.
    private struct Skip {
        private var depth = 0
        private var quotes: Substring?

        var isInside: Bool { depth > 0 || quotes != nil }

        mutating func read(_ text: Substring) {
            var rest = text
            while let first = rest.first {
                if let open = quotes {
                    guard let end = rest.firstRange(of: open) else { return }
                    rest = rest[end.upperBound...]
                    quotes = nil
                } else if rest.hasPrefix("\"\"\"") || rest.hasPrefix("'''") {
                    quotes = rest.prefix(3)
                    rest = rest.dropFirst(3)
                } else if first == "\"" || first == "'" {
                    rest = rest.dropFirst()
                    while let next = rest.first, next != first { rest = rest.dropFirst(next == "\\" && first == "\"" ? 2 : 1) }
                    rest = rest.dropFirst()
                } else {
                    if first == "#" { return }
                    if first == "[" { depth += 1 }
                    if first == "]" { depth = max(0, depth - 1) }
                    rest = rest.dropFirst()
                }
            }
        }
    }
}
