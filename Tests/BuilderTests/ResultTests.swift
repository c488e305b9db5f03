import Builder
import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Testing

/// What a build leaves: a result that answers next time, and a signed statement of how it came about.
@Suite(.needsSandbox) struct ResultTests {
    @Test func theSecondBuildIsAnsweredFromTheFirst() async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(steps: ["mkdir out; date +%s%N >out/now"])
        let first = try await workshop.replayer.build(capsule), second = try await workshop.replayer.build(capsule)
        #expect(!first.cached)
        #expect(second.cached)
        #expect(second.output == first.output)
        #expect(second.provenance == first.provenance)
        #expect(second.log == first.log)
        #expect(workshop.recorded.filter { $0.type == "build.step.started" }.count == 1)

        // Also for the next process that opens the home.
        let again = Replayer(home: workshop.home, store: workshop.store, key: workshop.key, clock: FixedClock(), events: { _ in })
        #expect(try await again.build(capsule).cached)

        // A record that cannot be read is as good as none.
        let results = workshop.home.state + "/builds/results"
        for name in try Files.names(in: results) {
            try Files.remove(results + "/" + name)
            try OpenFile(creating: results + "/" + name).write(Array("{\"input\":".utf8))
        }
        #expect(try await !workshop.replayer.build(capsule).cached)
    }

    @Test func aFailedBuildIsNotRemembered() async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(steps: ["exit 1"])
        #expect(await workshop.failure(capsule)?.code == .stepFailed)
        #expect(await workshop.failure(capsule)?.code == .stepFailed)
        #expect(workshop.recorded.filter { $0.type == "build.step.started" }.count == 2)
    }

    @Test func leftoversAreClearedAndLogsAreFew() async throws {
        let workshop = try Workshop()
        let builds = workshop.home.state + "/builds", torn = builds + "/results/0.json.tmp-1-2"
        try Files.makeDirectory(builds + "/results")
        try OpenFile(creating: torn).write([UInt8(ascii: "{")])
        for i in 0..<Limits.buildLogsKept + 5 { _ = try OpenFile(creating: "\(builds)/\(1_000_000_000_000 + i)-old.log") }
        let result = try await workshop.replayer.build(try workshop.pack(steps: ["mkdir out"]))
        #expect(!Files.exists(torn))
        let logs = try Files.names(in: builds).filter { $0.hasSuffix(".log") }
        #expect(logs.count == Limits.buildLogsKept + 1)
        #expect(!logs.contains("1000000000004-old.log") && logs.contains("1000000000005-old.log"))
        #expect(Files.exists(result.log))
    }

    @Test func provenanceSaysWhatWasDone() async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(steps: ["mkdir out; echo a >out/a"])
        let result = try await workshop.replayer.build(capsule)
        let document = try #require(try workshop.store.referrers(of: capsule).first { Digest.of($0.bytes) == result.provenance })
        #expect(document.artifactType == "application/vnd.in-toto+json")
        let payload = try Envelope(parsing: document.bytes).verify(with: [workshop.key.publicKey])
        #expect(payload.payloadType == Statement.payloadType)
        let statement = try Statement(parsing: payload.payload)
        #expect(statement.predicateType == "https://slsa.dev/provenance/v1")
        #expect(statement.subjects.map(\.digest) == [result.output])

        let definition = try #require(statement.predicate["buildDefinition"])
        #expect(definition["externalParameters"]?.object?.keys.sorted() == ["capsule", "target"])
        #expect(definition["externalParameters"]?["capsule"] == JSONValue(capsule))
        #expect(definition["externalParameters"]?["target"]?.string?.hasPrefix("linux/") == true)
        let dependencies = try #require(definition["resolvedDependencies"]?.array)
        #expect(dependencies.map { $0["name"] } == ["capsule", "toolchain"])
        #expect(dependencies[0]["digest"]?["sha256"] == .string(capsule.hex))
        #expect(Digest(hex: dependencies[1]["digest"]?["sha256"]?.string ?? "") != nil)
        #expect(statement.predicate["runDetails"]?["builder"]?["id"] == .string("urn:oursynth:node:\(workshop.key.publicKey.id.hex)"))
        // No time, no place, no number of the run: the same build says the same again.
        #expect(statement.predicate["runDetails"]?.object?.keys.sorted() == ["builder"])
    }

    @Test func aCapsuleWithoutStepsIsItsOwnOutput() async throws {
        let workshop = try Workshop()
        let manifest: JSONValue = ["id": "urn:oursynth:app:plain@1.0.0", "name": "Plain", "version": "1.0.0", "app": ["framework": "static"], "run": ["static": true]]
        let capsule = try workshop.pack(["index.html": "<p>plain</p>"], manifest: manifest)
        let result = try await workshop.replayer.build(capsule)
        #expect(try workshop.text(result.output, "index.html") == "<p>plain</p>")
        #expect(result.output == (try workshop.store.capsule(capsule).root.index))
        #expect(result.log == "")
        #expect(try workshop.store.referrers(of: capsule).map { Digest.of($0.bytes) } == [result.provenance])
    }

    @Test func outDirMayBeTheWholeBuild() async throws {
        let workshop = try Workshop()
        let result = try await workshop.replayer.build(try workshop.pack(["a": "a", "d/b": "b"], steps: ["echo c >c"], outDir: "."))
        #expect(try workshop.store.tree(index: result.output).index.entries.map(\.path) == ["a", "c", "d", "d/b"])
    }

    @Test func buildsRunBesideEachOther() async throws {
        let workshop = try Workshop()
        let capsules = try (0..<6).map { try workshop.pack(steps: ["mkdir out; echo \($0) >out/number"]) }
        let outputs = try await withThrowingTaskGroup(of: (Int, Digest).self) { group in
            for (i, capsule) in capsules.enumerated() { group.addTask { (i, try await workshop.replayer.build(capsule).output) } }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        for (i, output) in outputs { #expect(try workshop.text(output, "number") == "\(i)\n") }
        #expect(outputs.count == 6)
    }

    /// Sources that fill several of the pieces in which they are sent, and many small ones.
    @Test func sourcesArriveWhole() async throws {
        let workshop = try Workshop()
        var files = ["big": String(repeating: "0123456789abcdef", count: 200_000)]
        for i in 0..<500 { files["many/\(i % 7)/\(i)"] = "\(i)\n" }
        files["ünïcödé/" + String(repeating: "long", count: 40)] = "x"
        let step = "mkdir out; find . -path ./out -prune -o -type f -exec sha256sum {} + | sort -k2 >out/sums"
        let result = try await workshop.replayer.build(try workshop.pack(files, steps: [step]))
        let sums = try workshop.text(result.output, "sums").split(separator: "\n").map(String.init)
        #expect(Set(sums) == Set(files.map { "\(Digest.of(Array($0.value.utf8)).hex)  ./\($0.key)" }))
    }
}
