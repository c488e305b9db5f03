internal import Glibc
internal import MeshCore

/// One run of the sandbox: started, fed with sources, led through the steps, watched, and always brought to its end before
/// the value goes. Lives on one thread, and must: the kernel ends a sandbox when the thread that started it ends.
final class SandboxSession {
    enum Outcome {
        /// All steps succeeded and every process of the sandbox is gone. The folder is /build, as they left it; it lives in
        /// memory, and exactly as long as this descriptor.
        case finished(build: Descriptor)
        case stepFailed(step: Int, code: Int)
        case sourcesRefused(code: Int)
    }

    /// What happens while it runs, in order, on the session's thread.
    struct Observer {
        let started: (_ step: Int) throws(MeshError) -> Void
        let ended: (_ step: Int, _ code: Int) throws(MeshError) -> Void
    }

    private let plan: BuildPlan
    private let log: BuildLog
    private let cancel: WakeFlag
    private let observer: Observer
    private let deadline: Int64

    private let sources: Descriptor
    private let logPipe: Descriptor
    private let statusPipe: Descriptor
    private let control: Descriptor
    private let information: Descriptor
    private var child: ChildProcess?
    private let childDescriptor: Int32
    private var childEnded = false

    private var steps: StepProtocol
    private var statusBytes: [UInt8] = []
    private var complaint: [UInt8] = []
    private var unpackCode: Int?
    /// The step that was started last.
    private var current: Int?
    private var failure: (step: Int, code: Int)?
    private var sandbox: RunningSandbox?
    private var nextSample: Int64 = 0
    private var outgoing: [UInt8] = []
    private var sourcesAreRead = true
    private var buffer = [UInt8](repeating: 0, count: 64 * 1024)

    init(_ plan: BuildPlan, tools: SandboxTools, cpu: Int?, log: BuildLog, cancel: WakeFlag, observer: Observer) throws(MeshError) {
        self.plan = plan
        self.log = log
        self.cancel = cancel
        self.observer = observer
        steps = StepProtocol(steps: plan.steps.count)
        deadline = Monotonic.milliseconds() + Int64(plan.bounds.seconds) * 1000

        let launcher = try tools.launcher(cpu: cpu)
        // Sockets where we write, so that a reader that went away is an error and not a signal; pipes where steps write, so
        // that they can open /dev/stdout.
        let sources = try Descriptor.socketPair(), control = try Descriptor.socketPair()
        let log = try Descriptor.pipe(), status = try Descriptor.pipe(), information = try Descriptor.pipe()
        var handed = [sources.theirs, log.writing, status.writing, control.theirs, information.writing]
        for file in SandboxRecipe.dataFiles { handed.append(try Descriptor.memoryFile(Array(file.text.utf8))) }
        (self.sources, self.control) = (sources.ours, control.ours)
        (logPipe, statusPipe, self.information) = (log.reading, status.reading, information.reading)
        for ours in [sources.ours, log.reading, status.reading, information.reading] { try ours.setNonBlocking() }
        let child = try ChildProcess(launcher + SandboxRecipe.bubblewrapArguments(plan), descriptors: handed.map(\.number))
        childDescriptor = child.descriptor
        self.child = consume child
    }

    deinit { stop() }

    /// Ends whatever still runs, and waits for it.
    private func stop() {
        guard let child = child.take() else { return }
        if !childEnded {
            // Process 1 takes the whole sandbox with it; bubblewrap then has nothing left to wait for.
            if let sandbox { sandbox.kill() } else { child.send(signal: SIGKILL) }
        }
        _ = child.wait()
    }

    /// - Parameter sources: gives the pieces of the tar, in order.
    func run(sources give: ((_ piece: [UInt8]) throws(MeshError) -> Void) throws(MeshError) -> Void) throws(MeshError) -> Outcome {
        let startDeadline = Monotonic.milliseconds() + Int64(Limits.sandboxStartSecondsMax) * 1000
        while sandbox == nil {
            guard Monotonic.milliseconds() < startDeadline else {
                throw unavailable("the sandbox said nothing for \(Limits.sandboxStartSecondsMax) s")
            }
            try turn(writing: false)
        }
        try tell()
        try give { (piece) throws(MeshError) in try self.send(piece) }
        try flush()
        shutdown(sources.number, Int32(SHUT_WR))
        while !childEnded { try turn(writing: false) }
        try drainLog()
        try log.finishLine()
        guard let sandbox else { throw unavailable("the sandbox ended at once") }
        stop()
        if let code = unpackCode, code != 0 { return .sourcesRefused(code: code) }
        if let failure { return .stepFailed(step: failure.step, code: failure.code) }
        guard steps.isFinished else { throw interrupted() }
        return .finished(build: sandbox.build)
    }

    // MARK: - One turn of the loop

    private static let sampleMilliseconds: Int64 = 100

