import Builder
import Testing

@Suite struct StepProtocolTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let lines: [String]
        /// How many of the lines are taken.
        let taken: Int
        let finished: Bool
        var testDescription: String { lines.joined(separator: ", ") }
    }

    @Test(arguments: [
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 0", "start 1", "end 1 0"], taken: 6, finished: true),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 3"], taken: 4, finished: true),
        Case(lines: ["ready", "unpacked 2"], taken: 2, finished: true),
        Case(lines: ["ready", "unpacked 0", "start 0"], taken: 3, finished: false),
        Case(lines: ["unpacked 0"], taken: 0, finished: false),
        Case(lines: ["bwrap: No permissions"], taken: 0, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 1"], taken: 2, finished: false),
        Case(lines: ["ready", "unpacked 0", "end 0 0"], taken: 2, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "start 0"], taken: 3, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 1 0"], taken: 3, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 -1"], taken: 3, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 +1"], taken: 3, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 256"], taken: 3, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 0 "], taken: 3, finished: false),
        Case(lines: ["ready", "unpacked 0", "start 0", "end 0 0", "start 1", "end 1 0", "end 1 0"], taken: 6, finished: true),
    ])
    func takesOnlyWhatCanComeNext(_ test: Case) {
        var steps = StepProtocol(steps: 2)
        var taken = 0
        for line in test.lines {
            guard steps.receive(line) != nil else { break }
            taken += 1
        }
        #expect(taken == test.taken)
        #expect(steps.isFinished == test.finished)
    }

    @Test func saysWhatHappened() {
        var steps = StepProtocol(steps: 1)
        #expect(steps.receive("ready") == .ready)
        #expect(steps.receive("unpacked 0") == .unpacked(code: 0))
        #expect(steps.receive("start 0") == .started(step: 0))
        #expect(steps.receive("end 0 7") == .ended(step: 0, code: 7))
    }
}

@Suite struct NetworkHintTests {
    @Test(arguments: [
        ("curl: (6) Could not resolve host: example.org", true),
        ("npm ERR! code ENOTFOUND", true),
        ("fatal: unable to access 'https://x/': Temporary failure in name resolution", true),
        ("connect to 10.0.0.1 port 80: Network is unreachable", true),
        ("main.c:1:10: fatal error: nothing.h: No such file or directory", false),
        ("", false),
    ]) func knowsTheSigns(_ line: String, _ isSign: Bool) {
        #expect(NetworkHint.applies(to: ["before", line, "after"]) == isSign)
    }
}

@Suite struct HostToolchainTests {
    @Test func listsWhatIsInstalled() {
        let status = """
            Package: gcc
            Status: install ok installed
            Architecture: amd64
            Description: compiler
             Package: not a field but a continuation
            Version: 4:12.2.0-3

            Package: removed
            Status: deinstall ok config-files
            Architecture: amd64
            Version: 1.0

            Package: make
            Version: 4.3-4.1
            Architecture: amd64
            Status: hold ok installed
            """
        #expect(HostToolchain.installedPackages(Array(status.utf8)) == ["gcc amd64 4:12.2.0-3", "make amd64 4.3-4.1"])
        #expect(HostToolchain.installedPackages([]) == [])
    }
}
