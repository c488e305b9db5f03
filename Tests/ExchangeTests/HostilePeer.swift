import Exchange
import Foundation
import MeshCore
import Signing
import Synchronization

/// A peer that none of us wrote: the protocol as docs/formats/exchange.md has it, by Python's ssl and http.server over a
/// certificate that OpenSSL made. It says it has everything, and serves files from a folder: documents by digest as they are, and
/// chunks with one byte changed if it is told to lie.
final class HostilePeer: Sendable {
    let key: SigningKey
    let port: Int
    private let process: Mutex<Process>

    private static let program = #"""
import http.server, json, os, ssl, struct, sys
folder, node, mesh, lie = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "lie"
class Peer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def reply(self, body, status=200):
        self.send_response(status); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def stored(self, digest):
        path = os.path.join(folder, digest.hex())
        return open(path, "rb").read() if os.path.exists(path) else None
    def do_GET(self):
        part = self.path.split("/")
        body = self.stored(bytes.fromhex(part[4][7:])) if part[1] == "v2" else None
        self.reply(body or b"", 200 if body else 404)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/mesh/v1/hello":
            root = json.loads(body)["root"]
            self.reply(json.dumps({"protocol": 1, "node": node, "name": "mallory", "mesh": mesh, "root": root, "count": 1}).encode())
        elif self.path == "/mesh/v1/have":
            self.reply(bytes([255] * ((len(body) // 32 + 7) // 8)))
        elif self.path == "/mesh/v1/chunks":
            out = b""
            for i in range(0, len(body), 36):
                chunk = bytearray(self.stored(body[i:i + 32]) or b"")
                if lie and chunk: chunk[len(chunk) // 2] ^= 1
                out += struct.pack("<I", len(chunk)) + bytes(chunk)
            self.reply(out)
        else: self.reply(b"", 404)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.set_alpn_protocols(["oursynth/1"])
context.load_cert_chain(folder + "/cert.pem", folder + "/peer.key")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"""#

    /// - Parameter files: what it serves, by digest.
    init(in directory: String, mesh: Digest, isLying: Bool, files: [Digest: [UInt8]]) throws {
        let folder = directory + "/hostile"
        try Files.makeDirectory(folder)
        key = SigningKey.generate()
        try KeyFile.create(key, named: "peer", in: folder, passphrase: nil)
        _ = try output(of: "/usr/bin/openssl", ["req", "-x509", "-new", "-days", "1", "-subj", "/CN=mallory", "-key", "\(folder)/peer.key", "-out", "\(folder)/cert.pem"])
        for (digest, bytes) in files { try Files.writeDurably(bytes, to: "\(folder)/\(digest.hex)") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", Self.program, folder, key.publicKey.id.hex, mesh.hex, isLying ? "lie" : "serve"]
        let printed = Pipe()
        process.standardOutput = printed
        try process.run()
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            let some = printed.fileHandleForReading.availableData
            guard !some.isEmpty else { throw MeshError(.peerUnreachable, "the hostile peer did not start") }
            line += some
        }
        port = Int(String(decoding: line.dropLast(), as: UTF8.self)) ?? 0
        self.process = Mutex(process)
    }

    deinit {
        // Not SIGTERM: a child starts with the signals blocked that the thread which started it blocks.
        process.withLock {
            kill($0.processIdentifier, SIGKILL)
            $0.waitUntilExit()
        }
    }
}
