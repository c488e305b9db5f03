internal import Glibc
internal import MeshCore

/// The programs that make the sandbox: bubblewrap, and three of util-linux.
public struct SandboxTools: Sendable {
    let directories: [String]

    /// Looks in these folders, in this order. `PATH` is not asked: a node must not start whatever a shell was set up to find.
    public init(searching directories: [String] = ["/usr/bin", "/bin", "/usr/local/bin"]) { self.directories = directories }

    /// The absolute path of `name`; `sandbox_unavailable` when none of the folders has it.
    func find(_ name: String, package: String) throws(MeshError) -> String {
        for directory in directories where access(directory + "/" + name, X_OK) == 0 { return directory + "/" + name }
        throw MeshError(.sandboxUnavailable, "\(name) is not installed, and nothing is built outside a sandbox",
                        hint: "apt install \(package)")
    }

    /// What stands before bubblewrap's own arguments. Root first becomes a user that owns nothing, so that the limits hold
    /// and a way out of the sandbox leads nowhere.
    func launcher(cpu: Int?) throws(MeshError) -> [String] {
        var command: [String] = []
        if geteuid() == 0, isMapped(Self.unprivilegedID) {
            let id = Self.unprivilegedID
            command += [try find("setpriv", package: "util-linux"), "--reuid=\(id)", "--regid=\(id)", "--clear-groups"]
        }
        if let cpu { command += [try find("taskset", package: "util-linux"), "-c", String(cpu)] }
        return command + [try find("setarch", package: "util-linux"), "-R", try find("bwrap", package: "bubblewrap")]
    }

    /// Root of a container knows few users; what it is not given it cannot become, and it is no real root either.
    private func isMapped(_ id: Int) -> Bool {
        guard let bytes = try? Files.read("/proc/self/uid_map", bytesMax: 64 * 1024) else { return true }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains { line in
            let numbers = line.split(separator: " ").compactMap { Int($0) }
            return numbers.count == 3 && id >= numbers[0] && id - numbers[0] < numbers[2]
        }
    }

    /// From the end of the range that Debian gives to people (Debian Policy §9.2.2), where nobody is.
    private static let unprivilegedID = 59_423

    /// What to do about a sandbox that does not start, by what bubblewrap said.
    static func hint(for complaint: String) -> String {
        let restriction = try? Files.read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", bytesMax: 64)
        if restriction?.first == UInt8(ascii: "1") {
            return "AppArmor keeps user namespaces from programs without a profile (Ubuntu 24.04): install apparmor-profiles and enable "
                + "its bwrap-userns-restrict profile, or run: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        }
        if complaint.contains("namespace") || complaint.contains("uid map") || complaint.contains("Operation not permitted") {
            return "user namespaces are switched off here: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000; "
                + "in a container, allow them from outside"
        }
        return "see what bubblewrap said; bubblewrap 0.8 or newer is needed"
    }
}
