internal import Crypto
internal import FoundationEssentials
package import MeshCore
internal import NIOCore
internal import NIOSSL
package import Signing
internal import SwiftASN1
internal import X509

/// This node on the wire: one self-signed certificate over the node's Ed25519 key, made fresh at each start. Nothing in it
/// but the key means anything; both sides pin the key, and there is no authority.
package struct NodeIdentity: Sendable {
    static let applicationProtocol = "oursynth/1"

    package let publicKey: PublicKey
    let server: TLSConfiguration
    let client: NIOSSLContext

    package init(key: SigningKey) throws(MeshError) {
        publicKey = key.publicKey
        do {
            let certificate = try NIOSSLCertificate(bytes: Self.certificate(for: key), format: .der)
            let privateKey = try NIOSSLPrivateKey(bytes: Self.pkcs8Prefix + key.seed, format: .der)
            var server = TLSConfiguration.makeServerConfiguration(certificateChain: [.certificate(certificate)], privateKey: .privateKey(privateKey))
            Self.harden(&server)
            var client = TLSConfiguration.makeClientConfiguration()
            client.certificateChain = [.certificate(certificate)]
            client.privateKey = .privateKey(privateKey)
            Self.harden(&client)
            self.server = server
            self.client = try NIOSSLContext(configuration: client)
        } catch {
            throw MeshError(.identityFailed, "the node key gives no TLS identity: \(error)", hint: "check keys/node.key", cause: error)
        }
    }

    private static func harden(_ configuration: inout TLSConfiguration) {
        configuration.minimumTLSVersion = .tlsv13
        configuration.maximumTLSVersion = .tlsv13
        configuration.applicationProtocols = [applicationProtocol]
        configuration.signingSignatureAlgorithms = [.ed25519]
        configuration.verifySignatureAlgorithms = [.ed25519]
        // Asks both sides for a certificate; what it must hold is decided by `key(pinned:)`, so no root is loaded.
        configuration.certificateVerification = .noHostnameVerification
        configuration.trustRoots = .certificates([])
        configuration.shutdownTimeout = .seconds(1)
    }

    /// PrivateKeyInfo with the algorithm id-Ed25519 (RFC 8410 §7), before the 32 bytes of the seed.
    private static let pkcs8Prefix = Array<UInt8>([0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20])
    /// SubjectPublicKeyInfo with the algorithm id-Ed25519 (RFC 8410 §4), before the 32 bytes of the key.
    private static let spkiPrefix = Array<UInt8>([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00])

    private static func certificate(for key: SigningKey) throws -> [UInt8] {
        let signer = try Curve25519.Signing.PrivateKey(rawRepresentation: key.seed)
        let name = try DistinguishedName { CommonName("oursynth node") }
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: Certificate.PublicKey(signer.publicKey),
            notValidBefore: Date(timeIntervalSince1970: 315_532_800), notValidAfter: Date(timeIntervalSince1970: 4_102_444_800),
            issuer: name, subject: name, signatureAlgorithm: .ed25519, extensions: Certificate.Extensions(),
            issuerPrivateKey: Certificate.PrivateKey(signer))
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }

    /// The Ed25519 key of a certificate; nil for any other kind of key.
    static func key(of certificate: NIOSSLCertificate) -> PublicKey? {
        guard let info = try? certificate.extractPublicKey().toSPKIBytes(), info.starts(with: spkiPrefix) else { return nil }
        return PublicKey(bytes: Array(info.dropFirst(spkiPrefix.count)))
    }

    /// What a peer presented during the handshake: exactly one certificate, over an Ed25519 key.
    static func key(presented certificates: [NIOSSLCertificate]) -> PublicKey? {
        guard certificates.count == 1, let first = certificates.first else { return nil }
        return key(of: first)
    }
}
