/// What a `Range` header asks of a file of a known size (RFC 9110 §14).
package enum ByteRange: Sendable, Hashable {
    /// No range, one that is not understood, or several: the whole file, as the RFC allows.
    case whole
    case part(Range<Int64>)
    case unsatisfiable

    package init(header: String?, size: Int64) {
        guard let header, header.lowercased().hasPrefix("bytes="), header.utf8.count <= 100 else {
            self = .whole
            return
        }
        let ends = header.dropFirst(6).trimmingSpaces.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2, !header.contains(","), let first = Self.number(ends[0]), let last = Self.number(ends[1]) else {
            self = .whole
            return
        }
        switch (first, last) {
        case (nil, nil): self = .whole
        case (nil, let count?): self = count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
        case (let start?, let end):
            if let end, end < start {
                self = .whole
            } else {
                self = start >= size ? .unsatisfiable : .part(start..<min(size, (end ?? size - 1) + 1))
            }
        }
    }

    /// `.some(nil)` for nothing at all, nil for what is no number.
    private static func number(_ text: Substring) -> Int64?? {
        if text.isEmpty { return .some(nil) }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int64(text), value < .max else { return nil }
        return value
    }
}

/// Whether an `If-None-Match` header names this tag (weak comparison, RFC 9110 §13.1.2).
package func matches(ifNoneMatch header: String, tag: String) -> Bool {
    header.split(separator: ",").map(\.trimmingSpaces).contains { candidate in
        candidate == "*" || candidate == tag || candidate == "W/" + tag
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var out = self
        while out.first == " " || out.first == "\t" { out.removeFirst() }
        while out.last == " " || out.last == "\t" { out.removeLast() }
        return out
    }
}

/// Media types by file name ending; what is not listed is `application/octet-stream`.
package enum MediaType {
    package static func of(_ path: String) -> String {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: ".") else { return fallback }
        return table[name[name.index(after: dot)...].lowercased()] ?? fallback
    }

    private static let fallback = "application/octet-stream"

    private static let table: [String: String] = [
        "html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8", "xhtml": "application/xhtml+xml", "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8", "mjs": "text/javascript; charset=utf-8", "json": "application/json", "map": "application/json",
        "webmanifest": "application/manifest+json", "xml": "application/xml", "txt": "text/plain; charset=utf-8", "md": "text/markdown; charset=utf-8",
        "csv": "text/csv; charset=utf-8", "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
        "webp": "image/webp", "avif": "image/avif", "ico": "image/x-icon", "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf",
        "wasm": "application/wasm", "pdf": "application/pdf", "mp4": "video/mp4", "webm": "video/webm", "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav",
        "zip": "application/zip", "gz": "application/gzip", "tar": "application/x-tar", "zst": "application/zstd",
    ]
}
