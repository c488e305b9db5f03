internal import MeshCore

// The kinds of fields that a manifest has. Every error names the field by its JSON Pointer.
extension FieldReader {
    mutating func capsuleID(_ key: String) throws(MeshError) -> CapsuleID {
        let text = try string(key)
        do throws(MeshError) { return try CapsuleID(parsing: text) } catch { throw error.at(path(key)) }
    }

    mutating func version(_ key: String) throws(MeshError) -> SemanticVersion {
        let text = try string(key)
        do throws(MeshError) { return try SemanticVersion(parsing: text) } catch { throw error.at(path(key)) }
    }

    /// One line of text that is not blank.
    mutating func line(_ key: String, bytesMax: Int) throws(MeshError) -> String {
        let text = try string(key)
        let isLine = text.utf8.count <= bytesMax && text.utf8.contains { $0 > 0x20 }
            && !TreePath.withBytes(text, TreePath.hasControlCharacter) && !text.unicodeScalars.contains { (0x2028...0x2029).contains($0.value) }
        guard isLine else { throw invalid(key, "not one line of text with at most \(bytesMax) bytes", hint: "write one line, without control characters") }
        return text
    }

    mutating func lineIfPresent(_ key: String, bytesMax: Int) throws(MeshError) -> String? {
        optional(key) == nil ? nil : try line(key, bytesMax: bytesMax)
    }

    mutating func slug(_ key: String) throws(MeshError) -> String {
        let text = try string(key)
        guard let name = try? CapsuleName(parsing: text) else {
            throw invalid(key, "“\(TreePath.printable(text))” is not a name", hint: "1–63 of a-z, 0-9 and -, beginning with a letter and not ending with -")
        }
        return name.description
    }

    /// A relative path inside the capsule; `.`, the capsule itself, only where `dot`.
    mutating func treePath(_ key: String, dot: Bool) throws(MeshError) -> String {
        let text = try string(key)
        if dot, text.utf8.elementsEqual(".".utf8) { return text }
        if let problem = TreePath.problem(text) {
            throw invalid(key, "“\(TreePath.printable(text))” \(problem)", hint: "name a path inside the capsule, e.g. dist")
        }
        return text
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws(MeshError) -> Int? {
        guard let value = try integerIfPresent(key) else { return nil }
        guard range.contains(value) else { throw invalid(key, "\(value) is not in \(range.lowerBound)…\(range.upperBound)", hint: "write an integer of that range, or leave it out") }
        return value
    }

    mutating func choice<C: RawRepresentable & CaseIterable>(_ key: String) throws(MeshError) -> C? where C.RawValue == String {
        optional(key) == nil ? nil : try requiredChoice(key)
    }

    mutating func requiredChoice<C: RawRepresentable & CaseIterable>(_ key: String) throws(MeshError) -> C where C.RawValue == String {
        let text = try string(key)
        guard let value = C.allCases.first(where: { TreePath.same($0.rawValue, text) }) else {
            let known = C.allCases.map(\.rawValue).joined(separator: ", ")
            throw invalid(key, "“\(TreePath.printable(text))” is not one of \(known)", hint: "write one of \(known)")
        }
        return value
    }

    /// Command lines for `sh -eu`. A build without any, or with a blank one, would pass for a build that did its work.
    mutating func steps(_ key: String, atLeast: Int) throws(MeshError) -> [String] {
        guard optional(key) != nil || atLeast > 0 else { return [] }
        let steps = optional(key) == nil ? [] : try strings(key)
        guard steps.count >= atLeast else {
            throw MeshError(.stepMissing, "\(path(key)) has no step: a build needs at least one", hint: "write a command line, or leave out /build", pointer: path(key))
        }
        guard steps.count <= 256 else { throw invalid(key, "has \(steps.count) steps; at most 256 are read", hint: "put a long script into a file of the capsule") }
        for (i, step) in steps.enumerated() {
            let pointer = "\(path(key))/\(i)"
            guard step.unicodeScalars.contains(where: { !$0.properties.isWhitespace && $0.value > 0x20 }) else {
                throw MeshError(.stepMissing, "\(pointer) is blank", hint: "write a command line, or remove it", pointer: pointer)
            }
            guard !step.utf8.contains(0), step.utf8.count <= 65_536 else {
                throw MeshError(.fieldInvalid, "\(pointer) has a zero byte or more than 64 KiB", hint: "put a long script into a file of the capsule", pointer: pointer)
            }
        }
        return steps
    }

    /// A program and its arguments.
    mutating func command(_ key: String) throws(MeshError) -> [String] {
        let words = try strings(key)
        guard let program = words.first, !program.isEmpty else {
            throw invalid(key, "names no program", hint: "write the program and its arguments, e.g. [\"./server\", \"--quiet\"]")
        }
        guard words.count <= 256 else { throw invalid(key, "has \(words.count) words; at most 256 are read", hint: "put them into a script of the capsule") }
        for (i, word) in words.enumerated() where word.utf8.contains(0) || word.utf8.count > 32_768 {
            let pointer = "\(path(key))/\(i)"
            throw MeshError(.fieldInvalid, "\(pointer) has a zero byte or more than 32 KiB", hint: "put it into a file of the capsule", pointer: pointer)
        }
        return words
    }

    /// Names and values of environment variables.
    mutating func environment(_ key: String) throws(MeshError) -> [String: String] {
        let table = try stringTableIfPresent(key) ?? [:]
        guard table.count <= 1024 else { throw invalid(key, "has \(table.count) variables; at most 1024 are read", hint: "put them into a file of the capsule") }
        for (name, value) in table.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            let pointer = path(key) + "/" + Self.escape(name)
            guard Self.isVariableName(name) else {
                throw MeshError(.fieldInvalid, "\(TreePath.printable(pointer)) is not the name of a variable",
                                hint: "use letters, digits and _, not beginning with a digit", pointer: pointer)
            }
            guard !value.utf8.contains(0), value.utf8.count <= 32_768 else {
                throw MeshError(.fieldInvalid, "\(pointer) has a zero byte or more than 32 KiB", hint: "put it into a file of the capsule", pointer: pointer)
            }
        }
        return table
    }

