/// Reads what dpkg says is installed.
enum DebianPackages {
    static let defaultVendor = "debian"

    /// `var/lib/dpkg/status`, or one file of `status.d/`.
    static func read(_ bytes: [UInt8], _ path: String, vendor: String, into findings: inout SBOMFindings) {
        var unusable = 0
        let isPart = path.contains("dpkg/status.d/")
        for fields in ControlText.paragraphs(of: bytes, fields: ["package", "version", "status", "architecture"]) {
            // “install ok installed”; a package that was removed leaves its paragraph behind.
            guard isPart || fields["status"]?.split(separator: " ").last == "installed" else {
                if fields["status"] == nil { unusable += 1 }
                continue
            }
            let architecture = fields["architecture"].flatMap { isWord($0) ? [("arch", $0)] : nil } ?? []
            guard let package = SBOMPackage(.deb, fields["package"] ?? "", fields["version"] ?? "", namespace: vendor, qualifiers: architecture, source: path, isContained: true) else {
                unusable += 1
                continue
            }
            findings.add(package)
        }
        findings.note(unusable: unusable, in: path)
    }

    /// The `ID` of an os-release file (os-release(5)).
    static func vendor(in bytes: [UInt8]) -> String? {
        for line in bytes.split(separator: 0x0a) {
            guard let text = String(validating: line, as: UTF8.self), text.hasPrefix("ID=") else { continue }
            let id = text.dropFirst(3).filter { $0 != "\"" && $0 != "'" && $0 != "\r" && $0 != " " }
            return isWord(id) ? id : nil
        }
        return nil
    }

    private static func isWord(_ text: String) -> Bool {
        (1...40).contains(text.utf8.count) && text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f }
    }
}

/// `Field: value` in paragraphs: Debian's control files (deb822(5)) and the headers of Python's metadata (RFC 822).
enum ControlText {
    /// Of each paragraph the first line of the named fields, whose names are in lower case; paragraphs with none of them are left out.
    /// - Parameter headerOnly: the first blank line ends it all.
    static func paragraphs(of bytes: [UInt8], fields wanted: Set<String>, headerOnly: Bool = false) -> [[String: String]] {
        var out: [[String: String]] = [], fields: [String: String] = [:]
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }
        for line in bytes.split(separator: 0x0a, omittingEmptySubsequences: false) {
            if line.allSatisfy(isSpace) {
                if headerOnly { break }
                if !fields.isEmpty { out.append(fields) }
                fields = [:]
                continue
            }
            guard !isSpace(line[line.startIndex]), let colon = line.firstIndex(of: UInt8(ascii: ":")), colon - line.startIndex <= 40,
                  let name = String(validating: line[..<colon], as: UTF8.self)?.lowercased(), wanted.contains(name), fields[name] == nil else { continue }
            var value = line[(colon + 1)...]
            while let first = value.first, isSpace(first) { value.removeFirst() }
            while let last = value.last, isSpace(last) { value.removeLast() }
            guard value.count <= 1000, let text = String(validating: value, as: UTF8.self) else { continue }
            fields[name] = text
        }
        if !fields.isEmpty { out.append(fields) }
        return out
    }
}
