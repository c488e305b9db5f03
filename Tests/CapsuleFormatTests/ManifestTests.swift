import CapsuleFormat
import MeshCore
import Testing

@Suite struct ManifestTests {
    static func base() throws -> JSONValue { try #require(try Vectors.read("manifests.json")["base"]) }

    @Test func everyFieldIsRead() throws {
        let json = try #require(try Vectors.read("manifests.json")["full"])
        let manifest = try Manifest(parsing: Array(json.prettyText.utf8))
        #expect(manifest.json == json)
        #expect(manifest.id.description == "urn:oursynth:app:guest-book@2.1.0-rc.1+build.5")
        #expect(manifest.name == "Guest book – Gästebuch")
        #expect(manifest.version.description == "2.1.0-rc.1+build.5")
        #expect(manifest.createdAt == 1_764_000_000_000)
        #expect(manifest.createdBy?.name == "Ada" && manifest.createdBy?.keyID == String(repeating: "c", count: 64))
        #expect(manifest.tree == .rootfs)
        #expect(manifest.app.framework == "nextjs" && manifest.app.node == "22" && manifest.app.runtime == "node")
        #expect(manifest.app.env == ["GREETING": "hello", "_X1": ""])
        #expect(manifest.services.map(\.name) == ["db", "cache", "mail", "api"])
        #expect(manifest.services.map(\.type) == [.postgres, .kv, .worker, .edge])
        #expect(manifest.services.map(\.config) == [["version": "17"], [:], [:], [:]])
        let build = try #require(manifest.build)
        #expect(build.steps == ["npm ci --offline", "npm run build"] && build.outDir == "dist" && build.fetch == ["npm ci"])
        #expect(build.inputs.map(\.mount) == ["/opt/node", "/opt/modules"])
        #expect(build.inputs.map(\.digest.hex) == [String(repeating: "a", count: 64), String(repeating: "b", count: 64)])
        #expect(build.limits.seconds == 600 && build.limits.memoryBytes == 1 << 30 && build.limits.processes == 64 && build.limits.outputBytes == 104_857_600)
        let run = try #require(manifest.run), health = try #require(run.health)
        #expect(run.kind == .command(["./server", "--quiet"]) && run.port == 8080 && !run.overlap && run.stopTimeoutMs == 5000)
        #expect(health.check == .path("/health?full=1") && health.intervalMs == 500 && health.timeoutMs == 1000 && health.retries == 5)
        #expect(manifest.seeds.map(\.name) == ["schema", "pages", "pictures"] && manifest.seeds.map(\.type) == [.sql, .crdt, .files])
        #expect(manifest.seeds.map(\.path) == ["db/schema.sql", "pages", "img"])
        #expect(manifest.attestations.map(\.type) == [.sbom, .diff, .provenance])
        #expect(manifest.attestations.map(\.meta) == [["format": "spdx"], [:], [:]])
        #expect(manifest.rights.license == "Apache-2.0" && manifest.rights.resaleAllowed == false && manifest.rights.attribution == false)
        #expect(manifest.parents.map(\.hex) == [String(repeating: "a", count: 64), String(repeating: "b", count: 64)])
    }

    @Test func whatIsAbsentHasItsDefault() throws {
        let manifest = try Manifest(Self.base().with(["command": ["x"], "health": ["command": ["y"]]], at: "/run"))
        #expect(manifest.createdAt == nil && manifest.createdBy == nil && manifest.tree == .app && manifest.build == nil)
        #expect(manifest.app.node == nil && manifest.app.runtime == nil && manifest.app.env.isEmpty)
        #expect(manifest.services.isEmpty && manifest.seeds.isEmpty && manifest.attestations.isEmpty && manifest.parents.isEmpty)
        #expect(manifest.rights.license == "OSL-3.0-or-compatible" && manifest.rights.resaleAllowed == true && manifest.rights.attribution == true)
        let run = try #require(manifest.run), health = try #require(run.health)
        #expect(run.port == nil && run.overlap && run.stopTimeoutMs == 10_000)
        #expect(health.check == .command(["y"]) && health.intervalMs == 1000 && health.timeoutMs == 2000 && health.retries == 10)
        let built = try #require(try Manifest(Self.base().with(["steps": ["true"], "outDir": "o"], at: "/build")).build)
        #expect(built.inputs.isEmpty && built.fetch.isEmpty && built.limits.seconds == nil && built.limits.memoryBytes == nil)
        #expect(try Manifest(Self.base().with(["static": true], at: "/run")).run?.kind == .static)
    }

    @Test func wellFormedManifests() throws {
        let vectors = try Vectors.read("manifests.json")
        for vector in try #require(vectors["valid"]?.array) {
            let json = try Self.base().changed(by: vector)
            #expect(throws: Never.self, "\(vector["name"]?.string ?? "")") { try Manifest(json) }
        }
    }

