package import MeshCore

public enum DeploymentEnvironment: String, Sendable, CaseIterable, Hashable { case dev, staging, prod }

/// One app in one environment: what has a current generation, a data folder and a host name.
package struct DeploymentKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let app: CapsuleName
    package let environment: DeploymentEnvironment

    package init(app: CapsuleName, environment: DeploymentEnvironment) {
        self.app = app
        self.environment = environment
    }

    /// From a Host header: `<app>.<env>.localhost`, with or without a port and a final dot, in any case. Everything else
    /// (an address, another name) is nil: a page of another origin must not reach an app by pointing its own name at us.
    package init?(host: String) {
        var name = Substring(host)
        if let colon = name.lastIndex(of: ":") {
            let port = name[name.index(after: colon)...]
            guard (1...5).contains(port.utf8.count), port.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            name = name[..<colon]
        }
        if name.hasSuffix(".") { name.removeLast() }
        let labels = name.lowercased().split(separator: ".", omittingEmptySubsequences: false)
        guard labels.count == 3, labels[2] == "localhost", let environment = DeploymentEnvironment(rawValue: String(labels[1])),
              let app = try? CapsuleName(parsing: labels[0]) else { return nil }
        self.init(app: app, environment: environment)
    }

    package var host: String { "\(app).\(environment.rawValue).localhost" }
    package var description: String { "\(app) \(environment.rawValue)" }

    package static func < (a: DeploymentKey, b: DeploymentKey) -> Bool {
        a.app == b.app ? a.environment.order < b.environment.order : a.app < b.app
    }
}

extension DeploymentEnvironment {
    fileprivate var order: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// `deployments/<app>/<env>/`
package struct DeploymentFolder: Hashable, Sendable {
    package let path: String

    package init(_ key: DeploymentKey, home: HomeLayout) { path = "\(home.deployments)/\(key.app)/\(key.environment.rawValue)" }

    package var journal: String { path + "/journal" }
    package var generations: String { path + "/generations" }
    /// A link to the generation that serves.
    package var current: String { path + "/current" }
    /// What the app keeps: the same for every generation.
    package var data: String { path + "/data" }
    package var log: String { path + "/log" }

    package func generation(_ number: Int) -> String { "\(generations)/\(number)" }
}
