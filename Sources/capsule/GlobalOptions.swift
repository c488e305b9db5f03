internal import ArgumentParser
internal import Glibc
internal import MeshCore

/// `capsule [--home DIR] [--json] [--quiet] [--progress] VERB …`
struct GlobalOptions: ParsableArguments {
    @Option(name: .customLong("home"), help: ArgumentHelp("The node's home directory; $CAPSULE_HOME, else ~/.capsule.", valueName: "dir"))
    var homePath: String?

    @Flag(help: "Print exactly one JSON document on standard output, errors included.")
    var json = false

    @Flag(name: .shortAndLong, help: "Print nothing but the answer.")
    var quiet = false

    @Flag(help: "Show progress on standard error even when it is no terminal.")
    var progress = false

    var home: HomeLayout {
        if let homePath { return HomeLayout(path: Files.absolute(homePath)) }
        if let variable = getenv("CAPSULE_HOME"), variable.pointee != 0 { return HomeLayout(path: Files.absolute(String(cString: variable))) }
        let user = getenv("HOME").map { String(cString: $0) } ?? "/root"
        return HomeLayout(path: Files.absolute(user + "/.capsule"))
    }

    /// The options may stand before the verb, as in the usage line; the parser wants them behind it.
    static func movedBehindVerb(_ arguments: [String]) -> [String] {
        var leading: [String] = [], i = 0
        while i < arguments.count {
            let argument = arguments[i]
            if argument == "--home", i + 1 < arguments.count {
                leading += [argument, arguments[i + 1]]
                i += 2
            } else if argument.hasPrefix("--home=") || ["--json", "--quiet", "-q", "--progress"].contains(argument) {
                leading.append(argument)
                i += 1
            } else {
                break
            }
        }
        guard i < arguments.count, !arguments[i].hasPrefix("-") else { return arguments }
        let rest = arguments[i...]
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return Array(rest[..<end]) + leading + Array(rest[end...])
    }
}
