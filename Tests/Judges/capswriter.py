"""Writes `.caps` files from docs/formats alone, each step open to a change: what broken.py makes its files with.

`caps(**change)` goes the way from a tree to a file: entries, index, chunk list, files.tar, root, OCI manifest, documents,
members, tar, frames, seal. A change is a function from the honest product of one step to another, and all that comes after is
made from what it gives back: every digest, size, header and seal fits, so that a file is wrong in that one place.

Frames hold raw or repeated bytes (RFC 8878), so that they are the same everywhere; only large content goes through the zstd
command. Signatures are made here (RFC 8032), slowly and without care for side channels: the keys are public anyway.
"""
import base64
import functools
import hashlib
import json
import struct
import subprocess

MIB = 1 << 20
MEDIA = "application/vnd.oursynth.capsule"
MANIFEST_TYPE, LIST_TYPE = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
INTOTO, SIGNATURE = "application/vnd.in-toto+json", "urn:oursynth:attestation:signature:v1"
MTIME = 315532800


class Zeros(int):
    """So many zero bytes, that are never held. What is too large to hold is a list of bytes and Zeros."""


def parts_of(data):
    return data if isinstance(data, list) else [data]


def length_of(data):
    return sum(part if isinstance(part, Zeros) else len(part) for part in parts_of(data))


