internal import Glibc
public import MeshCore

/// A folder that holds an OCI image layout, e.g. from `skopeo copy … oci:DIR`. Only the files that a layout has are seen;
/// one of them that is a link or no plain file is `member_refused`.
public final class DirectoryLayout: LayoutSource {
    public let members: [String: Int64]
    private let path: String

    public init(path: String) throws(MeshError) {
        var members: [String: Int64] = [:]
        func add(_ member: String) throws(MeshError) {
            guard members.count < Limits.layoutMembersMax else { throw layoutInvalid("it has more than \(Limits.layoutMembersMax) files") }
            members[member] = try Self.size(of: member, in: path)
        }
        for folder in ["blobs", "blobs/sha256", "referrers"] where Files.exists(path + "/" + folder) {
            guard try Self.kind(of: folder, in: path).mode == S_IFDIR else { throw Self.refused(folder) }
            guard folder != "blobs" else { continue }
            for name in try Files.names(in: path + "/" + folder) { try add(folder + "/" + name) }
        }
        for file in [LayoutPlan.layoutMember, LayoutPlan.indexMember] where Files.exists(path + "/" + file) { try add(file) }
        self.members = members
        self.path = path
    }

    public func read(_ member: String, offset: Int64, count: Int) throws(MeshError) -> [UInt8] {
        guard let size = members[member] else { throw layoutInvalid("\(member) is missing") }
        guard offset >= 0, count >= 0, Int64(count) <= size - offset else { throw layoutInvalid("\(member) has only \(size) bytes") }
        guard try Self.size(of: member, in: path) == size else { throw layoutInvalid("\(member) changed while it was read") }
        return try OpenFile(reading: path + "/" + member).read(count: count, at: offset)
    }

    private static func kind(of member: String, in path: String) throws(MeshError) -> (mode: mode_t, size: Int64) {
        var info = stat()
        guard lstat(path + "/" + member, &info) == 0 else { throw Files.failure("look at", path + "/" + member) }
        return (info.st_mode & S_IFMT, Int64(info.st_size))
    }

    private static func size(of member: String, in path: String) throws(MeshError) -> Int64 {
        let info = try kind(of: member, in: path)
        guard info.mode == S_IFREG else { throw refused(member) }
        return info.size
    }

    private static func refused(_ member: String) -> MeshError {
        MeshError(.memberRefused, "the member “\(member)” of the layout is a link or not a plain file",
                  hint: "copy the layout with: skopeo copy oci:FOLDER oci:NEW")
    }
}
