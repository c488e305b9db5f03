import MeshCore
import Testing

@Suite struct JSONTests {
    /// RFC 8785 §3.2.2 and §3.2.3: the sorting and escaping examples, as far as they use no fractions.
    @Test func sortsByUTF16AndEscapesAsRFC8785() throws {
        let source = #"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#
        let value = try JSONValue.parse(Array(source.utf8))
        #expect(value.canonicalText == "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}")
        let string = try JSONValue.parse(Array(#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#.utf8))
        #expect(string.canonicalText == #"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "01", "-", "-0", "1.0", "1e3", "9007199254740992", "tru", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\u12g4\"", "\"\\u+123\"",
        "\"\u{01}\"", "{\"a\":1,\"a\":2}", "{a:1}", "[1] 2", "nulll", "[", String(repeating: "[", count: 40) + String(repeating: "]", count: 40), "{\"\u{e9}\":1,\"e\u{301}\":2}",
    ])
    func refuses(text: String) {
        let error = #expect(throws: MeshError.self) { try JSONValue.parse(Array(text.utf8)) }
        #expect(error?.code == .jsonInvalid)
    }

    @Test func refusesInvalidUTF8AndTooMuch() {
        #expect(throws: MeshError.self) { try JSONValue.parse([0x22, 0xff, 0x22]) }
        #expect(throws: MeshError.self) { try JSONValue.parse(Array("\"aaaaaaaa\"".utf8), bytesMax: 5) }
    }

    @Test(arguments: ["{\"b\":1,\"a\":2}", " 1", "[1, 2]", "\"\\u0041\"", "\"\\/\"", "{\"a\":1}\n"])
    func refusesWhatIsNotCanonical(text: String) {
        let error = #expect(throws: MeshError.self) { try JSONValue.parseCanonical(Array(text.utf8)) }
        #expect(error?.code == .jsonNotCanonical)
    }

    @Test func survivesARoundTripOfRandomDocuments() throws {
        var random = SystemRandomNumberGenerator()
        func document(_ depth: Int) -> JSONValue {
            switch Int.random(in: 0..<(depth > 4 ? 4 : 6), using: &random) {
            case 0: .null
            case 1: .bool(Bool.random(using: &random))
            case 2: .integer(Int64.random(in: -9_007_199_254_740_991...9_007_199_254_740_991, using: &random))
            case 3: .string(String(String.UnicodeScalarView((0..<Int.random(in: 0..<8, using: &random)).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0..<0x11000, using: &random)) })))
            case 4: .array((0..<Int.random(in: 0..<4, using: &random)).map { _ in document(depth + 1) })
            default: .object(Dictionary((0..<Int.random(in: 0..<4, using: &random)).map { ("k\($0)", document(depth + 1)) }, uniquingKeysWith: { a, _ in a }))
            }
        }
        for _ in 0..<2000 {
            let value = document(0)
            #expect(try JSONValue.parseCanonical(value.canonicalBytes) == value)
            #expect(try JSONValue.parse(Array(value.prettyText.utf8)) == value)
        }
    }

    /// Canonical is what is written, byte for byte, and nothing else that can be read.
    @Test func canonicalIsWhatWouldBeWritten() throws {
        let whole = Array(#"{"a":"\u0001\n\"\\é€","b":[1,-20,{"":null,"ä":true,"😀":false}],"c\t":{"x":"/"}}"#.utf8)
        let bytes = Array(" \n\t,:[]{}\"\\/u0019abé-".utf8) + Array("\\u0041".utf8)
        #expect(try JSONValue.parseCanonical(whole).canonicalBytes == whole)
        var random = SystemRandomNumberGenerator(), read = 0, refused = 0
        for _ in 0..<40_000 {
            var text = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: text[place] = bytes.randomElement(using: &random) ?? 0
                case 1: text.insert(bytes.randomElement(using: &random) ?? 0, at: place)
                case 2: text.remove(at: place)
                default: text.insert(contentsOf: Array([#"\u0061"#, #"\/"#, #"\u000A"#, #"\u001f"#, " ", #""z":1,"#, #""ab":2,"#].randomElement(using: &random)!.utf8), at: place)
                }
            }
            guard let value = try? JSONValue.parse(text) else { continue }
            read += 1
            let isCanonical = (try? JSONValue.parseCanonical(text)) != nil
            refused += isCanonical ? 0 : 1
            #expect(isCanonical == (value.canonicalBytes == text), "\(String(decoding: text, as: UTF8.self))")
        }
        #expect(read > 1000 && refused > 100 && refused < read)
    }

    @Test func fieldReaderNamesTheUnknownField() throws {
        var reader = try FieldReader(["a": 1, "b/~": 2], at: "/run")
        _ = try reader.integer("a")
        let error = #expect(throws: MeshError.self) { try reader.finish() }
        #expect(error?.pointer == "/run/b~1~0")
        #expect(error?.code == .fieldUnknown)
    }
}
