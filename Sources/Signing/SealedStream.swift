internal import CSodium
public import MeshCore

// A stream of bytes of any length under a passphrase: a header of 125 bytes,
//
// | bytes | what |
// |---|---|
// | 4, 1 | `OSHB`; form, `01` |
// | 32 | how the passphrase becomes a key K: `PassphraseWork` |
// | 24 | header of the secretstream |
// | 32 | check: HMAC-SHA-256 under K of `oursynth-backup-check-v1` and the 61 bytes before |
// | 32 | SHA-256 of the 93 bytes before |
//
// then messages, each a u32 little-endian length and as many bytes of `crypto_secretstream_xchacha20poly1305`, whose key is
// HMAC-SHA-256 under K of `oursynth-backup-stream-v1`. All but the last hold 65,536 bytes; the last, of which alone the tag
// is FINAL, at most that. The header is the associated data of the first. docs/formats/backup.md has a vector.
//
// The digest tells a damaged header from a wrong passphrase, and the check a wrong passphrase from damaged content. The check
// also binds the file to one key: Poly1305 alone would let somebody make a file that opens under many passphrases.

/// Seals what is written to it, as it comes.
public struct SealedWriter: ~Copyable {
    private let file: OpenFile
    private var stream: SecretStream
    private var associated: [UInt8]
    /// What is not sealed yet, at most one message: only what follows shows that it is not the last.
    private var pending: [UInt8] = []

    /// Writes the header; takes 256 MiB of memory and a second of time for the passphrase.
    ///
    /// - Parameter file: new and empty.
    /// - Throws: `passphrase_failed`, and what keeps a file from being written.
    public init(_ file: consuming OpenFile, passphrase: [UInt8]) throws(MeshError) { try self.init(file, passphrase: passphrase, work: PassphraseWork()) }

    init(_ file: consuming OpenFile, passphrase: [UInt8], work: PassphraseWork) throws(MeshError) {
        let key = try work.key(from: passphrase)
        let (stream, start) = SecretStream.sealing(StreamHeader.streamKey(key))
        let header = StreamHeader(work: work, start: start).bytes(key)
        try file.write(header)
        self.file = file
        self.stream = stream
        associated = header
        pending.reserveCapacity(SecretStream.contentBytesMax)
    }

    public mutating func write(_ bytes: [UInt8]) throws(MeshError) { try bytes.withRawBytes { (raw) throws(MeshError) in try write(raw) } }

    public mutating func write(_ bytes: UnsafeRawBufferPointer) throws(MeshError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            if pending.count == SecretStream.contentBytesMax { try seal(isLast: false) }
            let part = rest.prefix(SecretStream.contentBytesMax - pending.count)
            pending.append(contentsOf: part)
            rest = rest.dropFirst(part.count)
        }
    }

    /// Writes the last message; the file is durable when this returns. A stream that was not finished is refused by every reader.
    public consuming func finish() throws(MeshError) {
        try seal(isLast: true)
        try file.sync()
    }

    private mutating func seal(isLast: Bool) throws(MeshError) {
        try file.write(stream.seal(pending, associated, isLast: isLast))
        associated = []
        pending.removeAll(keepingCapacity: true)
    }
}

/// Opens a sealed stream message by message. What was given out is authentic, but only when `next` has returned nil it is
/// known to be whole.
public struct SealedReader: ~Copyable {
    private let file: OpenFile
    private let size: Int64
    private var offset: Int64
    private var stream: SecretStream
    private var associated: [UInt8]
    private var isDone = false

    /// Reads the header; takes as much memory and time as it took to write it, and never more than 1 GiB.
    ///
    /// - Throws: `backup_damaged` for what is no sealed stream or has an altered header, `passphrase_wrong`, `passphrase_failed`.
    public init(_ file: consuming OpenFile, passphrase: [UInt8]) throws(MeshError) {
        let path = file.path, size = try file.size()
        guard size >= StreamHeader.byteCount else { throw backupDamaged(path, "it is too short") }
        let bytes = try file.read(count: StreamHeader.byteCount, at: 0)
        let header = try StreamHeader(bytes, path)
        let key = try header.work.key(from: passphrase)
        guard constantTimeEqual(header.bytes(key), bytes) else {
            throw MeshError(.passphraseWrong, "the passphrase does not open \(path)", hint: "try again; nobody can recover a forgotten one")
        }
        self.file = file
        self.size = size
        offset = Int64(bytes.count)
        stream = SecretStream.opening(header.start, StreamHeader.streamKey(key))
        associated = bytes
    }

    public var path: String { file.path }

    /// The content of the next message, at most 65,536 bytes; nil after the last.
    ///
    /// - Throws: `backup_damaged` when the file was altered, cut short, or goes on after its end.
    public mutating func next() throws(MeshError) -> [UInt8]? {
        if isDone { return nil }
        guard size - offset >= 4 else { throw backupDamaged(path, "it ends early") }
        let length = try file.read(count: 4, at: offset).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard SecretStream.sealedBytes.contains(length) else { throw backupDamaged(path, "a message has \(length) bytes") }
        offset += 4
        guard size - offset >= length else { throw backupDamaged(path, "it ends early") }
        guard let (content, isLast) = stream.open(try file.read(count: length, at: offset), associated) else {
            throw backupDamaged(path, "what begins at byte \(offset) was altered")
        }
        offset += Int64(length)
        associated = []
        isDone = isLast
        guard isLast ? offset == size : content.count == SecretStream.contentBytesMax else {
            throw backupDamaged(path, isLast ? "it goes on after its end" : "a message in its middle is short")
        }
        return content
    }
}

