"""An independent reader of `.caps` files, written from docs/formats alone: reader.py FILE [--trust KEY.pub ...]

Prints one JSON line about a file that keeps the rules of oci-and-caps.md, manifest.md, tree.md, chunks.md and, for signatures,
keys-and-envelopes.md; else one sentence on what is wrong, and exits with 65. With --trust, one of these keys must have signed.
Large documents go to temporary files, links to memory, up to a bound. Needs the zstd command and PyNaCl.
"""
import base64, contextlib, functools, hashlib, itertools, json, mmap, os, re, struct, subprocess, sys, tempfile, unicodedata
from nacl import bindings, exceptions

KIB, MIB, OCI, CAPSULE = 1 << 10, 1 << 20, "application/vnd.oci.image.", "application/vnd.oursynth.capsule."
NOTHING, MANIFEST_TYPE, TAR = hashlib.sha256().hexdigest().encode(), OCI + "manifest.v1+json", OCI + "layer.v1.tar"
def need(holds, reason):
    if not holds:
        print("invalid:", reason[:300].encode("unicode_escape").decode(), file=sys.stderr)
        sys.exit(65)

def canonical(value, around=0):
    """RFC 8785 of a value within the bounds of all JSON here (README.md), inside of so many arrays and objects."""
    def ordered(value, around):
        need(around + isinstance(value, (dict, list)) <= 32, "a document is nested too deep")
        need(not isinstance(value, float) and (not isinstance(value, int) or abs(value) < 1 << 53), "a number may not be")
        if isinstance(value, dict):
            need(len({unicodedata.normalize("NFC", name) for name in value}) == len(value), "two members have equivalent names")
            return {name: ordered(value[name], around + 1) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
        return [ordered(item, around + 1) for item in value] if isinstance(value, list) else value
    return json.dumps(ordered(value, around), separators=(",", ":"), ensure_ascii=False).encode()
def parse(data, rule, what):
    try:
        value = json.loads(data.decode())  # of what stands twice one is left, which is another text then
        need(canonical(value) == data, f"{what} is not in canonical form")
    except (ValueError, RecursionError):
        need(False, f"{what} is no JSON")
    return check(value, rule, what)
def check(value, rule, at):
    """A rule: members (`name?` may be absent), [least, most, rule of each item], bytes (a regular expression), range or type."""
    if isinstance(rule, dict):
        known = {name.rstrip("?"): inner for name, inner in rule.items()}
        need(isinstance(value, dict) and all(name in value or name[-1] == "?" for name in rule), f"{at} lacks a member")
        need(value.keys() <= known.keys(), f"{at} has a member that is not known")
        return {name: check(value[name], known[name], f"{at}/{name}") for name in value}
    if isinstance(rule, list):
        need(isinstance(value, list) and rule[0] <= len(value) <= rule[1], f"{at} is no array of {rule[0]} to {rule[1]}")
        return [check(item, rule[2], f"{at}/{place}") for place, item in enumerate(value)]
    fits = isinstance(rule, bytes) and isinstance(value, str) and re.fullmatch(rule, value.encode(), re.DOTALL)
    fits = fits or isinstance(rule, range) and type(value) is int and value in rule
    need(fits or isinstance(rule, type) and isinstance(value, rule), f"{at} is not what may be there")
    return value

INT, WORD = rb"(?:0|[1-9][0-9]*)", rb"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
VERSION = rb"(?=.{1,128}\Z)%b\.%b\.%b(?:-%b(?:\.%b)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?" % (INT, INT, INT, WORD, WORD)
TARGET, PART = rb"(?!.*\xc2[\x80-\x9f])[^\0-\x1f\x7f]{1,4095}", rb"(?!\.{1,2}(?:/|\Z))[^/]{1,255}"
PATH, ANY, POSITIVE = rb"(?=%b\Z)%b(?:/%b){0,127}" % (TARGET, PART, PART), rb"[^\0]{0,65536}", range(1, 1 << 53)
LINE, COMMAND = rb"(?=.*[^ ])(?!.*(?:\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]))[^\0-\x1f\x7f]{1,%d}", [1, 256, rb"[^\0]{0,32768}"]
NAME, HEX64, DIGEST = rb"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", rb"[0-9a-f]{64}", rb"sha256:[0-9a-f]{64}"
STEP = rb"(?!([\1- \x7f]|\xc2[\x80-\xa0]|\xe1\x9a\x80|\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)|\xe3\x80\x80)*\Z)[^\0]{,65536}"
HEALTH = {"path?": rb"/[!-~]{0,1999}", "command?": COMMAND, "intervalMs?": range(10, 3600001), "timeoutMs?": range(10, 600001),
          "retries?": range(1, 1001)}
RUN = {"command": COMMAND, "port?": range(1, 65536), "overlap?": bool, "health?": HEALTH, "stopTimeoutMs?": range(600001)}
MANIFEST = {
    "id": rb"urn:oursynth:app:%b@%b" % (NAME, VERSION), "name": LINE % 200, "version": VERSION,
    "createdAt?": range(253402300800000), "createdBy?": {"name?": LINE % 200, "keyId?": HEX64}, "tree?": rb"app|rootfs",
    "app": {"framework": LINE % 100, "node?": LINE % 100, "runtime?": LINE % 100, "env?": dict}, "parents?": [0, 64, DIGEST],
    "services?": [0, 64, {"name": NAME, "type": rb"postgres|edge|worker|kv", "config?": dict}],
    "seeds?": [0, 64, {"name": NAME, "type": rb"sql|crdt|files", "path": PATH}], "run?": dict,
    "build?": {"steps": [1, 256, STEP], "outDir": rb"\.|" + PATH, "fetch?": [0, 256, STEP],
               "inputs?": [0, 64, {"digest": DIGEST, "mount": b"/" + PATH}],
               "limits?": {"seconds?": POSITIVE, "memoryBytes?": POSITIVE, "processes?": POSITIVE, "outputBytes?": POSITIVE}},
    "attestations?": [0, 256, {"type": rb"sbom|diff|provenance", "sha256": HEX64, "meta?": dict}],
    "rights?": {"license?": LINE % 500, "resaleAllowed?": bool, "attribution?": bool}}
def check_manifest(manifest):
    services, seeds, attestations = (manifest.get(name, []) for name in ("services", "seeds", "attestations"))
    version, env, run = manifest["version"], manifest["app"].get("env", {}), manifest.get("run", {"static": True})
    need(len(canonical(manifest)) <= 256 * KIB, "the manifest is longer than 256 KiB")
    need(manifest["id"].endswith("@" + version) and max(map(int, re.split("[.+-]", version)[:3])) < 1 << 63, "a bad /version")
    need(all(canonical(one.get("config", one.get("meta")), 16) for one in services + attestations), "")  # canonical looks
    check([[*env], [*env.values()]], [2, 2, [0, 1024, COMMAND[2]]], "/app/env")
    need(all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,199}", name) for name in env), "a name in /app/env may not be")
    for names in ([one["name"] for one in services], [one["name"] for one in seeds], manifest.get("parents", [])):
        need(len(set(names)) == len(names), "something stands twice that may stand once")
    mounts = sorted(one["mount"] + "/" for one in manifest.get("build", {}).get("inputs", []))
    need(not any(below.startswith(above) for above, below in zip(mounts, mounts[1:])), "a mount lies in another")
    health = check(run, {"static": bool} if "static" in run else RUN, "/run").get("health", {"path": "/"})
    need(run.get("static", True) and len(health.keys() & {"path", "command"}) == 1, "/run/static or /run/health may not be so")
    need(all(one.get("command", "x")[0] for one in (run, health)), "a command of /run is empty")

BASE64 = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"
MEDIA_TYPE = rb"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}"
ENVELOPE = {"payload": BASE64, "payloadType": MEDIA_TYPE, "signatures": [1, 16, {"keyid": ANY, "sig": BASE64}]}
STATEMENT = {"_type": rb"https://in-toto\.io/Statement/v1", "predicate": object, "predicateType": ANY,
             "subject": [1, 1024, {"digest": {"sha256": HEX64}, "name?": ANY}]}
def check_envelope(envelope, capsule):
    """The key id of who made the capsule, in a set, if this is a signature, which must hold then (keys-and-envelopes.md)."""
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    statement = parse(payload, STATEMENT, "a statement") if kind == b"application/vnd.in-toto+json" else {}
    if statement.get("predicateType") != "urn:oursynth:attestation:signature:v1":
        return set()
    need(any(one["digest"]["sha256"] == capsule for one in statement["subject"]), "a signature is about another capsule")
    author = bytes.fromhex(check(statement["predicate"], {"author": HEX64}, "a signature's predicate")["author"])
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for one in envelope["signatures"]:
        with contextlib.suppress(exceptions.BadSignatureError, ValueError):  # libsodium is strict, as the page wants it
            if bindings.crypto_sign_open(base64.b64decode(one["sig"]) + signed, author) == signed:
                return {key_id(author)}
    need(False, "a signature does not verify")
def key_id(public):
    return hashlib.sha256(canonical({"keytype": "ed25519", "keyval": {"public": public.hex()}, "scheme": "ed25519"})).hexdigest()
def key_of(text):
    match = re.match(rb"-----BEGIN PUBLIC KEY-----\s+MCowBQYDK2VwAyEA([A-Za-z0-9+/]{43}=)\s", text)  # RFC 8410
    need(match, "a key to trust is no public key of Ed25519")
    return base64.b64decode(match[1])

def check_container(data):
    """The bytes of content in all data frames, after a look at every byte of the file; nothing is unpacked yet."""
    count, descriptor, magic = struct.unpack("<IBI", data[-9:].rjust(9, b"\0"))
    start, at, total, hasher = len(data) - 17 - 8 * count, 0, 0, hashlib.sha256()
    need((descriptor, magic) == (0, 0x8F92EAB1) and 2 <= count <= MIB + 1 and start > 0, "the file does not end in a seek table")
    for length, content in struct.iter_unpack("<II", data[start + 8:-17]):
        frame = data[at:at + length] if 9 < length <= 1114112 and 0 < content <= MIB else b""
        need(len(frame) == length and content_of(frame) == content, "a frame is damaged, or not as the seek table says")
        hasher.update(frame)
        at, total = at + length, total + content
    tail = struct.pack("<II32sII", 0x184D2A50, 32, hasher.digest(), 0x184D2A5E, 8 * count + 9)
    need(data[at:start + 8] == tail and data[-17:-9] == struct.pack("<II", 40, 0), "digest frame or seek table do not hold")
    return total
def content_of(frame):
    """The content size that a frame (RFC 8878) announces, if its blocks fill it, and nothing is reserved; else None."""
    start, width = 6 - (frame[4] >> 5 & 1), (frame[4] >> 5 & 1, 2, 4, 8)[frame[4] >> 6]
    at, last = start + width, 0
    content = int.from_bytes(frame[start:at], "little") + (256 if width == 2 else 0)
    while not last and at + 3 <= len(frame):
        block = int.from_bytes(frame[at:at + 3], "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        at += len(frame) if kind == 3 or size > 128 * KIB else 4 if kind == 1 else 3 + size
    whole = last and at + (frame[4] & 4) == len(frame) and frame[:4] == b"\x28\xb5\x2f\xfd"
    return content if whole and width and not frame[4] & 0b1011 else None
def ustar(name, size, mode, kind, target):
    fields = [b"%07o\0" % mode, b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % 315532800, b" " * 8, kind, target]
    block = struct.pack("100s8s8s8s12s12s8ss100s8s64x8s8s167x", name, *fields, b"ustar\x0000", b"0000000\0", b"0000000\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
def headers(name, size=0, mode=0o644, kind=b"0", target=b""):
    """The one header that an entry of a tar has, after a pax header if it needs one."""
    records, large, beyond = b"", size >= 8 << 30, [len(value) > 100 or not value.isascii() for value in (name, target)]
    for key, value, needed in ((b"path", name, beyond[0]), (b"linkpath", target, beyond[1]), (b"size", b"%d" % size, large)):
        rest = b" %b=%b\n" % (key, value)
        records += b"%d%b" % (len(rest) + len(str(len(rest) + len(str(len(rest))))), rest) if needed else b""
    pax = ustar(b"PaxHeaders/0", len(records), 0o644, b"x", b"") + records + bytes(-len(records) % 512) if records else b""
    name, target = (re.sub(rb"[\x80-\xff]", b"_", value) for value in (name, target))
    return pax + ustar(name, 0 if large else size, mode, kind, target)

class Content:
    """The content of all data frames, a tar of the layout; read once, from front to back."""
    def __init__(self, file):
        need(os.fstat(file.fileno()).st_size, "the file is empty")
        self.left, self.hasher = check_container(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), hashlib.sha256()
        self.zstd = subprocess.Popen(["zstd", "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    def read(self, what):
        count = what if isinstance(what, int) else len(what)  # so many bytes, or exactly these
        data = self.zstd.stdout.read(min(count, self.left))
        need(len(data) == count and what in (count, data), "the tar ends early, or a frame, header or padding is wrong")
        self.left -= count
        self.hasher.update(data)
        return data
    def member(self, kind=None, most=MIB):
        """Name, descriptor and content, on disk if it is large, of the next member; a blob, if it has a kind."""
        block = self.read(512)
        name, octal = block[:100].rstrip(b"\0").decode("ascii", "replace"), re.match(rb"[0-7]{11}", block[124:]) or [b"0"]
        size, made = int(octal[0], 8), headers(name.encode(), int(octal[0], 8)) if name else bytes(512)
        need(block == made and size <= min(most, self.left), "a member's header is wrong, or its size")
        file, self.hasher = tempfile.SpooledTemporaryFile(MIB), hashlib.sha256()
        for at in range(0, size, MIB):
            file.write(self.read(min(MIB, size - at)))
        digest = self.hasher.hexdigest()
        need(name == f"blobs/sha256/{digest}" or not kind and name[:6] != "blobs/", f"{name} does not belong here, or is damaged")
        self.read(bytes(-size % 512))
        file.seek(0)
        return name, {"digest": "sha256:" + digest, "mediaType": kind or MANIFEST_TYPE, "size": size}, file

TEXT = rb'"([^"\\\0-\x1f]*+(?:\\["\\][^"\\\0-\x1f]*+)*+)"'
ENTRY = re.compile(rb'\{"mode":(420|493|511),"path":%b,(?:"sha256":"([0-9a-f]{64})","size":(0|[1-9][0-9]{0,12}),"type":"f"'
                   rb'|"type":"d"|"target":%b,"type":"l")\}(,|\]\}\Z)' % (TEXT, TEXT))
def entries(index):
    """(path, digest or None, size, target or None, headers) of each entry, in order; canonical, each has one form (tree.md)."""
    buffer, at, count, before, above = index.read(MIB), 12, 0, b"", [b""]
    need(buffer[:12] == b'{"entries":[', "the index does not begin as one")
    end = b"" if buffer == b'{"entries":[]}' else b","
    while end == b",":
        buffer, at = (buffer, at) if len(buffer) - at > 64 * KIB else (buffer[at:] + index.read(MIB), 0)  # more than an entry
        match, count = ENTRY.match(buffer, at), count + 1
        need(match and match[0].decode("utf-8", "ignore").encode() == match[0], "an entry of the index is malformed")
        path, target = (text and re.sub(rb"\\(.)", rb"\1", text) for text in match.group(2, 5))
        mode, sha256, size, end, at = int(match[1]), match[3], int(match[4] or 0), match[6], match.end()
        kind, modes = (b"0", (420, 493)) if sha256 else (b"5", (493,)) if target is None else (b"2", (511,))
        name, order = path + b"/" * (kind == b"5"), path.replace(b"/", b"\0")
        above = [folder for folder in above if path.startswith(folder)]
        need(re.fullmatch(PATH, path, re.DOTALL) and path != b"capsule.json" and count <= 4000000, "a path is wrong, or too many")
        need(before < order and b"/" not in path[len(above[-1]):], "a path is out of order, or its folder has no entry")
        need(target is None or re.fullmatch(TARGET, target, re.DOTALL), "the target of a link may not be")
        need(mode in modes and size <= 1 << 40 and (size == 0) == (sha256 in (None, NOTHING)), "a mode or size may not be")
        before, above = order, [*above, name] if kind == b"5" else above
        yield path, sha256, size, target, headers(name, size, mode, kind, target or b"")
def follow(link, links):
    """Follows a link of an app by its words, then through the others: it must not leave the tree (tree.md)."""
    steps = [{b"": 0, b".": 0, b"..": -1}.get(part, 1) for part in links[link].split(b"/")]
    need(links[link][:1] != b"/" and min(itertools.accumulate(steps, initial=link.count(b"/"))) > 0, "a link leaves the tree")
    here, ahead, followed = link.rpartition(b"/")[0], links[link].split(b"/")[::-1], 0
    while ahead and followed < 40:
        part = ahead.pop()
        need(here or part != b"..", "a link leaves the tree")
        here = here.rpartition(b"/")[0] if part == b".." else here + b"/" + part if part not in (b"", b".") else here
        if here in links:
            ahead += links[here].split(b"/")[::-1]
            here, followed = here.rpartition(b"/")[0], followed + 1
GEAR = [word for i in range(64) for word in struct.unpack("<4Q", hashlib.sha256(b"oursynth-gear-v1%c\0\0\0" % i).digest())]
@functools.lru_cache(16)
def cut(data):
    """The length of the first chunk, given what is left of the file or 128 KiB of it (chunks.md)."""
    hash = 0
    for i, byte in enumerate(data[8192:], 8192):
        hash = (hash << 1) + GEAR[byte] & 0xFFFFFFFFFFFFFFFF
        if not hash & (0x7FFF800000000000 if i < 32768 else 0x7FFE000000000000):
            return i
    return len(data)
def check_files(content, index, chunks, attested, app):
    """The index, and files.tar byte for byte as the index makes it; content by chunks, cuts and digests. (files, bytes)"""
    files, total, held, links = 0, 0, 0, {}
    for path, sha256, size, target, header in entries(index):
        content.read(header)
        file, window, unread = hashlib.sha256(), b"", size
        while window or unread:
            more = min(unread, 128 * KIB - len(window))
            window, unread = window + content.read(more), unread - more
            piece, window = window[:cut(window)], window[cut(window):]
            need(chunks.read(36) == hashlib.sha256(piece).digest() + struct.pack("<I", len(piece)), "a chunk is not as listed")
            file.update(piece)
        need(sha256 in (None, file.hexdigest().encode()), "a file has another digest")
        content.read(bytes(-size % 512))
        attested.discard(sha256)
        files, total = files + (sha256 is not None), total + size
        if app and target is not None:
            links[b"/" + path], held = target, held + len(path) + len(target) + 300
            need(held < 160 * MIB, "there are more links than this reader holds")
    content.read(bytes(1024))
    need(not attested and not chunks.read(1), "a file for /attestations is missing, or the chunk list has too many chunks")
    for link in links:
        follow(link, links)
    return files, total

def oci(kind, **members):
    return canonical({"mediaType": f"{OCI}{kind}.v1+json", "schemaVersion": 2, **members})
def read(content, trusted):
    """The layout; its documents are made anew from what they are about, and compared (oci-and-caps.md)."""
    content.read(headers(b"oci-layout", 30) + b'{"imageLayoutVersion":"1.0.0"}'.ljust(512, b"\0"))
    name, _, listed = content.member()
    _, own, manifest = content.member(MANIFEST_TYPE)
    _, config, root = content.member(CAPSULE + "v1+json", 257 * KIB)
    _, index, tree = content.member(CAPSULE + "index.v1+json", 1 << 30)
    _, pieces, chunks = content.member(CAPSULE + "chunks.v1", 16 + (36 << 24))
    manifest, count, signers, referrers = manifest.read(), pieces["size"] // 36, set(), []
    match = re.search(rb'"sha256:([0-9a-f]{64})","mediaType":"%b","size":([0-9]{1,15})}],' % TAR.encode(), manifest)
    need(match, "the capsule's OCI manifest names no files.tar")
    tar = {"digest": f"sha256:{match[1].decode()}", "mediaType": TAR, "size": int(match[2])}
    need(manifest == oci("manifest", artifactType=CAPSULE + "v1", config=config, layers=[index, pieces, tar]), "a bad manifest")
    need((name, listed.read()) == ("index.json", oci("index", manifests=[{"artifactType": CAPSULE + "v1", **own}])), "a bad list")
    rule = {"capsule": MANIFEST, "chunks": pieces["digest"].encode(), "index": index["digest"].encode()}
    capsule = parse(root.read(), rule, "the root")["capsule"]
    check_manifest(capsule)
    need(chunks.read(16) == b"OSCK\1\0\0\0" + struct.pack("<Q", count) and pieces["size"] % 36 == 16, "the chunk list is damaged")
    content.read(headers(b"blobs/sha256/" + match[1], tar["size"]))
    content.hasher, end = hashlib.sha256(), content.left - tar["size"]
    need(end > 0, "files.tar has more bytes than all frames together")
    attested = {one["sha256"].encode() for one in capsule.get("attestations", [])}
    files, size = check_files(content, tree, chunks, attested, capsule.get("tree") != "rootfs")
    need((content.left, content.hasher.hexdigest()) == (end, tar["digest"][7:]), "files.tar has another size or digest")
    content.read(bytes(-tar["size"] % 512))
    empty = {"digest": "sha256:" + hashlib.sha256(b"{}").hexdigest(), "mediaType": "application/vnd.oci.empty.v1+json", "size": 2}
    while (member := content.member())[0][:6] == "blobs/":
        need(referrers or content.member(empty["mediaType"], 2)[1] == empty, "the empty config is missing")
        _, layer, data = content.member("application/vnd.dsse.envelope.v1+json", 4 * MIB)
        envelope = parse(data.read(), ENVELOPE, "an envelope")
        signers |= check_envelope(envelope, config["digest"][7:])
        made = oci("manifest", artifactType=envelope["payloadType"], config=empty, layers=[layer], subject=own)
        need(member[2].read() == made and len(referrers) < 1024, "what refers to the capsule does not hold, or is too much")
        need(not referrers or referrers[-1]["digest"] < member[1]["digest"], "what refers to the capsule is out of order")
        referrers += [{"artifactType": envelope["payloadType"], **member[1]}]
    if referrers:
        need(member[0] == f"referrers/sha256-{own['digest'][7:]}.json", "the list of what refers to the capsule is missing")
        need(member[2].read() == oci("index", manifests=referrers), "the list of what refers to the capsule does not hold")
        member = content.member()
    need(member[0] == "" and content.read(512) == bytes(512) and content.left == 0, "the tar does not end in two zero blocks")
    need(content.zstd.stdout.read(1) == b"" and content.zstd.wait() == 0, "a frame does not unpack to what it announces")
    need(not trusted or trusted & signers, "none of the trusted keys has signed the capsule")
    return {"digest": config["digest"], "id": capsule["id"], "version": capsule["version"], "files": files, "bytes": size,
            "chunks": count, "referrers": len(referrers), "signers": sorted(signers)}

if __name__ == "__main__":
    path, *keys = [one for one in sys.argv[1:] if one != "--trust"] or sys.exit(__doc__)
    try:
        print(json.dumps(read(Content(open(path, "rb")), {key_id(key_of(open(key, "rb").read(4096))) for key in keys})))
    except OSError as error:
        need(False, f"cannot be read: {error.strerror}")