    private static func isVariableName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(0x30...0x39).contains(first), name.utf8.count <= 200 else { return false }
        return name.utf8.allSatisfy { (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5f }
    }

    /// An object whose members are somebody else's business; absent is empty. Not so deep that the root, one level up,
    /// could not be read again.
    mutating func freeObject(_ key: String) throws(MeshError) -> JSONValue {
        guard let value = optional(key) else { return [:] }
        guard value.object != nil else { throw invalid(key, "must be an object", hint: "write {…}") }
        guard Self.depth(of: value) <= Limits.manifestFreeDepthMax else { throw invalid(key, "is nested deeper than \(Limits.manifestFreeDepthMax)", hint: "put it into a file of the capsule") }
        return value
    }

    private static func depth(of value: JSONValue) -> Int {
        switch value {
        case .array(let items): 1 + (items.map(depth).max() ?? 0)
        case .object(let members): 1 + (members.values.map(depth).max() ?? 0)
        default: 0
        }
    }

    /// Each once.
    mutating func digests(_ key: String, max: Int) throws(MeshError) -> [Digest] {
        let texts = try stringsIfPresent(key) ?? []
        guard texts.count <= max else { throw invalid(key, "has \(texts.count) entries; at most \(max) are read", hint: "leave some out") }
        var out: [Digest] = []
        for (i, text) in texts.enumerated() {
            let pointer = "\(path(key))/\(i)"
            guard let digest = try? Digest(parsing: text) else {
                throw MeshError(.fieldInvalid, "\(pointer): “\(TreePath.printable(text))” is not a digest", hint: "write sha256: and 64 lower-case hexadecimal digits", pointer: pointer)
            }
            guard !out.contains(digest) else { throw MeshError(.fieldInvalid, "\(pointer) stands twice", hint: "name each once", pointer: pointer) }
            out.append(digest)
        }
        return out
    }

    /// An array of objects, each read to its end; absent is empty.
    mutating func list<T>(_ key: String, max: Int, _ read: (inout FieldReader) throws(MeshError) -> T) throws(MeshError) -> [T] {
        guard let items = try arrayIfPresent(key) else { return [] }
        guard items.count <= max else { throw invalid(key, "has \(items.count) entries; at most \(max) are read", hint: "leave some out") }
        var out: [T] = []
        for (i, item) in items.enumerated() {
            var object = try FieldReader(item, at: "\(path(key))/\(i)")
            out.append(try read(&object))
            try object.finish()
        }
        return out
    }

    /// Of a list's entries, `member` must differ.
    func requireDistinct(_ key: String, _ names: [String], _ member: String) throws(MeshError) {
        var seen: Set<String> = []
        for (i, name) in names.enumerated() where !seen.insert(name).inserted {
            let pointer = "\(path(key))/\(i)/\(member)"
            throw MeshError(.fieldInvalid, "\(pointer): “\(name)” stands twice", hint: "give each a name of its own", pointer: pointer)
        }
    }
}

extension MeshError {
    /// The same, with the field it is about.
    func at(_ pointer: String) -> MeshError {
        MeshError(code, "\(pointer): \(message)", hint: hint, pointer: pointer, details: details, cause: cause)
    }
}