    @Test func brokenManifestsNameTheirFault() throws {
        let vectors = try Vectors.read("manifests.json"), base = try Self.base()
        let broken = try #require(vectors["broken"]?.array)
        #expect(broken.count > 140)
        for vector in broken {
            let name = vector["name"]?.string ?? ""
            let bytes = Array(base.changed(by: vector).prettyText.utf8)
            let error = #expect(throws: MeshError.self, "\(name)") { try Manifest(parsing: bytes) }
            #expect(error?.code.name == vector["code"]?.string, "\(name): \(error.map(String.init(describing:)) ?? "")")
            #expect(error?.pointer == vector["pointer"]?.string, "\(name): \(error?.pointer ?? "no pointer")")
            #expect(error?.isClearRefusal == true, "\(name): \(error?.message ?? "") / \(error?.hint ?? "")")
            #expect(error?.message.unicodeScalars.contains { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) } == false, "\(name): a control character reaches the terminal")
        }
    }

    @Test func textThatIsNoJSON() throws {
        for vector in try #require(try Vectors.read("manifests.json")["notJSON"]?.array) {
            let text = try #require(vector["text"]?.string)
            let error = #expect(throws: MeshError.self, "\(vector)") { try Manifest(parsing: Array(text.utf8)) }
            #expect(error?.code == .jsonInvalid && error?.isClearRefusal == true, "\(vector)")
        }
        #expect(throws: MeshError.self) { try Manifest(parsing: [0x7b, 0xff, 0x7d]) }
    }

    @Test func tooLong() throws {
        let long = JSONValue.object(["a": .string(String(repeating: "x", count: Limits.manifestBytesMax))])
        let json = try Self.base().with(.array([["name": "s", "type": "kv", "config": long]]), at: "/services")
        #expect(throws: MeshError.self) { try Manifest(json) }
        let error = #expect(throws: MeshError.self) { try Manifest(parsing: json.canonicalBytes) }
        #expect(error?.code == .jsonInvalid)
    }

    /// A manifest that can be read can also be read from the root that holds it, one level deeper.
    @Test func everyManifestFitsIntoItsRoot() throws {
        let vectors = try Vectors.read("manifests.json")
        let digest = Digest.of([1])
        for vector in try #require(vectors["valid"]?.array) {
            let root = CapsuleRoot(manifest: try Manifest(Self.base().changed(by: vector)), index: digest, chunks: Digest.of([2]))
            let again = try CapsuleRoot(parsing: root.bytes)
            #expect(again.digest == root.digest && again.index == digest && again.chunks == Digest.of([2]) && again.manifest == root.manifest)
        }
    }

    /// A person's formatting is not part of a capsule's identity; what is written is.
    @Test func onlyTheContentCounts() throws {
        let json = try Self.base()
        func root(_ manifest: Manifest) -> Digest { CapsuleRoot(manifest: manifest, index: Digest.of([]), chunks: Digest.of([])).digest }
        let pretty = try root(Manifest(parsing: Array(json.prettyText.utf8)))
        #expect(try pretty == root(Manifest(parsing: json.canonicalBytes)))
        #expect(try pretty == root(Manifest(parsing: Array("\r\n\t ".utf8) + json.canonicalBytes)))
        #expect(try pretty != root(Manifest(json.with("app", at: "/tree"))))
    }
}
