internal import MeshCore

/// An SPDX 2.3 document about a capsule, in canonical JSON.
struct SPDXDocument {
    private static let capsuleID = "SPDXRef-Capsule"
    /// 1980-01-01, as for all times in a capsule's tree.
    private static let createdByDefault: Milliseconds = 315_532_800_000
    /// What the document has besides packages: the capsule's own, and the comment.
    private static let frameBytes = 64 * 1024
    private static let licenseText = "The metadata of the package names this licence and does not hold its text."

    let bytes: [UInt8]

    init(_ manifest: Manifest, _ digest: Digest, _ tree: TreeIndex, _ findings: SBOMFindings) {
        var builder = Builder()
        let capsule = Self.capsule(manifest, digest, tree, &builder)
        builder.add(capsule)
        let packages = findings.packages
        var written = 0
        for package in packages {
            guard builder.add(package, bytesMax: Limits.sbomBytesMax - Self.frameBytes) else { break }
            written += 1
        }
        var comment = ["Packages that package lists in the capsule name. Its files are listed with their SHA-256 in the capsule's own index."]
        let leftOut = packages.count - written + findings.leftOut
        if leftOut > 0 { comment.append("Packages left out, because the document holds no more: \(leftOut)") }
        comment += findings.remarks
        var members: [String: JSONValue] = [
            "SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0",
            "name": .string("\(manifest.id.name)@\(manifest.version)"), "documentNamespace": .string("urn:oursynth:capsule:\(digest)/sbom"),
            "creationInfo": [
                "created": .string((manifest.createdAt ?? Self.createdByDefault).rfc3339), "creators": ["Tool: oursynth-capsule"],
                "licenseListVersion": .string(SPDXLicenses.listVersion),
            ],
            "comment": .string(comment.joined(separator: "\n")),
            "packages": .array(builder.packages), "relationships": .array(builder.relationships),
        ]
        if !builder.licenses.isEmpty {
            members["hasExtractedLicensingInfos"] = .array(builder.licenses.sorted().map { ["licenseId": .string($0), "extractedText": .string(builder.text(of: $0)), "name": .string($0)] })
        }
        bytes = JSONValue.object(members).canonicalBytes
    }

    private static func capsule(_ manifest: Manifest, _ digest: Digest, _ tree: TreeIndex, _ builder: inout Builder) -> JSONValue {
        let name = manifest.id.name.description, version = manifest.version.description
        var members: [String: JSONValue] = [
            "SPDXID": .string(capsuleID), "name": .string(name), "versionInfo": .string(version), "summary": .string(manifest.name),
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
            "checksums": [["algorithm": "SHA256", "checksumValue": .string(digest.hex)]],
            "comment": .string("The checksum is that of the capsule's root, which names all of its content: \(tree.fileCount) files, \(tree.byteCount) bytes."),
            "externalRefs": [Builder.reference("pkg:generic/\(name)@\(SBOMPackage.escaped(version[...]))?checksum=sha256:\(digest.hex)")],
        ]
        if manifest.tree == .app { members["primaryPackagePurpose"] = "APPLICATION" }
        builder.declare(manifest.rights.license, in: &members)
        return .object(members)
    }

    /// Packages and what they need elsewhere in the document.
    private struct Builder {
        private(set) var packages: [JSONValue] = []
        private(set) var relationships: [JSONValue] = []
        /// `LicenseRef-…` that packages name.
        private(set) var licenses: Set<String> = []
        private var names: Set<String> = []
        private var lastNumbers: [String: Int] = [:]
        private var byteCount = 0

        mutating func add(_ capsule: JSONValue) {
            packages.append(capsule)
            relationships.append(Self.relationship("SPDXRef-DOCUMENT", "DESCRIBES", capsuleID))
        }

        /// False, and nothing added, where that would make the document too long.
        mutating func add(_ package: SBOMPackage, bytesMax: Int) -> Bool {
            let id = uniqueID("SPDXRef-\(package.ecosystem.rawValue)-\(Self.idString(package.name))-\(Self.idString(package.version))")
            var members: [String: JSONValue] = [
                "SPDXID": .string(id), "name": .string(package.name), "versionInfo": .string(package.version), "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
                "externalRefs": [Self.reference(package.purl)], "sourceInfo": .string("named in \(TreePath.printable(package.source))"),
            ]
            let before = licenses
            declare(package.license, in: &members)
            let json = JSONValue.object(members), relation = Self.relationship(capsuleID, package.isContained ? "CONTAINS" : "DEPENDS_ON", id)
            let licenseBytes = licenses.subtracting(before).reduce(0) { $0 + 2 * $1.utf8.count + SPDXDocument.licenseText.utf8.count + 60 }
            let added = json.canonicalBytes.count + relation.canonicalBytes.count + 2 + licenseBytes
            guard byteCount + added <= bytesMax else {
                licenses = before
                return false
            }
            byteCount += added
            packages.append(json)
            relationships.append(relation)
            return true
        }

        /// `licenseDeclared` for what was stated, as far as it is an expression that stands by itself; else the statement in words.
        mutating func declare(_ stated: String?, in members: inout [String: JSONValue]) {
            members["licenseDeclared"] = "NOASSERTION"
            guard let stated, !["", "NOASSERTION", "UNKNOWN"].contains(stated) else { return }
            if let expression = try? LicenseExpression(parsing: stated, suggests: false) {
                if expression.isEcosystemDefault {
                    licenses.insert(Self.defaultLicense)
                    members["licenseDeclared"] = .string(Self.defaultLicense)
                    return
                }
                if expression.isReadEverywhere, !expression.hasForeignReferences {
                    licenses.formUnion(expression.references)
                    members["licenseDeclared"] = .string(expression.description)
                    return
                }
            }
            members["licenseComments"] = .string("stated as “\(TreePath.printable(stated))”")
        }

        private static let defaultLicense = "LicenseRef-\(LicenseExpression.ecosystemDefault)"

        func text(of license: String) -> String {
            license == Self.defaultLicense ? "The Open Software License 3.0, or a licence compatible with it: what an OurSynth capsule is under that states nothing else."
                : SPDXDocument.licenseText
        }

        private mutating func uniqueID(_ wanted: String) -> String {
            if names.insert(wanted).inserted { return wanted }
            var number = lastNumbers[wanted] ?? 1
            repeat { number += 1 } while !names.insert("\(wanted)-\(number)").inserted
            lastNumbers[wanted] = number
            return "\(wanted)-\(number)"
        }

        /// Letters, digits, dots and dashes, which are all that an SPDX id may have.
        private static func idString(_ text: String) -> String {
            String(decoding: text.utf8.map { byte in
                let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x2e
                return isPlain ? byte : UInt8(ascii: "-")
            }, as: UTF8.self)
        }

        static func reference(_ purl: String) -> JSONValue {
            ["referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": .string(purl)]
        }

        private static func relationship(_ from: String, _ type: String, _ to: String) -> JSONValue {
            ["spdxElementId": .string(from), "relationshipType": .string(type), "relatedSpdxElement": .string(to)]
        }
    }
}
