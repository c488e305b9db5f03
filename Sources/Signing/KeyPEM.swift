public import MeshCore

/// PEM (RFC 7468) around the fixed DER prefixes of Ed25519 (RFC 8410): the only key kind here, so no ASN.1 reader is needed.
enum KeyPEM {
    /// SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING (32 bytes) }
    private static let publicPrefix: [UInt8] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]
    /// SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING (32 bytes) } }
    private static let secretPrefix: [UInt8] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20]
    private static let publicLabel = "PUBLIC KEY", secretLabel = "PRIVATE KEY"
    private static let columns = 64

    static func text(publicKey: [UInt8]) -> String { text(publicPrefix + publicKey, labelled: publicLabel) }
    static func text(secretSeed: [UInt8]) -> String { text(secretPrefix + secretSeed, labelled: secretLabel) }
    static func publicKey(_ text: String) -> [UInt8]? { key(text, publicLabel, publicPrefix) }
    static func secretSeed(_ text: String) -> [UInt8]? { key(text, secretLabel, secretPrefix) }

    static func text(_ bytes: [UInt8], labelled label: String) -> String {
        var rest = Base64.encode(bytes)[...]
        var lines: [Substring] = []
        while !rest.isEmpty {
            lines.append(rest.prefix(columns))
            rest = rest.dropFirst(columns)
        }
        return "-----BEGIN \(label)-----\n\(lines.joined(separator: "\n"))\n-----END \(label)-----\n"
    }

    /// The content between the two lines of `label`; nil for any other text. Lines may be of any length and end in CR LF.
    static func content(of text: String, labelled label: String) -> [UInt8]? {
        var lines = text.utf8.split { $0 == 0x0a || $0 == 0x0d }.map { String(Substring($0)) }
        guard lines.count >= 3, lines.removeFirst() == "-----BEGIN \(label)-----", lines.removeLast() == "-----END \(label)-----" else { return nil }
        return Base64.decode(lines.joined())
    }

    private static func key(_ text: String, _ label: String, _ prefix: [UInt8]) -> [UInt8]? {
        guard let der = content(of: text, labelled: label), der.count == prefix.count + 32, der.starts(with: prefix) else { return nil }
        return Array(der.dropFirst(prefix.count))
    }
}

extension PublicKey {
    /// From a PEM `SubjectPublicKeyInfo`.
    ///
    /// - Throws: `key_invalid`.
    public init(pem: String) throws(MeshError) {
        guard let bytes = KeyPEM.publicKey(pem), let key = PublicKey(bytes: bytes) else {
            throw MeshError(.keyInvalid, "this is not an Ed25519 public key in PEM",
                            hint: "it begins with -----BEGIN PUBLIC KEY-----; `openssl pkey -in key.pem -pubout` prints one")
        }
        self = key
    }

    public var pem: String { KeyPEM.text(publicKey: bytes) }
}
