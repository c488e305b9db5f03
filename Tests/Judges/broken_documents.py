"""Broken OCI manifests, roots and capsule manifests (docs/formats: oci-and-caps.md, manifest.md, and README.md for JSON).
Each case: name, codes, why, what makes it.
"""
from capswriter import MANIFEST, MIB, caps, descriptor

SHAPE = "layout_invalid field_invalid field_missing field_unknown"
OTHER = "0" * 64


def with_step(name, change):
    return lambda: caps(**{name: change})


def oci(**members):
    return with_step("oci", lambda value: {**value, **members})


def without(name, step="oci"):
    return with_step(step, lambda value: {key: inner for key, inner in value.items() if key != name})


def layers(change):
    return with_step("oci", lambda value: {**value, "layers": change(value["layers"])})


def listed(change):
    return with_step("listed", lambda value: {**value, "manifests": [change(value["manifests"][0])]})


def other_blob(place, change):
    """A blob with other bytes under its old name and size."""
    def members(found):
        name, (data,) = found[place]
        return [*found[:place], (name, [change(data)]), *found[place + 1:]]
    return with_step("members", members)


def later(data):
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


OCI = [
    ("oci-version", "layout_invalid", "oci-layout says version 1.0.1.",
     with_step("version", lambda data: data.replace(b"1.0.0", b"1.0.1"))),
    ("oci-version-spaces", "layout_invalid json_not_canonical", "oci-layout has white space.",
     with_step("version", lambda data: data + b"\n")),
    ("oci-version-member", "layout_invalid field_unknown", "oci-layout has a member more.",
     with_step("version", lambda data: data[:-1] + b',"x":1}')),
    ("oci-list-two", "layout_invalid", "index.json lists two capsules.",
     with_step("listed", lambda value: {**value, "manifests": value["manifests"] * 2})),
    ("oci-list-none", "layout_invalid", "index.json lists nothing.", with_step("listed", lambda value: {**value, "manifests": []})),
    ("oci-list-size", "layout_invalid digest_mismatch", "index.json has another size for the manifest.",
     listed(lambda one: {**one, "size": one["size"] + 1})),
    ("oci-list-digest", "layout_invalid digest_mismatch", "index.json has another digest for the manifest.",
     listed(lambda one: {**one, "digest": "sha256:" + OTHER})),
    ("oci-list-kind", "layout_invalid", "index.json lists something that is no capsule.",
     listed(lambda one: {**one, "artifactType": "application/x"})),
    ("oci-list-annotations", SHAPE, "index.json has annotations.", listed(lambda one: {**one, "annotations": {}})),
    ("oci-list-spaces", "json_not_canonical layout_invalid", "index.json has white space.",
     with_step("listed_bytes", lambda data: data + b"\n")),
    ("oci-list-large", "layout_invalid json_invalid", "index.json has more than 1 MiB.",
     with_step("listed_bytes", lambda data: data + b" " * MIB)),
    ("oci-list-brackets", "layout_invalid json_invalid", "index.json is a million opening brackets.",
     with_step("listed_bytes", lambda data: b"[" * 1000000)),
    ("oci-list-twice", "json_invalid", "A member of index.json stands twice.",
     with_step("listed_bytes", lambda data: data[:-1] + b',"schemaVersion":2}')),
    ("oci-list-float", "json_invalid", "index.json says schemaVersion 2.0.", with_step("listed_bytes", lambda data: data[:-1] + b".0}")),
    ("oci-manifest-annotations", SHAPE, "The manifest has annotations.", oci(annotations={"a": "b"})),
    ("oci-manifest-spaces", "json_not_canonical layout_invalid", "The manifest has white space.",
     with_step("manifest_bytes", lambda data: data + b" ")),
    ("oci-manifest-large", "layout_invalid json_invalid", "The manifest has more than 256 KiB.",
     with_step("manifest_bytes", lambda data: data + b" " * (256 << 10))),
    ("oci-manifest-brackets", "layout_invalid json_invalid", "The manifest is opening brackets.",
     with_step("manifest_bytes", lambda data: b"[" * 200000)),
    ("oci-manifest-array", SHAPE, "The manifest is an array.", with_step("manifest_bytes", lambda data: b"[]")),
    ("oci-kind", SHAPE, "The manifest has another artifact type.", oci(artifactType="application/x")),
    ("oci-kind-missing", SHAPE, "The manifest has no artifact type.", without("artifactType")),
    ("oci-schema-version", SHAPE, "The manifest has schemaVersion 1.", oci(schemaVersion=1)),
    ("oci-media-type", SHAPE, "The manifest has another media type.", oci(mediaType="application/x")),
    ("oci-subject", SHAPE, "The capsule's manifest has a subject.", oci(subject=descriptor("application/x", b"x"))),
    ("oci-config-kind", SHAPE, "The root has another media type.",
     with_step("oci", lambda v: {**v, "config": {**v["config"], "mediaType": "application/x"}})),
    ("oci-config-size", "layout_invalid digest_mismatch", "The root has another size than its descriptor.",
     with_step("oci", lambda v: {**v, "config": {**v["config"], "size": v["config"]["size"] + 1}})),
    ("oci-layer-missing", SHAPE, "The layer of files.tar is missing.", layers(lambda found: found[:2])),
    ("oci-layer-more", SHAPE, "There is a fourth layer.", layers(lambda found: [*found, descriptor("application/x", b"x")])),
    ("oci-layer-order", SHAPE + " capsule_mismatch", "Chunk list and index have changed places.",
     layers(lambda found: [found[1], found[0], found[2]])),
    ("oci-layer-kind", SHAPE, "files.tar has the media type of a compressed layer.",
     layers(lambda found: [*found[:2], {**found[2], "mediaType": found[2]["mediaType"] + "+gzip"}])),
    ("oci-layer-urls", SHAPE, "A descriptor has urls.", layers(lambda found: [*found[:2], {**found[2], "urls": ["http://example.org/"]}])),
    ("oci-layer-size", "layout_invalid digest_mismatch", "The index has another size than its descriptor.",
     layers(lambda found: [{**found[0], "size": found[0]["size"] - 1}, *found[1:]])),
    ("oci-layer-size-negative", SHAPE, "The size of a layer is negative.", layers(lambda found: [{**found[0], "size": -1}, *found[1:]])),
    ("oci-layer-size-huge", SHAPE + " json_invalid", "The size of a layer is 2^63.",
     layers(lambda found: [{**found[0], "size": 1 << 63}, *found[1:]])),
    ("oci-layer-digest-kind", SHAPE, "The digest of a layer is a SHA-512.",
     layers(lambda found: [{**found[0], "digest": "sha512:" + 2 * OTHER}, *found[1:]])),
    ("oci-layer-digest-upper", SHAPE, "The digest of a layer is in upper case.",
     layers(lambda found: [{**found[0], "digest": "sha256:" + found[0]["digest"][7:].upper()}, *found[1:]])),
    ("oci-layer-digest-path", SHAPE, "The digest of a layer is a path.",
     layers(lambda found: [{**found[0], "digest": "sha256:../../../etc/passwd"}, *found[1:]])),
    ("oci-blob-manifest", "layout_invalid digest_mismatch", "The manifest has other bytes than its digest says.",
     other_blob(2, lambda data: data.replace(b"v1.tar", b"v1.tbr"))),
    ("oci-blob-root", "layout_invalid digest_mismatch capsule_mismatch", "The root has other bytes than its digest says.",
     other_blob(3, lambda data: data.replace(b"Sample", b"Simple"))),
    ("oci-blob-index", "layout_invalid digest_mismatch capsule_mismatch", "The index has other bytes than its digest says.",
     other_blob(4, lambda data: data.replace(b"a.txt", b"b.txt"))),
    ("oci-blob-chunks", "layout_invalid digest_mismatch capsule_mismatch", "The chunk list has other bytes than its digest says.",
     other_blob(5, later)),
    ("oci-blob-missing", "layout_invalid files_tar_mismatch", "files.tar is missing.", with_step("members", lambda found: found[:6] + found[7:])),
    ("oci-blobs-missing", "layout_invalid", "There is oci-layout and nothing else.", with_step("members", lambda found: found[:1])),
]


