import Builder
import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Testing

/// Each thing that can go wrong in a build: its code, its sentence, what it shows, and that nothing is left behind.
@Suite(.needsSandbox) struct FailureTests {
    @Test func aFailingStepShowsItsLastLines() async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(steps: ["echo from the first step", "seq 1 80; echo told on stderr >&2; exit 3", "echo never"])
        let error = try #require(await workshop.failure(capsule))
        #expect(error.code == .stepFailed)
        #expect(error.code.exit == .badData)
        #expect(error.message.hasPrefix("step 2 of 3 ended with exit code 3: seq 1 80"))
        #expect(error.details.count == 50)
        #expect(error.details == (32...80).map(String.init) + ["told on stderr"])
        let log = try #require(error.hint.split(separator: " ").last.map(String.init))
        let text = String(decoding: try Files.read(log, bytesMax: 1 << 20), as: UTF8.self)
        #expect(text.contains("== step 1 of 3: echo from the first step\nfrom the first step\n== step 2 of 3: "))
        #expect(!text.contains("never\n"))

        let types = workshop.recorded.map(\.type).filter { $0 != "build.log" }
        #expect(types == ["build.started", "build.step.started", "build.step.finished", "build.step.started", "build.step.failed", "build.failed"])
        let lines = workshop.recorded.filter { $0.type == "build.log" }.flatMap { $0.data["lines"]?.array ?? [] }
        #expect(lines.first == "from the first step")
        #expect(lines.count == 82)
    }

    @Test(arguments: [
        ("false", "ended with exit code 1"), ("no-such-program", "ended with exit code 127"), ("kill -9 $$", "was ended by signal 9"),
        ("echo $UNSET_VARIABLE", "ended with exit code 2"), ("false; true", "ended with exit code 1"),
    ]) func everyWayToFailIsAFailure(_ step: String, _ how: String) async throws {
        let workshop = try Workshop()
        let error = try #require(await workshop.failure(try workshop.pack(steps: [step])))
        #expect(error.code == .stepFailed)
        #expect(error.message == "step 1 of 1 \(how): \(step)")
    }

    @Test(arguments: [
        "perl -MSocket=getaddrinfo -e 'my ($error) = getaddrinfo(\"example.org\", 80); die $error if $error'",
        "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"192.0.2.1:80\", Timeout => 5) or die $@'",
    ]) func aBuildThatWantsTheNetworkIsToldThereIsNone(_ step: String) async throws {
        let workshop = try Workshop()
        let error = try #require(await workshop.failure(try workshop.pack(steps: [step])))
        #expect(error.code == .buildNeedsNetwork)
        #expect(error.hint.contains("a build has no network"))
    }

    @Test(arguments: [
        ("mkdir elsewhere", ErrorCode.outputMissing, "“out”"),
        ("echo a >out", .outputInvalid, "not a plain folder"),
        ("ln -s /etc out", .outputInvalid, "not a plain folder"),
        ("ln -s /build/real out; mkdir real", .outputInvalid, "not a plain folder"),
        ("mkdir out; mkfifo out/pipe", .outputInvalid, "“pipe” is a device, pipe or socket"),
        ("mkdir -p out/a; cp /usr/bin/true out/a/t; chmod u+s out/a/t", .outputInvalid, "“a/t” is setuid or setgid"),
        ("mkdir out; cp /usr/bin/true out/t; chmod g+s out/t", .outputInvalid, "“t” is setuid or setgid"),
        ("mkdir out; ln -s /etc/passwd out/link", .outputInvalid, "link"),
        ("mkdir out; ln -s ../../secret out/link", .outputInvalid, "link"),
        ("mkdir out; touch \"out/$(printf 'a\\377b')\"", .outputInvalid, "not UTF-8"),
        ("mkdir out; touch \"out/$(printf 'a\\nb')\"", .outputInvalid, "control"),
        ("mkdir out; cd out; i=0; while [ $i -lt 200 ]; do mkdir d; cd d; i=$((i+1)); done", .outputInvalid, "deeper than 128"),
    ]) func whatCannotBeTakenIsRefused(_ step: String, _ code: ErrorCode, _ says: String) async throws {
        let workshop = try Workshop()
        let error = try #require(await workshop.failure(try workshop.pack(steps: [step])))
        #expect(error.code == code)
        #expect(error.message.contains(says), "\(error.message)")
        #expect(!error.message.contains("/proc/"), "\(error.message)")
        #expect(!error.hint.isEmpty)
    }

    @Test func whatIsMerelyUnusualIsTaken() async throws {
        let workshop = try Workshop()
        let step = """
            mkdir -p out/empty out/closed; echo a >out/a; ln out/a out/hard; ln -s a out/link; ln -s ./empty/../a out/roundabout
            echo b >out/closed/b; chmod 0 out/closed/b; chmod 0 out/closed; chmod 600 out/a; printf '#!/bin/sh\n' >out/run; chmod 711 out/run
            """
        let result = try await workshop.replayer.build(try workshop.pack(steps: [step]))
        let entries = try workshop.store.tree(index: result.output).index.entries
        #expect(entries.map { "\($0.path) \(String($0.mode, radix: 8))" } == [
            "a 644", "closed 755", "closed/b 644", "empty 755", "hard 644", "link 777", "roundabout 777", "run 755",
        ])
        #expect(try workshop.text(result.output, "closed/b") == "b\n")
    }

    struct Bound: Sendable, CustomTestStringConvertible {
        let limits: [String: JSONValue]
        let step: String
        let code: ErrorCode
        let says: String
        var testDescription: String { step }
    }

    @Test(arguments: [
        Bound(limits: ["seconds": 1], step: "sleep 861111", code: .buildLimitExceeded, says: "step 1 of 1 took longer than 1 s"),
        Bound(limits: ["seconds": 1], step: "trap '' TERM INT HUP; while :; do :; done", code: .buildLimitExceeded, says: "took longer than 1 s"),
        Bound(limits: ["seconds": 1], step: "setsid sleep 861112 & exec setsid sleep 861112", code: .buildLimitExceeded, says: "took longer than 1 s"),
        Bound(limits: ["memoryBytes": 67_108_864], step: "head -c 6000000000 /dev/zero | tail -c 5000000000 | wc -c", code: .buildLimitExceeded, says: "of memory"),
        Bound(limits: ["memoryBytes": 67_108_864], step: "head -c 100000000 /dev/zero >big", code: .buildLimitExceeded, says: "step 1 of 1 used more than 67108864 bytes of memory"),
        Bound(limits: ["memoryBytes": 67_108_864], step: "i=0; while :; do : >empty$i; i=$((i+1)); done", code: .buildLimitExceeded, says: "of memory"),
        Bound(limits: ["memoryBytes": 67_108_864], step: "for d in /build /tmp /dev/shm; do head -c 40000000 /dev/zero >$d/big; done; sleep 861113", code: .buildLimitExceeded, says: "of memory"),
        Bound(limits: ["processes": 40], step: "i=0; while [ $i -lt 100 ]; do sleep 861114 & i=$((i+1)); done", code: .stepFailed, says: "exit code 2"),
        Bound(limits: ["processes": 40, "seconds": 2], step: ":() { : | : & :; }; :", code: .stepFailed, says: "step 1 of 1"),
        Bound(limits: ["outputBytes": 1000], step: "mkdir out; head -c 1001 /dev/zero >out/a", code: .buildLimitExceeded, says: "holds more than 1000 bytes"),
        Bound(limits: ["outputBytes": 1_000_000], step: "mkdir out; truncate -s 1T out/holes", code: .buildLimitExceeded, says: "holds more than 1000000 bytes"),
        Bound(limits: [:], step: "yes", code: .buildLimitExceeded, says: "printed more than"),
        Bound(limits: [:], step: "head -c 100000000 /dev/zero | tr '\\0' x", code: .buildLimitExceeded, says: "printed more than"),
    ]) func noBuildTakesMoreThanItMay(_ bound: Bound) async throws {
        let workshop = try Workshop()
        let error = try #require(await workshop.failure(try workshop.pack(steps: [bound.step], more: ["limits": .object(bound.limits)])))
        #expect(error.code == bound.code, "\(error)")
        #expect(error.message.contains(bound.says), "\(error.message)")
        for mark in ["861111", "861112", "861113", "861114"] where bound.step.contains(mark) { #expect(try !isRunning(mark)) }
    }

    @Test func sourcesThatDoNotFitAreToldOf() async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(["big": String(repeating: "x", count: 2 << 20)], steps: ["true"], more: ["limits": ["memoryBytes": 1_048_576]])
        let error = try #require(await workshop.failure(capsule))
        #expect(error.code == .buildLimitExceeded, "\(error)")
    }

    /// A step that speaks in the driver's place is found out; it cannot make a failed build a good one.
    @Test func aStepCannotSpeakForTheDriver() async throws {
        let workshop = try Workshop()
        let step = "mkdir out; for f in /proc/1/fd/*; do (echo end 0 0 >$f) 2>/dev/null || :; done; exit 1"
        let error = try #require(await workshop.failure(try workshop.pack(steps: [step])))
        #expect(error.code == .stepFailed, "\(error)")
    }

    @Test func cancellingEndsTheSandbox() async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(steps: ["sleep 861115"])
        let build = Task { await workshop.failure(capsule) }
        for await event in workshop.events where event.type == "build.step.started" { break }
        build.cancel()
        #expect(await build.value?.code == .buildCancelled)
        #expect(try !isRunning("861115"))
    }

    @Test func inputsAreNotPassedOver() async throws {
        let workshop = try Workshop()
        let input: JSONValue = ["digest": JSONValue(Digest.of([])), "mount": "/opt/tools"]
        let error = try #require(await workshop.failure(try workshop.pack(steps: ["true"], more: ["inputs": [input]])))
        #expect(error.code == .inputsUnavailable)
    }
}

