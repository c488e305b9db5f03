internal import CapsuleFormat
internal import Deployments
internal import MeshCore

private let target: [Schema.Property] = [
    .init("app", .string(), "Name of the app"),
    .init("env", .string(oneOf: DeploymentEnvironment.allCases.map(\.rawValue)), "Environment"),
]

private let runSchema = Schema.object([
    .init("run", .string(), "Id of the run; the same request has the same id"), .init("state", .string(), "Where it is"), .init("app", .string(), "Name of the app"),
    .init("env", .string(), "Environment"), .init("capsule", .string(), "What is deployed"), .init("generation", .integer, "Counts up with each switch"),
    .optional("url", .string(), "Where it answers"), .optional("output", .string(), "Digest of the build's output"), .optional("error", .any, "Why it failed"),
])

let deployActions: [Action] = [
    Action("deploy.create", "Deploy", "Fetches, verifies, builds, starts and switches to a capsule; the old one runs on until the new one is healthy.", scope: .deploy,
           confirmation: .prod, isLong: true,
           input: .object([
               .init("ref", .string(), "What to deploy"), .init("env", .string(oneOf: DeploymentEnvironment.allCases.map(\.rawValue)), "Environment"),
               .optional("app", .string(), "Name of the app; the capsule's name unless given"),
           ]),
           output: runSchema) { context, params throws(MeshError) in
        try context.parts.requireServing()
        let capsule = try await context.localCapsule(params["ref"]?.string ?? "")
        try context.parts.requireTrust(in: capsule)
        let app = try params["app"]?.string.map { (text) throws(MeshError) in try CapsuleName(parsing: text) }
        return runJSON(try await context.parts.deployments.deploy(capsule.digest, app: app, environment: environment(params)))
    },
    Action("deploy.status", "Deployments", "What runs here, in every environment.", scope: .read, output: .array(runSchema)) { context, _ throws(MeshError) in
        .array(try await context.parts.deployments.list().map(runJSON))
    },
    Action("deploy.logs", "Logs", "The last lines that an app wrote.", scope: .read,
           input: .object(target + [.optional("lines", .integer, "How many; 200 unless given, at most 10,000")]),
           output: .object([.init("lines", .array(.string()), "Oldest first")])) { context, params throws(MeshError) in
        let lines = min(max(Int(params["lines"]?.integer ?? 200), 1), 10_000)
        return ["lines": .array(try await context.parts.deployments.logs(try app(params), environment(params), lines: lines).map(JSONValue.string))]
    },
    Action("deploy.rollback", "Roll back", "Switches to an earlier generation that is still kept.", scope: .deploy, confirmation: .prod, isLong: true,
           input: .object(target + [.optional("to", .integer, "Generation; the one before the current unless given")]), output: runSchema) { context, params throws(MeshError) in
        try context.parts.requireServing()
        return runJSON(try await context.parts.deployments.rollback(try app(params), environment(params), to: params["to"]?.integer.map(Int.init)))
    },
    Action("deploy.stop", "Stop", "Stops an app and keeps its data and generations.", scope: .deploy, confirmation: .prod, input: .object(target), output: runSchema) { context, params throws(MeshError) in
        try context.parts.requireServing()
        return runJSON(try await context.parts.deployments.stop(try app(params), environment(params)))
    },
]

private func app(_ params: JSONValue) throws(MeshError) -> CapsuleName { try CapsuleName(parsing: params["app"]?.string ?? "") }

private func environment(_ params: JSONValue) -> DeploymentEnvironment {
    // The schema admits the three names only; dev is the one that could do no harm.
    DeploymentEnvironment(rawValue: params["env"]?.string ?? "") ?? .dev
}

private func runJSON(_ run: DeploymentManager.Run) -> JSONValue {
    var row: [String: JSONValue] = [
        "run": .string(run.id), "state": .string(run.state), "app": .string(run.app.description), "env": .string(run.environment.rawValue),
        "capsule": JSONValue(run.capsule), "generation": JSONValue(run.generation),
    ]
    if let url = run.url { row["url"] = .string(url) }
    if let output = run.output { row["output"] = JSONValue(output) }
    if let error = run.error { row["error"] = error.json }
    return .object(row)
}
