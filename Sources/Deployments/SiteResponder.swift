internal import HTTPTypes
internal import Hummingbird
internal import MeshCore
internal import NIOCore

/// Answers requests from a static output.
enum SiteResponder {
    /// Read and sent at once; larger files go in pieces of this size.
    private static let pieceBytes = 256 * 1024

    static func respond(to request: Request, site: StaticSite, folder: SiteFolder, lease: Lease, key: DeploymentKey) async -> Response {
        guard request.method == .get || request.method == .head else {
            return FrontPages.page(.methodNotAllowed, "Only reading here", "This is a static site: it answers GET and HEAD.", headers: [.allow: "GET, HEAD"])
        }
        let target = request.head.path ?? "/"
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        switch site.lookup(String(parts[0])) {
        case .file(let file): return await send(file, status: .ok, request, folder, lease, key)
        case .redirect(let path):
            return Response(status: .movedPermanently, headers: [.location: path + (parts.count > 1 ? "?" + parts[1] : ""), .cacheControl: "no-cache"])
        case .malformed: return FrontPages.page(.badRequest, "Not a path", "The address holds something that no file name has.")
        case .notFound:
            if let page = site.notFoundPage { return await send(page, status: .notFound, request, folder, lease, key) }
            return FrontPages.page(.notFound, "Not found", "There is no such page in \(key).")
        }
    }

    private static func send(_ file: StaticSite.File, status: HTTPResponse.Status, _ request: Request, _ folder: SiteFolder, _ lease: Lease, _ key: DeploymentKey) async -> Response {
        let tag = "\"\(file.sha256.hex.prefix(32))\""
        var headers: HTTPFields = [
            .eTag: tag, .contentType: MediaType.of(file.path), .acceptRanges: "bytes", .xContentTypeOptions: "nosniff",
            // The next generation must be seen at once; the tag makes asking cheap.
            .cacheControl: "no-cache",
        ]
        if status == .ok, let known = request.headers[.ifNoneMatch], matches(ifNoneMatch: known, tag: tag) {
            headers[.contentType] = nil
            return Response(status: .notModified, headers: headers)
        }
        var range = ByteRange.whole
        // A condition on another version makes the range void (RFC 9110 §13.1.5); so does anything but a plain success.
        if status == .ok, request.method == .get, request.headers[.ifRange].map({ $0 == tag }) ?? true {
            range = ByteRange(header: request.headers[.range], size: file.size)
        }
        let bytes: Range<Int64>
        var status = status
        switch range {
        case .whole: bytes = 0..<file.size
        case .part(let part):
            bytes = part
            status = .partialContent
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(file.size)"
        case .unsatisfiable:
            headers[.contentRange] = "bytes */\(file.size)"
            headers[.contentType] = nil
            return Response(status: .rangeNotSatisfiable, headers: headers)
        }
        headers[.contentLength] = String(bytes.count)
        if request.method == .head { return Response(status: status, headers: headers) }
        do throws(MeshError) {
            let opened = try await offEventLoops { () throws(MeshError) in
                let opened = try folder.open(file)
                return (opened, bytes.count <= pieceBytes ? try opened.read(bytes.count, at: bytes.lowerBound, of: file.path) : nil)
            }
            if let content = opened.1 { return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: content))) }
            return Response(status: status, headers: headers, body: stream(opened.0, bytes, of: file, lease))
        } catch {
            return FrontPages.page(.internalServerError, "A file cannot be read", "A file of \(key) is damaged or missing on this node; deploy the capsule again.")
        }
    }

    private static func stream(_ opened: Descriptor, _ bytes: Range<Int64>, of file: StaticSite.File, _ lease: Lease) -> ResponseBody {
        ResponseBody(contentLength: bytes.count) { writer in
            var offset = bytes.lowerBound
            while offset < bytes.upperBound {
                let start = offset, count = Int(min(Int64(pieceBytes), bytes.upperBound - start))
                let piece = try await offEventLoops { () throws(MeshError) in try opened.read(count, at: start, of: file.path) }
                try await writer.write(ByteBuffer(bytes: piece))
                offset += Int64(count)
            }
            try await writer.finish(nil)
            withExtendedLifetime(lease) {}
        }
    }
}