def sha(data):
    hasher = hashlib.sha256()
    for part in parts_of(data):
        if isinstance(part, Zeros):
            for _ in range(part // MIB):
                hasher.update(bytes(MIB))
            part = bytes(part % MIB)
        hasher.update(part)
    return hasher.hexdigest()


def utf8(text):
    """What is not UTF-8 is written as lone surrogates here and comes out as the bytes that they stand for."""
    return text.encode("utf-8", "surrogateescape")


def canonical(value):
    """RFC 8785 for names within the Basic Multilingual Plane, which are all that is written here."""
    return utf8(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


# Trees

def file(path, data, mode=420, **other):
    return {"type": "f", "path": path, "mode": mode, "data": data, **other}


def folder(path, mode=493):
    return {"type": "d", "path": path, "mode": mode}


def link(path, target, mode=511):
    return {"type": "l", "path": path, "mode": mode, "target": target}


def noise(size):
    """Bytes without a pattern, the same each time."""
    return b"".join(hashlib.sha256(struct.pack("<I", i)).digest() for i in range(-(-size // 32)))[:size]


NOISE = noise(90000)
TREE = [file("a.txt", b"hello\n"), folder("bin"), file("bin/run", b"#!/bin/sh\n", 493), file("data.bin", NOISE), folder("empty"),
        file("größe.txt", "groß\n".encode()), link("link", "bin/run"), file("nothing", b""), file("page.html", b"<p>hello</p>\n")]
MANIFEST = {"app": {"framework": "static"}, "id": "urn:oursynth:app:sample@1.0.0", "name": "Sample", "run": {"static": True}, "version": "1.0.0"}


def in_order(entries):
    return sorted(entries, key=lambda entry: utf8(entry["path"]).split(b"/"))


def entry_of(entry):
    """An entry of the index. `sha256` and `size` in a tree stand in for those of the content."""
    shown = {key: value for key, value in entry.items() if key != "data"}
    if entry["type"] == "f":
        shown = {"sha256": sha(entry["data"]), "size": len(entry["data"]), **shown}
    return shown


GEAR = [int.from_bytes(hashlib.sha256(b"oursynth-gear-v1" + struct.pack("<I", i // 4)).digest()[8 * (i % 4):][:8], "little") for i in range(256)]


@functools.lru_cache(None)
def cuts(data):
    """The pieces that FastCDC makes of a file."""
    pieces, start = [], 0
    while start < len(data):
        length, at, hash = min(len(data) - start, 131072), 8192, 0
        while at < length:
            hash = (2 * hash + GEAR[data[start + at]]) % (1 << 64)
            if hash & (0x7FFF800000000000 if at < 32768 else 0x7FFE000000000000) == 0:
                length = at
            at += 1
        pieces.append(data[start:start + length])
        start += length
    return tuple(pieces)


def chunk_list(pieces):
    listed = b"".join(hashlib.sha256(piece).digest() + struct.pack("<I", len(piece)) for piece in pieces)
    return b"OSCK\1\0\0\0" + struct.pack("<Q", len(pieces)) + listed


# Tars

def header(name, size=0, mode=0o644, kind=b"0", target=b"", mtime=MTIME, owner=(0, 0), names=(b"", b""), magic=b"ustar\x0000", digits=None):
    block = b"".join([name.ljust(100, b"\0"), b"%07o\0" % mode, b"%07o\0" % owner[0], b"%07o\0" % owner[1], digits or b"%011o\0" % size,
                      b"%011o\0" % mtime, b" " * 8, kind, target.ljust(100, b"\0"), magic, names[0].ljust(32, b"\0"),
                      names[1].ljust(32, b"\0"), b"0000000\0", b"0000000\0", bytes(167)])
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def resealed(block):
    """A header with its checksum made anew."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def pax(records):
    data = b""
    for key, value in records:
        rest = b" %s=%s\n" % (key, value)
        length = next(n for n in range(len(rest), len(rest) + 20) if n == len(rest) + len(b"%d" % n))
        data += b"%d" % length + rest
    return header(b"PaxHeaders/0", len(data), kind=b"x") + data + bytes(-len(data) % 512)


def tar_entry(name, size, mode=0o644, kind=b"0", target=b"", **other):
    """An entry's headers: with a pax header where ustar cannot say it."""
    def beyond(value):
        return len(value) > 100 or any(byte > 127 for byte in value)

    def cut_down(value):
        return bytes(byte if byte < 128 else ord("_") for byte in value[:100])

    records = [(key, value) for key, value, needed in ((b"path", name, beyond(name)), (b"linkpath", target, beyond(target)),
                                                       (b"size", b"%d" % size, size >= 8 << 30)) if needed]
    return (pax(records) if records else b"") + header(cut_down(name), size if size < 8 << 30 else 0, mode, kind, cut_down(target), **other)


def padded(data):
    return data + bytes(-len(data) % 512)


def files_tar(entries, end=bytes(1024), **other):
    kinds, blocks = {"f": b"0", "d": b"5", "l": b"2"}, []
    for entry in entries:
        name, data = utf8(entry["path"]) + (b"/" if entry["type"] == "d" else b""), entry.get("data", b"")
        blocks += [tar_entry(name, len(data), entry["mode"], kinds[entry["type"]], utf8(entry.get("target", "")), **other), padded(data)]
    return b"".join(blocks) + end


# Documents beside the capsule

P, ORDER = 2 ** 255 - 19, 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BASE = (15112221349535400772501151409588531511454012693041857206046113283949847762202,
        46316835694926478169428394003475163141307993866256225615783033603165251855960)


def added(one, other):
    (x, y, z), (u, v, w) = one, other
    a, c, d = z * w % P, x * u % P, y * v % P
    b, e = a * a % P, D * c * d % P
    f, g = b - e, b + e
    return (a * f * ((x + y) * (u + v) - c - d) % P, a * g * (d + c) % P, f * g % P)


def times(scalar):
    """The base point, so many times, as its 32 bytes."""
    total, point = (0, 1, 1), (*BASE, 1)
    while scalar:
        if scalar & 1:
            total = added(total, point)
        point, scalar = added(point, point), scalar >> 1
    inverse = pow(total[2], P - 2, P)
    x, y = total[0] * inverse % P, total[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


@functools.lru_cache(None)
def key(seed):
    """(secret scalar, prefix, public key) of a seed of 32 equal bytes."""
    hashed = hashlib.sha512(bytes([seed]) * 32).digest()
    scalar = int.from_bytes(hashed[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, hashed[32:], times(scalar)


def sign(seed, message):
    scalar, prefix, public = key(seed)
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % ORDER
    point = times(nonce)
    challenge = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little")
    return point + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def key_id(public):
    return sha(canonical({"keytype": "ed25519", "keyval": {"public": public.hex()}, "scheme": "ed25519"}))


def signed_bytes(payload, kind=INTOTO):
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def envelope(payload, seeds=(1,), kind=INTOTO):
    signatures = [{"keyid": key_id(key(seed)[2]), "sig": base64.b64encode(sign(seed, signed_bytes(payload, kind))).decode()} for seed in seeds]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures}


def statement(digest, predicate=None, kind=SIGNATURE, **other):
    return {"_type": "https://in-toto.io/Statement/v1", "predicate": {"author": key(1)[2].hex()} if predicate is None else predicate,
            "predicateType": kind, "subject": [{"digest": {"sha256": digest}}], **other}


def signature(digest):
    """The one document beside an honest capsule: its author's signature."""
    return [canonical(envelope(canonical(statement(digest))))]


# Frames and seal (RFC 8878, and the seekable format)

def frame(data, blocks=None, descriptor=0xA0, window=b"", size=None, end=b""):
    """A frame of raw blocks. 0xA0: one segment, the content size in four bytes."""
    if blocks is None:
        pieces = [data[at:at + 131072] for at in range(0, len(data), 131072)] or [b""]
        blocks = b"".join(struct.pack("<I", len(piece) << 3 | (at == len(pieces) - 1))[:3] + piece for at, piece in enumerate(pieces))
    size = struct.pack("<I", len(data)) if size is None else size
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + window + size + blocks + end


def repeated(byte, size, announced=None):
    """A frame of one byte, over and over: four bytes for each 128 KiB."""
    lengths = [131072] * (size // 131072) + ([size % 131072] if size % 131072 else [])
    blocks = b"".join(struct.pack("<I", length << 3 | 2 | (at == len(lengths) - 1))[:3] + byte for at, length in enumerate(lengths))
    return frame(b"", blocks, size=struct.pack("<I", size if announced is None else announced))


@functools.lru_cache(64)
def compressed(data):
    return subprocess.run(["zstd", "-4", "-cq", "--no-check", f"--stream-size={len(data)}"], input=data, stdout=subprocess.PIPE, check=True).stdout


def framed(parts, limit=MIB):
    """Frames of `limit` bytes of what the parts make together, the last with the rest: (frame, size, how many of them)."""
    frames, buffer = [], bytearray()

    def flush(final):
        at = 0
        while len(buffer) - at >= (1 if final else limit):
            piece = bytes(buffer[at:at + limit])
            alike = piece.count(piece[:1]) == len(piece)
            frames.append((repeated(piece[:1], len(piece)) if alike else compressed(piece) if len(piece) == MIB else frame(piece), len(piece), 1))
            at += len(piece)
        del buffer[:at]

    for part in parts:
        if isinstance(part, Zeros):
            fill = min(part, -len(buffer) % limit)
            buffer.extend(bytes(fill))
            flush(False)
            whole = (part - fill) // limit
            if whole:
                frames.append((repeated(b"\0", limit), limit, whole))
            part = bytes((part - fill) % limit)
        buffer.extend(part)
        flush(False)
    flush(True)
    return frames


def digest_frame(before):
    return struct.pack("<II", 0x184D2A50, 32) + hashlib.sha256(before).digest()


def seek_table(table, count=None, descriptor=0, magic=0x8F92EAB1):
    rest = table + struct.pack("<IBI", len(table) // 8 if count is None else count, descriptor, magic)
    return struct.pack("<II", 0x184D2A5E, len(rest)) + rest


def sealed(frames, table=lambda table: table, digest=digest_frame, seek=seek_table):
    data = b"".join(frame * times for frame, _, times in frames)
    entries = b"".join(struct.pack("<II", len(frame), size) * times for frame, size, times in frames)
    last = digest(data)
    entries += struct.pack("<II", len(last), 0) if last else b""
    return data + last + seek(table(entries))


# The whole way

def descriptor(kind, data, digest=None, **other):
    return {"digest": "sha256:" + (digest or sha(data)), "mediaType": kind, "size": length_of(data), **other}


def members_of(manifest=MANIFEST, tree=TREE, documents=signature, files_descriptor=None, **change):
    """(name, parts) of the members of the tar, in order."""
    def step(name, product):
        return change[name](product) if name in change else product

    entries = step("entries", in_order(tree))
    index = step("index", canonical({"entries": step("shown", [entry_of(entry) for entry in entries])}))
    pieces = [piece for entry in entries for piece in cuts(entry.get("data", b""))]
    chunks = step("chunks", chunk_list(step("pieces", pieces)))
    files = step("files", files_tar(entries))
    shas = sha(index), sha(chunks)
    root = step("root", canonical(step("fields", {"capsule": manifest, "chunks": "sha256:" + shas[1], "index": "sha256:" + shas[0]})))
    last = files_descriptor or descriptor("application/vnd.oci.image.layer.v1.tar", files)  # given where it is too large to hash
    own = step("oci", {"artifactType": MEDIA + ".v1", "config": descriptor(MEDIA + ".v1+json", root),
                       "layers": [descriptor(MEDIA + ".index.v1+json", index, shas[0]), descriptor(MEDIA + ".chunks.v1", chunks, shas[1]), last],
                       "mediaType": MANIFEST_TYPE, "schemaVersion": 2})
    data = step("manifest_bytes", canonical(own))
    shown = descriptor(MANIFEST_TYPE, data, artifactType=MEDIA + ".v1")
    listed = step("listed", {"manifests": [shown], "mediaType": LIST_TYPE, "schemaVersion": 2})
    named = [("oci-layout", [step("version", b'{"imageLayoutVersion":"1.0.0"}')]), ("index.json", [step("listed_bytes", canonical(listed))])]
    blobs = [("blobs/sha256/" + digest, parts_of(blob)) for digest, blob in (
        (sha(data), data), (sha(root), root), (shas[0], index), (shas[1], chunks), (last["digest"][7:], files))]
    referrers = []
    for document in documents(sha(root)):
        kind = json.loads(document).get("payloadType", INTOTO) if document[:1] == b"{" else INTOTO
        referrer = canonical(step("referrer", {
            "artifactType": kind, "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [descriptor("application/vnd.dsse.envelope.v1+json", document)], "mediaType": MANIFEST_TYPE, "schemaVersion": 2,
            "subject": descriptor(MANIFEST_TYPE, data)}))
        referrers.append((referrer, document, kind))
    referrers.sort(key=lambda referrer: sha(referrer[0]))
    for referrer, document, _ in step("referrers", referrers):
        blobs += [("blobs/sha256/" + sha(blob), parts_of(blob)) for blob in (referrer, step("empty", b"{}"), document)]
    named += list(dict((name, (name, parts)) for name, parts in blobs).values())
    descriptors = step("descriptors", [descriptor(MANIFEST_TYPE, referrer, artifactType=kind) for referrer, _, kind in referrers])
    if descriptors or "descriptors" in change:
        data_list = step("list_bytes", canonical({"manifests": descriptors, "mediaType": LIST_TYPE, "schemaVersion": 2}))
        named.append((f"referrers/sha256-{sha(data)}.json", [data_list]))
    return step("members", named)


def tar_parts(members, header_of=tar_entry, end=bytes(1024)):
    parts = []
    for name, content in members:
        size = length_of(content)
        parts += [header_of(name.encode(), size), *content, bytes(-size % 512)]
    return parts + [end]


def caps(header_of=tar_entry, end=bytes(1024), tar=lambda parts: parts, frames=lambda frames: frames, seal=sealed, limit=MIB, **change):
    """A `.caps` file. `header_of`, `end`, `tar`, `frames` and `seal` are the steps after the members."""
    return seal(frames(framed(tar(tar_parts(members_of(**change), header_of, end)), limit)))
