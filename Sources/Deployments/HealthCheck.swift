internal import AsyncHTTPClient
internal import MeshCore
internal import NIOCore
internal import NIOHTTP1

/// Asks a new generation whether it is well, until it is, or has used up its tries.
///
/// As long as nobody listens it is still starting, and is asked again soon; an answer that is wrong or late is one try. The
/// whole takes at most `retries` × (`intervalMs` + `timeoutMs`).
struct HealthCheck: Sendable {
    enum Answer: Sendable, Hashable {
        case well
        case silent
        case wrong(String)
    }

    let plan: ServicePlan.Health
    let app: RunningApp
    let client: HTTPClient
    /// Throws when nobody wants the answer any more.
    let goOn: @Sendable () throws(MeshError) -> Void

    /// What is asked, for people.
    var question: String {
        switch plan.check {
        case .path(let path): "GET \(path)"
        case .command(let words): "the health command “\(words.joined(separator: " "))”"
        case .listening: "a connection to its PORT"
        }
    }

    /// - Throws: `unhealthy` with the last lines of its log, `sandbox_unavailable`, or what `goOn` throws.
    func wait() async throws(MeshError) {
        let windowMs = min(plan.retries * (plan.intervalMs + plan.timeoutMs), Limits.healthSecondsMax * 1000)
        let deadline = ContinuousClock.now + .milliseconds(windowMs)
        var wrongAnswers = 0
        var pause = 10
        var last = "nothing listened on its PORT"
        while true {
            try goOn()
            try checkRuns()
            switch await ask() {
            case .well:
                try checkRuns()
                return
            case .silent: pause = min(pause * 2, plan.intervalMs)
            case .wrong(let what):
                last = what
                wrongAnswers += 1
                pause = plan.intervalMs
            }
            guard wrongAnswers < plan.retries, ContinuousClock.now < deadline else {
                throw unhealthy("\(question): \(last)" + (wrongAnswers > 0 ? " (\(wrongAnswers) tries)" : " within \(windowMs) ms"))
            }
            try await rest(pause)
        }
    }

    /// Ends early when the process does.
    private func rest(_ milliseconds: Int) async throws(MeshError) {
        var left = milliseconds
        while left > 0, let process = app.process, !process.ended.isSet {
            try goOn()
            let slice = min(left, 100)
            if await process.ended.wait(milliseconds: slice) { return }
            left -= slice
        }
    }

    private func checkRuns() throws(MeshError) {
        guard let process = app.process, process.ended.isSet else { return }
        switch process.result {
        case .success(let outcome)?: throw unhealthy("its process \(outcome) before it was healthy")
        case .failure(let error)?: throw MeshError(error.code, error.message, hint: error.hint, details: app.lastLines, cause: error)
        case nil: throw unhealthy("its process ended before it was healthy")
        }
    }

    private func unhealthy(_ why: String) -> MeshError {
        let specification = app.specification
        return MeshError(.unhealthy, "generation \(specification.generation) of \(specification.key) did not become healthy: \(why)",
                         hint: "what served before goes on serving; read the log below, mend the app and deploy again", details: app.lastLines)
    }

    private func ask() async -> Answer {
        switch plan.check {
        case .listening: Loopback.answers(port: app.port) ? .well : .silent
        case .path(let path): await ask(path)
        case .command(let words): await ask(words)
        }
    }

    private func ask(_ path: String) async -> Answer {
        guard Loopback.answers(port: app.port) else { return .silent }
        var request = HTTPClientRequest(url: "http://\(Loopback.address):\(app.port)\(path)")
        request.headers.add(name: "host", value: app.specification.key.host)
        request.headers.add(name: "user-agent", value: "capsule-health")
        do {
            let response = try await client.execute(request, timeout: .milliseconds(Int64(plan.timeoutMs)))
            let status = Int(response.status.code)
            return (200..<400).contains(status) ? .well : .wrong("it answered \(status)")
        } catch let error as HTTPClientError where error == .deadlineExceeded {
            return .wrong("no answer within \(plan.timeoutMs) ms")
        } catch {
            return .wrong("it closed the connection without an answer")
        }
    }

    /// The command sees what the app sees; status 0 means well.
    private func ask(_ words: [String]) async -> Answer {
        let process: AppProcess
        do throws(MeshError) {
            process = try AppProcess(app.specification.view, command: words, environment: SandboxView.environment(app.specification.environment, port: app.port))
        } catch { return .wrong(error.message) }
        process.start(onOutput: { _ in })
        guard await process.ended.wait(milliseconds: plan.timeoutMs) else {
            process.kill()
            await process.ended.wait()
            return .wrong("not done within \(plan.timeoutMs) ms")
        }
        switch process.result {
        case .success(.exited(status: 0))?: return .well
        case .success(let outcome)?: return .wrong("it \(outcome)")
        case .failure(let error)?: return .wrong(error.message)
        case nil: return .wrong("it ended")
        }
    }
}
