import CapsuleFormat
import MeshCore
import Testing

@Suite struct LicenseExpressionTests {
    static let valid: [(String, String)] = [
        ("MIT", "MIT"), ("mit", "MIT"), ("apache-2.0", "Apache-2.0"), ("0BSD", "0BSD"), ("GPL-2.0", "GPL-2.0"), ("GPL-2.0+", "GPL-2.0+"), ("apache-2.0+", "Apache-2.0+"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"), ("  MIT   AND\tISC\n", "MIT AND ISC"), ("(MIT)", "(MIT)"), ("((MIT OR ISC)AND(Zlib))", "((MIT OR ISC) AND (Zlib))"),
        ("GPL-2.0-or-later WITH classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        ("Apache-2.0 WITH LLVM-exception OR NCSA", "Apache-2.0 WITH LLVM-exception OR NCSA"), ("LicenseRef-mine", "LicenseRef-mine"), ("LicenseRef-a.b-1 AND MIT", "LicenseRef-a.b-1 AND MIT"),
        ("DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2", "DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2"), ("GPL-2.0-with-classpath-exception", "GPL-2.0-with-classpath-exception"),
        ("OSL-3.0-or-compatible", "OSL-3.0-or-compatible"), ("LGPL-2.1-only AND BSD-3-Clause OR MPL-2.0", "LGPL-2.1-only AND BSD-3-Clause OR MPL-2.0"),
        (String(repeating: "(", count: 31) + "MIT" + String(repeating: ")", count: 31), String(repeating: "(", count: 31) + "MIT" + String(repeating: ")", count: 31)),
    ]

    @Test(arguments: valid) func accepts(_ vector: (String, String)) throws {
        let expression = try LicenseExpression(parsing: vector.0)
        #expect(expression.description == vector.1)
        #expect(try LicenseExpression(parsing: vector.1) == expression, "what is written is read again")
    }

    static let invalid: [(String, hint: String)] = [
        ("", "SPDX identifier"), (" ", "SPDX identifier"), ("Apche-2.0", "did you mean Apache-2.0?"), ("Apache 2.0", "did you mean Apache-2.0?"), ("Apache License 2.0", "did you mean Apache-2.0?"),
        ("The MIT License", "did you mean MIT?"), ("MTI", "did you mean MIT?"), ("GPLv3", "did you mean GPL-3.0?"), ("GPL", "did you mean GPL-1.0 or GPL-2.0 or GPL-3.0?"),
        ("BSD", "did you mean BSD-1-Clause or BSD-2-Clause or BSD-3-Clause?"), ("all rights reserved", "LicenseRef-NAME"), ("UNLICENSED", "LicenseRef-NAME"), ("NOASSERTION", "LicenseRef-NAME"),
        ("MIT or ISC", "upper case"), ("mit and isc", "upper case"), ("MIT OR", "identifier there"), ("AND MIT", "identifier there"), ("MIT ISC", "LicenseRef-NAME"), ("MIT AND ISC Zlib", "join"),
        ("MIT WITH", "after WITH"), ("MIT WITH MIT", "exceptions"), ("GPL-2.0 WITH Clasppath-exception-2.0", "did you mean Classpath-exception-2.0?"), ("LLVM-exception", "LicenseRef-NAME"),
        ("(MIT", "close"), ("MIT)", "join"), ("()", "identifier there"), ("(MIT) WITH LLVM-exception", "join"), ("MIT++", "LicenseRef-NAME"), ("MIT +", "LicenseRef-NAME"), ("LicenseRef-", "LicenseRef-NAME"),
        ("LicenseRef-a_b", "LicenseRef-NAME"), ("DocumentRef-a", "LicenseRef-NAME"), ("DocumentRef-a:MIT", "LicenseRef-NAME"), ("a:LicenseRef-b", "LicenseRef-NAME"), ("LicenseRef-a+", "LicenseRef-NAME"),
        ("OSL-3.0-or-compatible OR MIT", "LicenseRef-NAME"), ("M\u{130}T", ""), ("\u{1b}[31mMIT", ""), (String(repeating: "(", count: 200), "leave some"), (String(repeating: "MIT OR ", count: 100), "LicenseRef-NAME"),
    ]

    @Test(arguments: invalid) func refuses(_ vector: (String, hint: String)) {
        let error = #expect(throws: MeshError.self) { try LicenseExpression(parsing: vector.0) }
        #expect(error?.code.name == "license_invalid" && error?.isClearRefusal == true)
        #expect(error?.hint.contains(vector.hint) == true || vector.hint.isEmpty, "\(error?.message ?? "") / \(error?.hint ?? "")")
        #expect(error?.message.contains("\u{1b}") == false)
    }

    @Test func references() throws {
        let expression = try LicenseExpression(parsing: "LicenseRef-b OR (LicenseRef-a AND LicenseRef-b) OR MIT")
        #expect(expression.references == ["LicenseRef-b", "LicenseRef-a"] && !expression.hasForeignReferences && !expression.isEcosystemDefault)
        #expect(try LicenseExpression(parsing: "DocumentRef-x:LicenseRef-y").hasForeignReferences)
        #expect(try LicenseExpression(parsing: LicenseExpression.ecosystemDefault).isEcosystemDefault)
    }

    /// The manifest is read whatever it says; who packs is told.
    @Test func manifests() throws {
        func manifest(_ license: String?) throws -> Manifest {
            try Manifest(ManifestTests.base().with(license.map { ["license": .string($0)] }, at: "/rights"))
        }
        for good in [nil, "MIT", "LicenseRef-ours", "OSL-3.0-or-compatible"] { #expect(throws: Never.self) { try manifest(good).checkLicense() } }
        let odd = try manifest("Freeware, ask Ada")
        let error = #expect(throws: MeshError.self) { try odd.checkLicense() }
        #expect(error?.code == .licenseInvalid && error?.pointer == "/rights/license" && error?.message.hasPrefix("/rights/license: ") == true)
        // Those that the samples and vectors use.
        for (name, vector) in [("full", try Vectors.read("manifests.json")["full"])] {
            #expect(throws: Never.self, "\(name)") { try Manifest(try #require(vector)).checkLicense() }
        }
    }

    /// Nothing that a stranger writes ends the process or takes long.
    @Test func anyTextIsAnswered() throws {
        var dice = Dice(state: 5)
        let words = ["MIT", "(", ")", "AND", "OR", "WITH", "GPL-2.0+", "LLVM-exception", "LicenseRef-x", "é", " ", "+", ":", "\0", "Apache", "DocumentRef-a:LicenseRef-b"]
        for round in 0..<5000 {
            let text = (0..<Int.random(in: 0...8, using: &dice)).map { _ in words.randomElement(using: &dice) ?? "" }.joined(separator: Bool.random(using: &dice) ? " " : "")
            guard let expression = try? LicenseExpression(parsing: text) else { continue }
            if try LicenseExpression(parsing: expression.description) != expression { Issue.record("round \(round): \(text)") }
        }
    }
}