    /// Waits until something happens, and answers it. Returns whether more of the sources can be sent.
    @discardableResult private func turn(writing: Bool) throws(MeshError) -> Bool {
        var waiting = [statusPipe.number, logPipe.number, childDescriptor, cancel.descriptor].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        if writing { waiting.append(pollfd(fd: sources.number, events: Int16(POLLOUT), revents: 0)) }
        let ready = poll(&waiting, nfds_t(waiting.count), Int32(Self.sampleMilliseconds))
        guard ready >= 0 || errno == EINTR else { throw Files.failure("wait for", "the sandbox") }
        guard ready >= 0 else { return false }

        if waiting[3].revents != 0 { throw MeshError(.buildCancelled, "the build was cancelled", hint: "run it again when it is wanted") }
        if waiting[1].revents != 0 { _ = try readLog() }
        if waiting[0].revents & Int16(POLLIN) != 0 { try readStatus() }
        if waiting[2].revents != 0 {
            try readStatus()
            childEnded = true
            if sandbox == nil { throw unavailable("the sandbox did not start") }
        }
        try holdToBounds()
        return writing && waiting[4].revents != 0
    }

    private func holdToBounds() throws(MeshError) {
        let now = Monotonic.milliseconds()
        guard now < deadline else { throw exceeded("took longer than \(plan.bounds.seconds) s", "seconds") }
        guard now >= nextSample, !childEnded, let sandbox else { return }
        nextSample = now + Self.sampleMilliseconds
        guard sandbox.memoryBytes(beyond: plan.bounds.memoryBytes) <= plan.bounds.memoryBytes else { throw tooMuchMemory() }
    }

    // MARK: - Sources

    private func send(_ piece: [UInt8]) throws(MeshError) {
        outgoing += piece
        if outgoing.count >= 256 * 1024 { try flush() }
    }

    private func flush() throws(MeshError) {
        var done = 0
        while done < outgoing.count, sourcesAreRead, !childEnded {
            let sent = outgoing.withUnsafeBytes {
                Glibc.send(sources.number, $0.baseAddress.map { $0 + done }, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if sent >= 0 {
                done += sent
            } else if errno == EPIPE || errno == ECONNRESET {
                sourcesAreRead = false
            } else if errno == EAGAIN {
                while try !turn(writing: true), !childEnded {}
            } else if errno != EINTR {
                throw Files.failure("send sources to", "the sandbox")
            }
        }
        outgoing.removeAll(keepingCapacity: true)
    }

    // MARK: - Log

    private func drainLog() throws(MeshError) { while try readLog() {} }

    private func readLog() throws(MeshError) -> Bool {
        let count = read(logPipe.number, &buffer, buffer.count)
        guard count > 0 else { return false }
        guard try log.append(buffer[..<count]) else { throw exceeded("printed more than \(plan.bounds.logBytes) bytes", nil) }
        return true
    }

    // MARK: - Status

    private func readStatus() throws(MeshError) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(statusPipe.number, &bytes, bytes.count)
            guard count > 0 else { return }
            for byte in bytes[..<count] {
                guard byte == UInt8(ascii: "\n") else {
                    statusBytes.append(byte)
                    if statusBytes.count > 4096 { try endStatusLine() }
                    continue
                }
                try endStatusLine()
            }
        }
    }

    private func endStatusLine() throws(MeshError) {
        defer { statusBytes = [] }
        try receive(String(decoding: statusBytes, as: UTF8.self))
    }

    private func receive(_ line: String) throws(MeshError) {
        switch steps.receive(line) {
        case .ready: sandbox = try RunningSandbox(information: information)
        case .unpacked(let code): unpackCode = code
        case .started(let step):
            current = step
            try log.heading("step \(step + 1) of \(plan.steps.count): \(plan.steps[step])")
            try observer.started(step)
            try tell()
        case .ended(let step, let code):
            // All that the step printed before its end was told is there by now, and belongs to it.
            try drainLog()
            try log.finishLine()
            if code != 0 {
                // A full file system fails the step before the measurement can: both mean the same.
                if let sandbox, sandbox.isFull { throw tooMuchMemory() }
                failure = (step, code)
            }
            try observer.ended(step, code)
            try tell()
        case nil where sandbox == nil:
            if complaint.count < 4096 { complaint += Array((line + "\n").utf8) }
        case nil:
            throw MeshError(.stepFailed, "a step interfered with the builder: it said “\(line.prefix(80))” in its place",
                            hint: "a step must leave the other processes of the sandbox alone", details: log.tail)
        }
    }

    /// Lets the driver go on. Should it be gone, the loop is about to see that.
    private func tell() throws(MeshError) {
        let word: [UInt8] = Array("go\n".utf8)
        _ = word.withUnsafeBytes { Glibc.send(control.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    // MARK: - Errors

    private func unavailable(_ what: String) -> MeshError {
        let said = String(decoding: complaint + statusBytes, as: UTF8.self)
        return MeshError(.sandboxUnavailable, what, hint: SandboxTools.hint(for: said),
                         details: said.split(separator: "\n").map(String.init))
    }

    private func exceeded(_ what: String, _ field: String?) -> MeshError {
        let place = current.map { "step \($0 + 1) of \(plan.steps.count)" } ?? "the build"
        let hint = field.map { "use less, or raise build.limits.\($0) in capsule.json if it is there" }
            ?? "print less; the log up to here is in \(log.path)"
        return MeshError(.buildLimitExceeded, "\(place) \(what)", hint: hint, details: log.tail)
    }

    private func tooMuchMemory() -> MeshError {
        exceeded("used more than \(plan.bounds.memoryBytes) bytes of memory, its files included", "memoryBytes")
    }

    private func interrupted() -> MeshError {
        MeshError(.buildInterrupted, "the sandbox was ended from outside\(current.map { " during step \($0 + 1)" } ?? "")",
                  hint: "the machine may have run out of memory (dmesg tells); try again", details: log.tail)
    }
}
