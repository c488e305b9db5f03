internal import MeshCore
internal import Glibc

/// The sandbox with nothing in it: whether this host can make one.
enum SandboxProbe {
    static func run(_ tools: SandboxTools) throws(MeshError) {
        let (reading, writing) = try Descriptor.pipe()
        let silence = try Descriptor.memoryFile([])
        let ending = try start(try tools.launcher(cpu: nil) + arguments, silence, writing).wait()
        guard ending != .exited(0) else { return }
        try reading.setNonBlocking()
        var bytes = [UInt8](repeating: 0, count: 4096)
        let said = String(decoding: bytes[..<max(0, read(reading.number, &bytes, bytes.count))], as: UTF8.self)
        throw MeshError(.sandboxUnavailable, "the sandbox does not start", hint: SandboxTools.hint(for: said),
                        details: said.split(separator: "\n").map(String.init))
    }

    private static func start(_ command: [String], _ silence: Descriptor, _ output: Descriptor) throws(MeshError) -> ChildProcess {
        try ChildProcess(command, descriptors: [silence.number, output.number, output.number])
    }

    private static let arguments =
        SandboxRecipe.foundation() + ["--size", "4096", "--tmpfs", "/build", "--remount-ro", "/", "--", "/bin/true"]
}