/// The error for a backup that does not hold. `why` is half a sentence.
public func backupDamaged(_ path: String, _ why: String) -> MeshError {
    MeshError(.backupDamaged, "\(path) is no whole backup of a home: \(why)", hint: "it was cut short, altered, or made by a newer version; use another copy")
}

/// The header without check and digest: 61 bytes.
private struct StreamHeader {
    private static let magic = Array("OSHB".utf8), form: UInt8 = 1
    private static let fieldBytes = 61
    static let byteCount = fieldBytes + 32 + 32
    /// libsodium's least memory; less is no work at all.
    private static let memoryBytesMin: UInt64 = 8192

    let work: PassphraseWork
    let start: [UInt8]

    init(work: PassphraseWork, start: [UInt8]) {
        self.work = work
        self.start = start
    }

    /// - Throws: `backup_damaged`.
    init(_ bytes: [UInt8], _ path: String) throws(MeshError) {
        guard bytes.starts(with: Self.magic) else { throw backupDamaged(path, "it does not begin like one") }
        guard bytes[Self.magic.count] == Self.form else { throw backupDamaged(path, "its form is \(bytes[Self.magic.count]), this program knows \(Self.form)") }
        guard Digest.of(Array(bytes.dropLast(32))).bytes == Array(bytes.suffix(32)) else { throw backupDamaged(path, "its header was altered") }
        let fields = bytes.prefix(Self.fieldBytes).dropFirst(Self.magic.count + 1)
        guard let work = PassphraseWork(fields.prefix(PassphraseWork.byteCount)), work.isBearable, work.passes > 0, work.memoryBytes >= Self.memoryBytesMin else {
            throw backupDamaged(path, "it asks for more memory or time than a backup may, or for none")
        }
        self.work = work
        start = Array(fields.dropFirst(PassphraseWork.byteCount))
    }

    func bytes(_ key: [UInt8]) -> [UInt8] {
        let fields = Self.magic + [Self.form] + work.bytes + start
        let checked = fields + hmacSHA256(key: key, Array("oursynth-backup-check-v1".utf8) + fields)
        return checked + Digest.of(checked).bytes
    }

    static func streamKey(_ key: [UInt8]) -> [UInt8] { hmacSHA256(key: key, Array("oursynth-backup-stream-v1".utf8)) }
}

/// libsodium's secretstream with a length before each message.
private struct SecretStream {
    static let contentBytesMax = 64 * 1024
    private static let overhead = crypto_secretstream_xchacha20poly1305_abytes()
    static let sealedBytes = overhead...contentBytesMax + overhead

    private var state = crypto_secretstream_xchacha20poly1305_state()

    static func sealing(_ key: [UInt8]) -> (stream: SecretStream, start: [UInt8]) {
        var stream = SecretStream(), start = [UInt8](repeating: 0, count: crypto_secretstream_xchacha20poly1305_headerbytes())
        crypto_secretstream_xchacha20poly1305_init_push(&stream.state, &start, key)
        return (stream, start)
    }

    static func opening(_ start: [UInt8], _ key: [UInt8]) -> SecretStream {
        var stream = SecretStream()
        crypto_secretstream_xchacha20poly1305_init_pull(&stream.state, start, key)
        return stream
    }

    mutating func seal(_ content: [UInt8], _ associated: [UInt8], isLast: Bool) -> [UInt8] {
        var sealed = [UInt8](repeating: 0, count: content.count + Self.overhead)
        let tag = isLast ? crypto_secretstream_xchacha20poly1305_tag_final() : crypto_secretstream_xchacha20poly1305_tag_message()
        crypto_secretstream_xchacha20poly1305_push(&state, &sealed, nil, content, UInt64(content.count), associated, UInt64(associated.count), tag)
        return (0..<4).map { UInt8(truncatingIfNeeded: sealed.count >> (8 * $0)) } + sealed
    }

    /// nil when it is not the message that was sealed at this place, or has a tag that is not written.
    mutating func open(_ sealed: [UInt8], _ associated: [UInt8]) -> (content: [UInt8], isLast: Bool)? {
        var content = [UInt8](repeating: 0, count: sealed.count - Self.overhead), tag: UInt8 = 0
        guard crypto_secretstream_xchacha20poly1305_pull(&state, &content, nil, &tag, sealed, UInt64(sealed.count), associated, UInt64(associated.count)) == 0 else { return nil }
        switch tag {
        case crypto_secretstream_xchacha20poly1305_tag_final(): return (content, true)
        case crypto_secretstream_xchacha20poly1305_tag_message(): return (content, false)
        default: return nil
        }
    }
}
