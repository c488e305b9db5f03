internal import Actions
internal import Control
internal import Glibc
internal import MeshCore
internal import Node

/// The command line's way to the actions: through the running node's socket, or, where none runs, on the home itself.
struct Session {
    let options: GlobalOptions

    /// How long a verb waits for another one that has the home open without serving.
    private static let waitSecondsMax = 30.0

    /// Calls an action. `makesHome`: a first-time user of this verb gets a home without asking for one.
    func call(_ action: String, _ params: [String: JSONValue?] = [:], makesHome: Bool = false) async throws(MeshError) -> JSONValue {
        let home = options.home
        if makesHome { try ensureHome() }
        let params = JSONValue.object(params.compactMapValues { $0 })
        let onEvent = progress
        defer { Progress.clear() }
        var waited = 0.0
        while true {
            do throws(MeshError) {
                let open = try OpenHome(home, clock: SystemClock())
                return try await open.call(action, params, onEvent: onEvent)
            } catch {
                guard error.code == .homeInUse else { throw error }
                if Self.answers(home.socket) { return try await ControlClient(home: home).call(action, params, onEvent: onEvent) }
                guard waited < Self.waitSecondsMax else { throw error }
            }
            try? await Task.sleep(for: .milliseconds(50))
            waited += 0.05
        }
    }

    /// Shows how far things are, where somebody sees it.
    var progress: EventSink {
        let shows = !options.quiet && (options.progress || Terminal.errorIsTerminal)
        return { event in
            guard shows, let line = Progress.line(for: event) else { return }
            Progress.show(line)
        }
    }

    /// Makes the home when there is none yet, and says so.
    func ensureHome(name: String? = nil) throws(MeshError) {
        let made = try HomeSetup.create(options.home, name: name, clock: SystemClock())
        if made.created, !options.quiet { Terminal.note("made a home in \(options.home.path): node “\(made.settings.name)” with a mesh of its own") }
    }

    /// Prints the JSON document, or what `human` makes of it.
    func answer(_ value: JSONValue, _ human: (JSONValue) -> Void) {
        if options.json { Terminal.print(value.prettyText.trimmedNewline) } else { human(value) }
    }

    /// A reference as the node must see it: its working folder is not ours.
    static func reference(_ text: String) -> JSONValue {
        if !text.hasPrefix("sha256:"), text.contains("/") || text.hasSuffix(".caps") { return .string(Files.absolute(text)) }
        return .string(text)
    }

    static func path(_ text: String) -> JSONValue { .string(Files.absolute(text)) }

    /// Whether a node listens on the socket; one that was killed leaves the file behind.
    private static func answers(_ socketPath: String) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(socketPath.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0 }
        }
    }

    /// A secret from standard input: without echo at a terminal, the first line of a pipe.
    static func secret(prompt: String) throws(MeshError) -> String {
        var saved = termios()
        let terminal = isatty(0) == 1
        if terminal {
            tcgetattr(0, &saved)
            var silent = saved
            silent.c_lflag &= ~tcflag_t(ECHO)
            tcsetattr(0, TCSANOW, &silent)
            _ = prompt.withCString { write(2, $0, strlen($0)) }
        }
        defer {
            if terminal {
                tcsetattr(0, TCSANOW, &saved)
                _ = write(2, "\n", 1)
            }
        }
        guard let line = readLine(strippingNewline: true), !line.isEmpty else {
            throw MeshError(.inputMissing, "nothing was given on standard input", hint: "type it at the prompt or pipe it in")
        }
        return line
    }
}

extension ErrorCode {
    static let inputMissing = ErrorCode("input_missing", .usage)
}
