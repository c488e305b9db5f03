internal import MeshCore

/// Reads npm's lock files (versions 1 to 3) and the package.json of installed packages.
enum NPMPackages {
    static func readLock(_ bytes: [UInt8], _ path: String, _ tree: TreeIndex, into findings: inout SBOMFindings) {
        guard let json = ForeignJSON.parse(bytes) else { return findings.note(unreadable: path) }
        let folder = String(path[..<(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)])
        if let packages = json["packages"]?.object {
            read(flat: packages, folder, path, tree, &findings)
        } else if let dependencies = json["dependencies"]?.object {
            read(nested: dependencies, folder, path, tree, &findings)
        } else if json.object == nil {
            findings.note(unreadable: path)
        }
    }

    /// Versions 2 and 3: places in the tree, such as `node_modules/a/node_modules/@b/c`.
    private static func read(flat packages: [String: JSONValue], _ folder: String, _ path: String, _ tree: TreeIndex, _ findings: inout SBOMFindings) {
        var unusable = 0
        for place in packages.keys.sorted() {
            // What is not below node_modules is the capsule's own code; so is what a link or a file leads to.
            guard let entry = packages[place], let range = place.ranges(of: "node_modules/").last, entry["link"]?.bool != true else { continue }
            let resolved = entry["resolved"]?.string ?? ""
            if resolved.hasPrefix("file:") { continue }
            let name = entry["name"]?.string ?? String(place[range.upperBound...])
            let origin = resolved.hasPrefix("git") && resolved.utf8.count <= 300 ? [("vcs_url", resolved)] : []
            guard let package = SBOMPackage(.npm, name, entry["version"]?.string ?? "", qualifiers: origin, license: license(entry), source: path,
                                            isContained: tree.position(of: folder + place) != nil) else {
                unusable += 1
                continue
            }
            findings.add(package)
        }
        findings.note(unusable: unusable, in: path)
    }

    /// Version 1: what a package brings along lies within it. The parser bounds how deep that goes.
    private static func read(nested dependencies: [String: JSONValue], _ folder: String, _ path: String, _ tree: TreeIndex, _ findings: inout SBOMFindings) {
        var unusable = 0
        var open = [(folder, dependencies)]
        while let (folder, dependencies) = open.popLast() {
            for key in dependencies.keys.sorted() {
                guard let entry = dependencies[key] else { continue }
                let place = "\(folder)node_modules/\(key)"
                if let inner = entry["dependencies"]?.object { open.append((place + "/", inner)) }
                var name = key, version = entry["version"]?.string ?? "", origin: [(String, String)] = []
                if version.hasPrefix("file:") { continue }
                if version.hasPrefix("npm:"), let at = version.lastIndex(of: "@") {
                    // Another package under this name.
                    name = String(version[version.index(version.startIndex, offsetBy: 4)..<at])
                    version = String(version[version.index(after: at)...])
                } else if version.hasPrefix("git"), let hash = version.lastIndex(of: "#"), version.utf8.count <= 300 {
                    origin = [("vcs_url", version)]
                    version = String(version[version.index(after: hash)...])
                }
                guard !version.contains("://"), let package = SBOMPackage(.npm, name, version, qualifiers: origin, license: license(entry), source: path,
                                                                          isContained: tree.position(of: place) != nil) else {
                    unusable += 1
                    continue
                }
                findings.add(package)
            }
        }
        findings.note(unusable: unusable, in: path)
    }

    static func readPackage(_ bytes: [UInt8], _ path: String, into findings: inout SBOMFindings) {
        guard let json = ForeignJSON.parse(bytes), json.object != nil else { return findings.note(unreadable: path) }
        guard let package = SBOMPackage(.npm, json["name"]?.string ?? "", json["version"]?.string ?? "", license: license(json), source: path, isContained: true) else {
            return findings.note(unusable: 1, in: path)
        }
        findings.add(package)
    }

    /// `license` is an expression, or by old custom an object with a `type`, or `licenses` an array of these of which one may be chosen.
    private static func license(_ json: JSONValue) -> String? {
        func one(_ value: JSONValue) -> String? { value.string ?? value["type"]?.string }
        guard let value = json["license"] ?? json["licenses"] else { return nil }
        guard let several = value.array else { return one(value) }
        let names = several.prefix(8).compactMap(one)
        return names.isEmpty ? nil : names.joined(separator: " OR ")
    }
}

/// JSON that other programs wrote for themselves: by the rules of `JSONValue`, but numbers that are no integers are read as 0, and a
/// byte order mark is passed over.
enum ForeignJSON {
    /// nil for what is no JSON.
    static func parse(_ bytes: [UInt8]) -> JSONValue? {
        let text = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? Array(bytes.dropFirst(3)) : bytes
        return try? JSONValue.parse(withIntegersOnly(text), bytesMax: Limits.sbomFileBytesMax)
    }

    private static func withIntegersOnly(_ text: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var i = 0, isString = false
        while i < text.count {
            let byte = text[i]
            if isString {
                out.append(byte)
                if byte == UInt8(ascii: "\\"), i + 1 < text.count {
                    out.append(text[i + 1])
                    i += 1
                } else if byte == UInt8(ascii: "\"") { isString = false }
                i += 1
                continue
            }
            guard byte == UInt8(ascii: "-") || isDigit(byte) else {
                isString = byte == UInt8(ascii: "\"")
                out.append(byte)
                i += 1
                continue
            }
            let start = i
            while i < text.count, isDigit(text[i]) || "+-.eE".utf8.contains(text[i]) { i += 1 }
            let number = text[start..<i]
            let isInteger = number.count <= 15 && number.dropFirst().allSatisfy(isDigit) && number.elementsEqual("-0".utf8) == false
            out += isInteger ? number : [UInt8(ascii: "0")]
        }
        return out
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