# Root and manifest

def root(change):
    return with_step("root", change)


def fields(**members):
    return with_step("fields", lambda value: {**value, **members})


def manifest(_without=(), **members):
    found = {name: value for name, value in {**MANIFEST, **members}.items() if name not in _without}
    return lambda: caps(manifest=found)


def member(text):
    """The root with this text as a first member of its manifest's `app`. It sorts before `framework`."""
    return root(lambda data: data.replace(b'"app":{', b'"app":{' + text))


def nested(times):
    value = {}
    for _ in range(times - 1):
        value = {"a": value}
    return value


def service(config):
    return {"name": "db", "type": "kv", "config": config}


ROOT = [
    ("root-spaces", "json_not_canonical", "The root has white space.", root(lambda data: data.replace(b":", b": ", 1))),
    ("root-line-feed", "json_not_canonical", "The root ends in a line feed.", root(lambda data: data + b"\n")),
    ("root-order", "json_not_canonical", "The members of the root are in another order.",
     root(lambda data: data.replace(b'"name":"Sample",', b"").replace(b'{"app"', b'{"name":"Sample","app"'))),
    ("root-escape", "json_not_canonical", "A letter is escaped without need.", root(lambda data: data.replace(b"Sample", b"\\u0053ample"))),
    ("root-escape-slash", "json_not_canonical", "A slash is escaped.",
     lambda: caps(manifest={**MANIFEST, "name": "a/b"}, root=lambda data: data.replace(b"a/b", b"a\\/b"))),
    ("root-field-unknown", "field_unknown", "The root has a member more.", fields(extra=1)),
    ("root-field-missing", "field_missing", "The root names no chunk list.", without("chunks", "fields")),
    ("root-field-null", "field_invalid", "The chunk list of the root is null.", fields(chunks=None)),
    ("root-array", "field_invalid layout_invalid", "The root is an array.", root(lambda data: b"[]")),
    ("root-index", "capsule_mismatch", "The root names another index.", fields(index="sha256:" + OTHER)),
    ("root-chunks", "capsule_mismatch", "The root names another chunk list.", fields(chunks="sha256:" + OTHER)),
    ("root-digest-bare", "field_invalid", "A digest of the root has no sha256: before it.", fields(index=OTHER)),
    ("root-twice", "json_invalid", "A member stands twice.", root(lambda data: data[:-1] + b',"index":"x"}')),
    ("root-twice-normalised", "json_invalid", "Two members are canonically equivalent.",
     lambda: caps(manifest={**MANIFEST, "services": [service({"é": 1, "e\u0301": 2})]})),
    ("root-depth-40", "json_invalid", "Nested 40 deep.", member(b'"env":' + b"[" * 38 + b"]" * 38 + b",")),
    ("root-brackets", "json_invalid", "200,000 opening brackets.", root(lambda data: b"[" * 200000)),
    ("root-objects", "json_invalid", "40,000 nested objects.", root(lambda data: b'{"a":' * 40000 + b"1" + b"}" * 40000)),
    ("root-fraction", "json_invalid", "A number with a fraction.", root(lambda data: data.replace(b'"id":', b'"createdAt":1.5,"id":'))),
    ("root-exponent", "json_invalid", "A number with an exponent.", root(lambda data: data.replace(b'"id":', b'"createdAt":1e3,"id":'))),
    ("root-minus-zero", "json_invalid", "The number −0.", root(lambda data: data.replace(b'"id":', b'"createdAt":-0,"id":'))),
    ("root-leading-zero", "json_invalid", "A number with a leading zero.",
     root(lambda data: data.replace(b'"id":', b'"createdAt":07,"id":'))),
    ("root-2-53", "json_invalid", "The number 2^53.", root(lambda data: data.replace(b'"id":', b'"createdAt":9007199254740992,"id":'))),
    ("root-digits", "json_invalid", "A number of 100,000 digits.",
     root(lambda data: data.replace(b'"id":', b'"createdAt":' + b"9" * 100000 + b',"id":'))),
    ("root-surrogate", "json_invalid", "A lone surrogate.", root(lambda data: data.replace(b"Sample", b"\\ud800"))),
    ("root-utf-8", "json_invalid", "Bytes that are not UTF-8.", root(lambda data: data.replace(b"Sample", b"\xff\xfe"))),
    ("root-utf-8-overlong", "json_invalid", "A slash in two bytes.", root(lambda data: data.replace(b"Sample", b"\xc0\xaf"))),
    ("root-byte-order-mark", "json_invalid", "A byte order mark.", root(lambda data: b"\xef\xbb\xbf" + data)),
    ("root-control", "json_invalid", "A line feed in a string that is not escaped.",
     root(lambda data: data.replace(b"Sample", b"Sam\nple"))),
    ("root-second", "json_invalid", "A second document follows.", root(lambda data: data + b"{}")),
    ("root-cut", "json_invalid", "The root ends early.", root(lambda data: data[:-10])),
    ("root-empty", "json_invalid", "The root has no byte.", root(lambda data: b"")),
    ("root-large", "json_invalid layout_invalid", "The root has more than 257 KiB.", root(lambda data: data + b" " * (257 << 10))),
    ("manifest-large", "field_invalid", "The manifest has more than 256 KiB in a root of less than 257 KiB.",
     manifest(build={"steps": ["x" * 65000] * 4 + ["x" * 2100], "outDir": "."})),
    ("manifest-members", "field_invalid", "20,000 variables of environment, where 1,024 may be.",
     manifest(app={"framework": "x", "env": {f"A{i}": "" for i in range(20000)}})),
    ("manifest-field-unknown", "field_unknown", "A field that no page names.", manifest(extra=1)),
    ("manifest-field-null", "field_invalid", "A field that is null.", manifest(createdAt=None)),
    ("manifest-id-missing", "field_missing", "There is no id.", manifest(_without=("id",))),
    ("manifest-name-missing", "field_missing", "There is no name.", manifest(_without=("name",))),
    ("manifest-array", "field_invalid", "The manifest is an array.", fields(capsule=[])),
    ("manifest-id-version", "version_contradicts_id", "The id has another version.", manifest(version="1.0.1")),
    ("manifest-version", "version_invalid", "The version has two numbers.", manifest(version="1.0", id="urn:oursynth:app:sample@1.0")),
    ("manifest-version-zero", "version_invalid", "The version has a leading zero.",
     manifest(version="1.00.0", id="urn:oursynth:app:sample@1.00.0")),
    ("manifest-version-huge", "version_invalid", "A number of the version is 2^63.",
     manifest(version=f"{1 << 63}.0.0", id=f"urn:oursynth:app:sample@{1 << 63}.0.0")),
    ("manifest-id-slash", "name_invalid", "The name in the id has a slash.", manifest(id="urn:oursynth:app:a/b@1.0.0")),
    ("manifest-id-climbs", "name_invalid", "The name in the id climbs.", manifest(id="urn:oursynth:app:../../x@1.0.0")),
    ("manifest-id-upper", "name_invalid", "The name in the id has a capital letter.", manifest(id="urn:oursynth:app:Sample@1.0.0")),
    ("manifest-name-control", "field_invalid", "The name has an escape character.", manifest(name="a\u001b[31mb")),
    ("manifest-name-separator", "field_invalid", "The name has U+2028.", manifest(name="a\u2028b")),
    ("manifest-name-long", "field_invalid", "The name has 201 bytes.", manifest(name="x" * 201)),
    ("manifest-time", "field_invalid", "A time after the year 9999.", manifest(createdAt=253402300800000)),
    ("manifest-time-negative", "field_invalid", "A time before 1970.", manifest(createdAt=-1)),
    ("manifest-step-missing", "step_missing", "A build without a step.", manifest(build={"outDir": "out", "steps": []})),
    ("manifest-step-blank", "step_missing", "A step of spaces.", manifest(build={"outDir": "out", "steps": ["  "]})),
    ("manifest-out-dir", "field_invalid", "The output folder lies outside.", manifest(build={"outDir": "../out", "steps": ["true"]})),
    ("manifest-mount", "field_invalid", "A mount climbs.",
     manifest(build={"outDir": ".", "steps": ["true"], "inputs": [{"digest": "sha256:" + OTHER, "mount": "/../etc"}]})),
    ("manifest-run-false", "field_invalid", "run.static is false.", manifest(run={"static": False})),
    ("manifest-run-both", "field_unknown", "run has both static and command.", manifest(run={"static": True, "command": ["x"]})),
    ("manifest-services", "field_invalid", "Two services have one name.", manifest(services=[service({}), service({})])),
    ("manifest-config-deep", "field_invalid", "The config of a service is nested 17 deep.", manifest(services=[service(nested(17))])),
    ("manifest-attestation", "tree_mismatch", "No file has the digest of an attestation.",
     manifest(attestations=[{"type": "sbom", "sha256": OTHER}])),
    ("manifest-tree", "field_invalid", "A tree of an unknown kind.", manifest(tree="image")),
]

CASES = {"oci": OCI, "root": [row for row in ROOT if row[0].startswith("root")], "manifest": [row for row in ROOT if row[0].startswith("manifest")]}