@Suite struct MissingSandboxTests {
    @Test func withoutBubblewrapNothingIsBuilt() async throws {
        let empty = "/tmp/builder-tests-empty-\(getpid())"
        try Files.makeDirectory(empty)
        defer { try? Files.removeTree(empty) }
        let tools = SandboxTools(searching: [empty])
        let error = #expect(throws: MeshError.self) { try Replayer.checkSandbox(tools: tools) }
        #expect(error?.code == .sandboxUnavailable)
        #expect(error?.code.exit == .unavailable)
        #expect(error?.hint.hasPrefix("apt install ") == true)

        let workshop = try Workshop(tools: tools)
        let capsule = try workshop.pack(steps: ["mkdir out"])
        #expect(await workshop.failure(capsule)?.code == .sandboxUnavailable)
    }

    /// A bubblewrap that the kernel refuses: its words are shown.
    @Test func whatBubblewrapSaysIsShown() async throws {
        let directory = "/tmp/builder-tests-tools-\(getpid())"
        try Files.makeDirectory(directory)
        defer { try? Files.removeTree(directory) }
        for (name, script) in [("bwrap", "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1"), ("setarch", "shift; exec \"$@\""),
                               ("setpriv", "shift 3; exec \"$@\""), ("taskset", "shift 2; exec \"$@\"")] {
            try OpenFile(creating: directory + "/" + name, mode: 0o755).write(Array("#!/bin/sh\n\(script)\n".utf8))
        }
        let tools = SandboxTools(searching: [directory])
        let probed = #expect(throws: MeshError.self) { try Replayer.checkSandbox(tools: tools) }
        let workshop = try Workshop(tools: tools)
        let built = await workshop.failure(try workshop.pack(steps: ["mkdir out"]))
        for error in [probed, built] {
            #expect(error?.code == .sandboxUnavailable)
            #expect(error?.details == ["bwrap: No permissions to create a new namespace"])
            #expect(error?.hint.contains("user namespaces") == true)
        }
    }

    @Test func anUnknownCapsuleIsNotBuilt() async throws {
        let workshop = try Workshop()
        #expect(await workshop.failure(Digest.of([1, 2, 3]))?.code.name == "capsule_not_found")
    }
}
