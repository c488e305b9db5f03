internal import Actions
internal import HTTPTypes
internal import Hummingbird
internal import MeshCore
internal import NIOCore

extension ControlServer {
    /// `POST /oai/act {action, params, dryRun?}`: 200 with the result, or 202 with a run for what takes long.
    func act(_ request: Request, _ context: ControlContext) async -> Response {
        do throws(MeshError) {
            let body = try await self.body(of: request)
            var reader = try FieldReader(body)
            let action = try registry.action(try reader.string("action"))
            let params = reader.optional("params") ?? [:]
            let dryRun = try reader.boolIfPresent("dryRun") ?? false
            try reader.finish()
            guard context.principal.scopes.contains(action.scope) else { return Self.missing(action.scope) }
            let problems = action.input.problems(in: params)
            guard problems.isEmpty else { return Self.invalid(problems) }
            if dryRun { return jsonResponse(.ok, JSONValue.object(["ok": true, "action": .string(action.name), "dryRun": true]).canonicalBytes) }
            guard action.scope != .read else {
                let answer = try await perform(action, params)
                return jsonResponse(.init(code: answer.status), answer.body, type: answer.status < 400 ? "application/json" : "application/problem+json")
            }
            return try await performOnce(action, params, key: request.headers[.idempotencyKey], context.principal, fingerprint: Self.fingerprint(body))
        } catch {
            return Problem(error).response
        }
    }

    /// Without the passphrase: a plain digest that stays on the disk would let it be guessed, which Argon2id makes hard elsewhere.
    private static func fingerprint(_ body: JSONValue) -> Digest {
        guard case .object(var members) = body, case .object(var params)? = members["params"] else { return Digest.of(body.canonicalBytes) }
        params["passphrase"] = nil
        members["params"] = .object(params)
        return Digest.of(JSONValue.object(members).canonicalBytes)
    }

    private func performOnce(_ action: Action, _ params: JSONValue, key: String?, _ principal: Principal, fingerprint: Digest) async throws(MeshError) -> Response {
        guard let key, (1...200).contains(key.utf8.count) else {
            throw MeshError(.idempotencyKeyMissing, "the header Idempotency-Key is missing", hint: "send a fresh random value with each request; send the same one to repeat it")
        }
        var replayed = false
        let answer: IdempotencyJournal.Answer
        switch try journal.claim(key, of: principal, fingerprint: fingerprint) {
        case .replay(let earlier):
            answer = earlier
            replayed = true
        case .proceed:
            do throws(MeshError) { answer = try await perform(action, params) } catch { answer = .init(status: Problem(error).status.code, body: Problem(error).body) }
            try journal.complete(key, of: principal, fingerprint: fingerprint, answer)
        }
        var response = jsonResponse(.init(code: answer.status), answer.body, type: answer.status < 400 ? "application/json" : "application/problem+json")
        if replayed { response.headers[.idempotentReplayed] = "true" }
        return response
    }

    private func perform(_ action: Action, _ params: JSONValue) async throws(MeshError) -> IdempotencyJournal.Answer {
        if action.isLong {
            let id = runs.start(action, params, registry: registry, parts: parts, log: log)
            let document: JSONValue = [
                "ok": true, "runId": .string(id), "status": "running",
                "links": ["self": .string("/oai/runs/\(id)"), "events": .string("/oai/runs/\(id)/events"), "cancel": .string("/oai/runs/\(id)/cancel")],
            ]
            return .init(status: 202, body: document.canonicalBytes)
        }
        let result = try await registry.call(action, params, context: ActionContext(parts: parts, emit: { [log] in log.append($0) }))
        let document: JSONValue = ["ok": true, "action": .string(action.name), "result": result, "eventId": .string("\(log.epoch)-\(log.lastSeq)")]
        return .init(status: 200, body: document.canonicalBytes)
    }

    private func body(of request: Request) async throws(MeshError) -> JSONValue {
        let bytes: [UInt8]
        do {
            var buffer = try await request.body.collect(upTo: Limits.controlMessageBytesMax)
            bytes = buffer.readBytes(length: buffer.readableBytes) ?? []
        } catch {
            throw MeshError(.jsonInvalid, "the request body could not be read; at most \(Limits.controlMessageBytesMax) bytes are taken", cause: error)
        }
        return try JSONValue.parse(bytes)
    }

    private static func invalid(_ problems: [Schema.Problem]) -> Response {
        let error = MeshError(.paramsInvalid, problems.map { "\($0.pointer) \($0.message)" }.joined(separator: "; "), hint: "GET /oai/tools shows the schema",
                              pointer: problems.first?.pointer)
        let problem = Problem(error)
        var document = (try? JSONValue.parse(problem.body))?.object ?? [:]
        document["errors"] = .array(problems.map { ["pointer": .string("/params" + $0.pointer), "message": .string($0.message)] })
        return jsonResponse(problem.status, JSONValue.object(document).canonicalBytes, type: "application/problem+json")
    }
}

extension HTTPField.Name {
    static let idempotencyKey = HTTPField.Name("Idempotency-Key") ?? .ifNoneMatch
    static let idempotentReplayed = HTTPField.Name("Idempotent-Replayed") ?? .age
    static let lastEventID = HTTPField.Name("Last-Event-ID") ?? .ifMatch
}
