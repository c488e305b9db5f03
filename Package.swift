// swift-tools-version: 6.2
// One target per room of the node; see docs/architecture.md. A room imports only rooms on lower floors,
// and Tests/RepositoryTests holds every import against the same table.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOHTTP1", package: "swift-nio"),
]
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

func room(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

let package = Package(
    name: "OurSynthMesh",
    products: [.executable(name: "capsule", targets: ["capsule"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates.git", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess.git", from: "1.0.2"),
    ],
    targets: [
        .systemLibrary(name: "CSodium"),
        .systemLibrary(name: "CZstd"),
        .systemLibrary(name: "CAvahi"),
        .systemLibrary(name: "CLinux"),
        room("MeshCore", [crypto, "CLinux"]),
        room("Signing", ["MeshCore", "CSodium"]),
        room("CapsuleFormat", ["MeshCore", "Signing"]),
        room("CapsuleStore", ["MeshCore", "Signing", "CapsuleFormat", "CZstd", grdb]),
        room("Catalog", ["MeshCore", "Signing", "CapsuleFormat", grdb]),
        room("Discovery", ["MeshCore", "Signing", "CAvahi"]),
        room("Exchange", ["MeshCore", "Signing", "CapsuleFormat", "CapsuleStore", "Catalog", "Discovery",
                          nioSSL, hummingbird, hummingbirdTLS, x509, crypto, logging] + nio),
        room("Builder", ["MeshCore", "Signing", "CapsuleFormat", "CapsuleStore", subprocess]),
        room("Deployments", ["MeshCore", "Signing", "CapsuleFormat", "CapsuleStore", "Catalog", "Builder",
                             hummingbird, httpClient, logging] + nio),
        room("Actions", ["MeshCore", "Signing", "CapsuleFormat", "CapsuleStore", "Catalog", "Discovery", "Exchange",
                         "Builder", "Deployments"]),
        room("Control", ["MeshCore", "Signing", "Actions", hummingbird, httpClient, logging] + nio),
        room("Node", ["MeshCore", "Signing", "CapsuleFormat", "CapsuleStore", "Catalog", "Discovery", "Exchange",
                      "Builder", "Deployments", "Actions", "Control", lifecycle, unixSignals, logging]),
        .executableTarget(name: "capsule",
                          dependencies: ["MeshCore", "Signing", "Actions", "Control", "Node", argumentParser],
                          swiftSettings: settings),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        tests("MeshCoreTests", ["MeshCore"]),
        tests("SigningTests", ["Signing", "MeshCore"]),
        tests("CapsuleFormatTests", ["CapsuleFormat", "Signing", "MeshCore"]),
        tests("CapsuleStoreTests", ["CapsuleStore", "CapsuleFormat", "Signing", "MeshCore"]),
        tests("CatalogTests", ["Catalog", "CapsuleFormat", "Signing", "MeshCore", "TestSupport", grdb]),
        tests("DiscoveryTests", ["Discovery", "Signing", "MeshCore"]),
        tests("ExchangeTests", ["Exchange", "Discovery", "Catalog", "CapsuleStore", "CapsuleFormat", "Signing", "MeshCore", "TestSupport"]),
        tests("BuilderTests", ["Builder", "CapsuleStore", "CapsuleFormat", "Signing", "MeshCore"]),
        tests("DeploymentsTests", ["Deployments", "Builder", "Catalog", "CapsuleStore", "CapsuleFormat", "Signing", "MeshCore"]),
        tests("ActionsTests", ["Actions", "Catalog", "Signing", "MeshCore", "TestSupport"]),
        tests("ControlTests", ["MeshCore", "TestSupport", "capsule"]),
        tests("RepositoryTests", ["TestSupport"]),
        tests("LabTests", ["MeshCore", "TestSupport", "capsule"]),
        tests("TranscriptTests", ["MeshCore", "TestSupport", "capsule"]),
    ]
)

// MESH_FUZZ=1: the readers of foreign bytes, instrumented, as a library that libFuzzer's main is linked to (scripts/fuzz).
if Context.environment["MESH_FUZZ"] != nil {
    let rooms = ["MeshCore", "Signing", "CapsuleFormat", "CapsuleStore", "Catalog"]
    let instrumented = SwiftSetting.unsafeFlags(["-sanitize=fuzzer", "-enable-testing"])
    for target in package.targets where rooms.contains(target.name) { target.swiftSettings?.append(instrumented) }
    package.targets.append(.target(name: "FuzzReaders", dependencies: rooms.map { .init(stringLiteral: $0) }, path: "Tests/Fuzz", exclude: ["corpus"],
                                   swiftSettings: settings + [instrumented]))
    package.products = [.library(name: "FuzzReaders", type: .dynamic, targets: ["FuzzReaders"])]
    let keep = Set(rooms + ["FuzzReaders", "CLinux", "CSodium", "CZstd"])
    package.targets = package.targets.filter { keep.contains($0.name) }
}

// MESH_BENCH=1: what scripts/bench measures below the whole program.
if Context.environment["MESH_BENCH"] != nil {
    package.targets.append(.executableTarget(name: "CatalogBench", dependencies: ["Catalog", "Signing", "MeshCore"], path: "Benchmarks/Catalog", swiftSettings: settings))
}

// MESH_ONLY=<target>,…: these and what they need, for a quicker build while working on one room.
if let only = Context.environment["MESH_ONLY"] {
    var keep: Set<String> = []
    func visit(_ name: String) {
        guard keep.insert(name).inserted, let target = package.targets.first(where: { $0.name == name }) else { return }
        for dependency in target.dependencies {
            if case .byNameItem(let name, _) = dependency { visit(name) }
        }
    }
    for name in only.split(separator: ",") { visit(String(name)) }
    package.targets = package.targets.filter { keep.contains($0.name) }
    package.products = package.products.filter { product in keep.contains(product.name) }
}
