/// Recognises, in what a failed step printed last, that it tried to reach the network.
package enum NetworkHint {
    private static let signs = [
        "could not resolve host", "temporary failure in name resolution", "name or service not known", "network is unreachable",
        "getaddrinfo", "enotfound", "eai_again", "could not resolve proxy", "unable to resolve host", "no address associated with hostname",
        "failed to establish a new connection", "failed to lookup address information", "dial tcp",
        "unknown host", "unknownhostexception", "couldn't resolve host", "nodename nor servname",
    ]

    package static func applies(to lines: [String]) -> Bool {
        lines.contains { line in
            let line = line.lowercased()
            return signs.contains { line.contains($0) }
        }
    }

    package static let text = "a build has no network; put what it downloads into the capsule's folder before packing it"
}
