"""Broken frames, seals, tars and layouts (docs/formats/oci-and-caps.md). Each case: name, codes, why, what makes it."""
import functools
import json
import os
import struct

from capswriter import (
    MIB, TREE, Zeros, canonical, caps, digest_frame, file, frame, header, members_of, noise, pax, repeated, resealed, sealed,
    seek_table, sha, tar_entry, tar_parts, utf8)

LAYOUTS = ("layout", "layout-tar", "honest-layout")


@functools.lru_cache(None)
def honest():
    return caps()


@functools.lru_cache(None)
def content():
    """The tar of an honest file."""
    return b"".join(tar_parts(members_of()))


def one_frame(data, size=None):
    return sealed([(data, len(content()) if size is None else size, 1)])


def flipped(data, at):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def entries(change):
    """The seek table with a change to its entries."""
    def table(data):
        return b"".join(struct.pack("<II", *entry) for entry in change(list(struct.iter_unpack("<II", data))))
    return lambda: caps(limit=65536, seal=lambda frames: sealed(frames, table=table))


def table_with(**other):
    return lambda: caps(seal=lambda frames: sealed(frames, seek=lambda data: seek_table(data, **other)))


def inserted(frame_and_size):
    return lambda: caps(limit=65536, frames=lambda frames: frames[:1] + [frame_and_size] + frames[1:])


def moved_byte(table):
    (a, x), (b, y), *rest = table
    return [(a + 1, x), (b - 1, y), *rest]


def garbage():
    data = noise(50000)
    return one_frame(frame(b"", struct.pack("<I", len(data) << 3 | 4 | 1)[:3] + data, size=struct.pack("<I", len(content()))))


def one_block(frames):
    (data, size, _), = frames
    whole = b"".join(data[at + 3:at + 3 + 131072] for at in range(9, len(data), 131072 + 3))
    assert len(whole) == size > 131072
    return [(frame(b"", struct.pack("<I", size << 3 | 1)[:3] + whole, size=struct.pack("<I", size)), size, 1)]


def announced(more):
    """The first two frames say other sizes than they have, of the same sum."""
    def other(found, size):
        return found[:5] + struct.pack("<I", size) + found[9:], size, 1

    def change(frames):
        (one, first, _), (two, second, _), *rest = frames
        return [other(one, first + more), other(two, second - more), *rest]
    return change


CONTAINER = [
    ("container-empty", "caps_damaged", "The file has no byte.", lambda: b""),
    ("container-text", "caps_damaged", "The file is text, not zstd.", lambda: b"This is not a capsule.\n" * 100),
    ("container-magic", "caps_damaged", "The first frame has another magic number, and the seal fits.",
     lambda: one_frame(b"\x27" + frame(content())[1:])),
    ("container-cut-in-frame", "caps_damaged", "The file ends inside its data.", lambda: honest()[:5000]),
    ("container-cut-half", "caps_damaged", "The second half is missing.", lambda: honest()[:len(honest()) // 2]),
    ("container-cut-first-byte", "caps_damaged", "The first byte is missing.", lambda: honest()[1:]),
    ("container-cut-in-digest", "caps_damaged", "The file ends inside the digest frame.", lambda: honest()[:-53]),
    ("container-cut-before-table", "caps_damaged", "The seek table is missing.", lambda: honest()[:-33]),
    ("container-cut-in-table", "caps_damaged", "The file ends inside the seek table.", lambda: honest()[:-12]),
    ("container-cut-last-byte", "caps_damaged", "The last byte is missing.", lambda: honest()[:-1]),
    ("container-digest-flipped", "caps_damaged", "A bit of the digest frame is flipped.", lambda: flipped(honest(), -40)),
    ("container-byte-flipped", "caps_damaged", "A bit of the data is flipped.", lambda: flipped(honest(), 30000)),
    ("container-table-flipped", "caps_damaged", "A bit of the seek table is flipped.", lambda: flipped(honest(), -20)),
    ("container-table-count-more", "caps_damaged", "The seek table counts one frame more than it lists.", table_with(count=3)),
    ("container-table-count-less", "caps_damaged", "The seek table counts one frame less than it lists.", table_with(count=1)),
    ("container-table-count-none", "caps_damaged", "The seek table counts no frame.", table_with(count=0)),
    ("container-table-count-huge", "caps_damaged", "The count times eight is 16, the true length, in 32 bits.",
     table_with(count=(1 << 29) + 2)),
    ("container-table-descriptor", "caps_damaged", "The seek table announces checksums, which it does not have.",
     table_with(descriptor=0x80)),
    ("container-table-reserved", "caps_damaged", "A reserved bit of the seek table is set.", table_with(descriptor=4)),
    ("container-table-magic", "caps_damaged", "The seek table ends in another magic number.", table_with(magic=0x8F92EAB2)),
    ("container-table-frame-size", "caps_damaged", "The seek table moves a byte from one frame to the next.", entries(moved_byte)),
    ("container-table-content-size", "caps_damaged", "The seek table has another content size for the first frame.",
     entries(lambda table: [(table[0][0], table[0][1] - 1), *table[1:]])),
    ("container-table-content-zero", "caps_damaged", "The seek table says that the first frame is empty.",
     entries(lambda table: [(table[0][0], 0), *table[1:]])),
    ("container-table-entry-missing", "caps_damaged", "The seek table leaves out the second frame.",
     entries(lambda table: table[:1] + table[2:])),
    ("container-table-digest-content", "caps_damaged", "The seek table gives the digest frame content.",
     entries(lambda table: [*table[:-1], (40, 32)])),
    ("container-bytes-after", "caps_damaged", "A byte follows the seek table.", lambda: honest() + b"\n"),
    ("container-bytes-before", "caps_damaged", "A byte comes before the first frame.", lambda: b"\n" + honest()),
    ("container-twice", "caps_damaged", "Two whole files, one after the other.", lambda: honest() + honest()),
    ("container-no-seal", "caps_damaged", "A frame without digest frame and seek table.", lambda: frame(content())),
    ("container-no-digest", "caps_damaged", "There is no digest frame; the seek table fits.",
     lambda: caps(seal=lambda frames: sealed(frames, digest=lambda data: b""))),
    ("container-digest-magic", "caps_damaged", "The digest is in another kind of skippable frame.",
     lambda: caps(seal=lambda frames: sealed(frames, digest=lambda data: b"\x51" + digest_frame(data)[1:]))),
    ("container-digest-long", "caps_damaged", "The digest frame has a byte more.", lambda: caps(
        seal=lambda frames: sealed(frames, digest=lambda data: struct.pack("<II", 0x184D2A50, 33) + digest_frame(data)[8:] + b"\0"))),
    ("container-no-data", "caps_damaged", "There is no data frame.", lambda: sealed([])),
    ("frame-no-content-size", "caps_damaged", "A frame does not say its content size.",
     lambda: one_frame(frame(content(), descriptor=0, window=b"\x38", size=b""))),
    ("frame-dictionary", "caps_damaged", "A frame asks for a dictionary.",
     lambda: one_frame(frame(content(), descriptor=0xA1, window=b"\x07"))),
    ("frame-reserved-bit", "caps_damaged", "The reserved bit of a frame's header is set.",
     lambda: one_frame(frame(content(), descriptor=0xA8))),
    ("frame-above-1-mib", "caps_damaged", "A frame has more than 1 MiB of content.",
     lambda: caps(tree=[*TREE, file("large.bin", noise(1200000))], limit=2 * MIB)),
    ("frame-above-bytes", "caps_damaged", "A frame has more than 1,114,112 bytes, most of them empty blocks.",
     lambda: one_frame(frame(b"", bytes(3 * 350000) + frame(content())[9:], size=struct.pack("<I", len(content()))))),
    ("frame-empty", "caps_damaged", "A frame without content in the middle.", inserted((frame(b""), 0, 1))),
    ("frame-skippable", "caps_damaged", "A skippable frame in the middle.", inserted((struct.pack("<II", 0x184D2A51, 4) + b"note", 0, 1))),
    ("frame-skippable-4-gib", "caps_damaged", "A skippable frame that says it has 4 GiB.",
     inserted((struct.pack("<II", 0x184D2A51, 0xFFFFFFFF) + b"note", 0, 1))),
    ("frame-checksum", "caps_damaged", "A frame's own checksum is wrong.",
     lambda: one_frame(frame(content(), descriptor=0xA4, end=bytes(4)))),
    ("frame-block-reserved", "caps_damaged", "A block of the reserved kind.",
     lambda: one_frame(frame(b"", b"\x07\0\0", size=struct.pack("<I", len(content()))))),
    ("frame-block-too-large", "caps_damaged", "A block above 128 KiB.",
     lambda: caps(tree=[*TREE, file("large.bin", noise(90000))], frames=one_block)),
    ("frame-block-no-last", "caps_damaged", "No block is the last.",
     lambda: one_frame(frame(b"", frame(b"")[9:].replace(b"\1", b"\0"), size=struct.pack("<I", len(content()))))),
    ("frame-garbage", "caps_damaged", "A compressed block that is noise, and the seal fits.", garbage),
    ("frame-more-announced", "caps_damaged", "A frame announces a byte more than it holds and the next one a byte less, as the seek table does.",
     lambda: caps(limit=65536, frames=announced(1))),
    ("frame-less-announced", "caps_damaged", "A frame announces a byte less than it holds and the next one a byte more, as the seek table does.",
     lambda: caps(limit=65536, frames=announced(-1))),
    ("frame-4-gib", "caps_damaged", "A frame announces 4 GiB and holds them: 131 KB of zeros.",
     lambda: caps(frames=lambda frames: [*frames, (repeated(b"\0", 0xFFFFFFFF), 0xFFFFFFFF, 1)])),
    ("frame-4-exbibytes", "caps_damaged", "A frame announces 2^62 bytes.",
     lambda: one_frame(frame(content(), descriptor=0xE0, size=struct.pack("<Q", 1 << 62)))),
]


# Tars

def with_header(member, change):
    """The header of one member changed; `change` gets the header, and the member's name and size."""
    def header_of(name, size):
        return change(tar_entry(name, size), name, size) if name.startswith(member) else tar_entry(name, size)
    return lambda: caps(header_of=header_of)


def with_member(name, parts, at=None, head=None):
    """A member more. `head` makes its header."""
    def header_of(found, size):
        return head(found) if head and found == utf8(name) else tar_entry(found, size)
    return lambda: caps(header_of=header_of, members=lambda found: [*found[:at], (name, parts), *(found[at:] if at else [])])


def instead(place, kind, target=b"", parts=()):
    """A member of another kind where a blob belongs."""
    def make():
        name = utf8(members_of()[place][0])
        return caps(header_of=lambda found, size: header(found, 0, kind=kind, target=target) if found == name else tar_entry(found, size),
                    members=lambda found: [*found[:place], (found[place][0], list(parts)), *found[place + 1:]])
    return make


def swapped(one, other):
    def change(members):
        members = list(members)
        members[one], members[other] = members[other], members[one]
        return members
    return lambda: caps(members=change)


def other_padding(parts):
    return [parts[0], parts[1], b"x" * len(parts[2]), *parts[3:]]


def split_name(block, name, size):
    first, _, rest = name.partition(b"/")
    return resealed(rest.ljust(100, b"\0") + block[100:345] + first.ljust(155, b"\0") + block[500:])


OTHER = canonical({"config": {"digest": "sha256:" + sha(b"x"), "mediaType": "application/vnd.oci.image.config.v1+json", "size": 1}, "layers": [],
                   "mediaType": "application/vnd.oci.image.manifest.v1+json", "schemaVersion": 2})
EXTRA = sha(OTHER)
TAR = [
    ("tar-not-a-tar", "tar_invalid", "The frames hold text and are sealed.", lambda: one_frame(frame(b"This is no tar.\n" * 500), 8000)),
    ("tar-checksum", "tar_invalid", "A header has another checksum.",
     with_header(b"index.json", lambda block, name, size: block[:148] + b"000001\0 " + block[156:])),
    ("tar-mode", "tar_invalid", "A member has the mode 0755.", with_header(b"index.json", lambda _, name, size: header(name, size, 0o755))),
    ("tar-mtime", "tar_invalid", "A member has another time.",
     with_header(b"index.json", lambda _, name, size: header(name, size, mtime=1))),
    ("tar-owner", "tar_invalid", "A member has an owner.",
     with_header(b"index.json", lambda _, name, size: header(name, size, owner=(1000, 0)))),
    ("tar-owner-name", "tar_invalid", "A member has an owner's name.",
     with_header(b"index.json", lambda _, name, size: header(name, size, names=(b"root", b"root")))),
    ("tar-magic-gnu", "tar_invalid", "A header of GNU's kind.",
     with_header(b"index.json", lambda _, name, size: header(name, size, magic=b"ustar  \0"))),
    ("tar-kind-nul", "tar_invalid member_refused", "A plain file in the old spelling, a zero byte.",
     with_header(b"index.json", lambda _, name, size: header(name, size, kind=b"\0"))),
    ("tar-size-base-256", "tar_invalid", "A size in base 256.",
     with_header(b"index.json", lambda _, name, size: header(name, digits=b"\x80\0\0\0" + struct.pack(">Q", size)))),
    ("tar-size-negative", "tar_invalid", "A size of −512 in base 256.",
     with_header(b"index.json", lambda _, name, size: header(name, digits=b"\xff\xff\xff\xff" + struct.pack(">q", -512)))),
    ("tar-size-spaces", "tar_invalid", "A size padded with spaces.",
     with_header(b"index.json", lambda _, name, size: header(name, digits=b"%11o\0" % size))),
    ("tar-size-lies", "tar_invalid layout_invalid", "The last member says that it is larger than the tar has bytes.",
     with_header(b"referrers/", lambda _, name, size: header(name, size + 4096))),
    ("tar-name-rest", "tar_invalid", "Bytes after the zero byte that ends a name.",
     with_header(b"index.json", lambda block, name, size: resealed(block[:50] + b"hidden".ljust(50, b"\0") + block[100:]))),
    ("tar-prefix", "tar_invalid member_refused", "A name divided into prefix and name.", with_header(b"blobs/", split_name)),
    ("tar-pax", "tar_invalid", "A pax header that nothing needs.",
     with_header(b"index.json", lambda block, name, size: pax([(b"path", name)]) + block)),
    ("tar-pax-global", "tar_invalid member_refused", "A global pax header.",
     with_header(b"index.json", lambda block, name, size: resealed(header(b"pax_global_header", 512, kind=b"g")) + bytes(512) + block)),
    ("tar-long-name", "tar_invalid member_refused", "A long name of GNU's kind.", with_header(
        b"index.json", lambda block, name, size: header(b"././@LongLink", 11, kind=b"L") + b"index.json".ljust(512, b"\0") + block)),
    ("tar-padding", "tar_invalid", "Padding that is not zero.", lambda: caps(tar=other_padding)),
    ("tar-no-end", "tar_invalid", "The two zero blocks at the end are missing.", lambda: caps(end=b"")),
    ("tar-one-zero-block", "tar_invalid", "One zero block ends the tar.", lambda: caps(end=bytes(512))),
    ("tar-three-zero-blocks", "tar_invalid", "Three zero blocks end the tar.", lambda: caps(end=bytes(1536))),
    ("tar-bytes-after", "tar_invalid", "A block that is not zero follows the end.", lambda: caps(end=bytes(1024) + b"x" * 512)),
    ("tar-byte-after", "tar_invalid", "One byte follows the end.", lambda: caps(end=bytes(1025))),
    ("tar-cut", "tar_invalid", "The tar ends inside a member.", lambda: caps(tar=lambda parts: [b"".join(parts)[:-2100]])),
    ("tar-cut-in-header", "tar_invalid", "The tar ends inside a header.", lambda: caps(tar=lambda parts: [b"".join(parts)[:700]])),
    ("tar-zero-blocks-only", "tar_invalid layout_invalid", "The tar has no member.", lambda: one_frame(frame(bytes(1024)), 1024)),
    ("tar-member-twice", "member_refused", "index.json stands twice.",
     lambda: caps(members=lambda found: [*found[:2], found[1], *found[2:]])),
    ("tar-blob-twice", "member_refused", "A blob stands twice.", lambda: caps(members=lambda found: [*found[:4], found[3], *found[4:]])),
    ("tar-name-climbs", "member_refused", "A member is called ../evil.", with_member("../evil", [b"x"], 2)),
    ("tar-name-climbs-inside", "member_refused", "A member is called blobs/../../evil.", with_member("blobs/../../evil", [b"x"], 2)),
    ("tar-name-absolute", "member_refused", "A member is called /evil.", with_member("/evil", [b"x"], 2)),
    ("tar-link", "member_refused tar_invalid", "A symbolic link instead of a blob.", instead(3, b"2", b"/etc/passwd")),
    ("tar-link-hard", "member_refused tar_invalid", "A hard link instead of a blob.", instead(3, b"1", b"index.json")),
    ("tar-device", "member_refused tar_invalid", "A device instead of a blob.", instead(3, b"3")),
    ("tar-pipe", "member_refused tar_invalid", "A pipe instead of a blob.", instead(3, b"6")),
    ("tar-folder", "layout_invalid member_refused tar_invalid", "A folder as a member.",
     with_member("blobs/", [], 2, lambda name: header(name, 0, 0o755, b"5"))),
    ("tar-member-unknown", "layout_invalid", "A member that no page names.", with_member("README", [b"hello"], 2)),
    ("tar-blob-unknown", "layout_invalid", "A blob that nothing refers to.", with_member("blobs/sha256/" + EXTRA, [OTHER], 7)),
    ("tar-member-last", "layout_invalid", "A member after the list of referrers.", with_member("z", [b"extra"])),
    ("tar-order", "layout_invalid", "index.json comes before oci-layout.", swapped(0, 1)),
    ("tar-order-blobs", "layout_invalid", "Chunk list before index.", swapped(4, 5)),
    ("tar-order-list", "layout_invalid", "The list of referrers comes before files.tar.", swapped(6, -1)),
    ("tar-order-config", "layout_invalid", "The empty config comes after the envelope.", swapped(-3, -2)),
]


# Layouts of other tools: folders and plain tars

def laid_out(path, members):
    path.mkdir(parents=True)
    for name, parts in members:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"".join(parts))


def changed_layout(change):
    def make(path):
        members = members_of()
        laid_out(path, members)
        change(path, [path / name for name, _ in members])
    return make


def replaced_by(place, make):
    def change(path, files):
        kept = path / "kept"
        files[place].rename(kept)
        make(files[place], kept)
    return changed_layout(change)


def linked(at, kept):
    at.symlink_to(os.path.relpath(kept, at.parent))


def loose(path, listed=lambda value: value):
    """As other tools write a layout: annotations, spaces, another manifest in the list."""
    def other(value):
        value["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        value["manifests"].append({"digest": "sha256:" + EXTRA, "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(OTHER)})
        return value
    laid_out(path, [*members_of(listed=other, listed_bytes=lambda data: data.replace(b",", b" , "), version=lambda data: data.replace(b":", b": ")),
                    ("blobs/sha256/" + EXTRA, [OTHER])])


def two_capsules(path):
    other = members_of(tree=TREE[:1])
    more = json.loads(other[1][1][0])["manifests"]
    laid_out(path, [*members_of(listed=lambda value: {**value, "manifests": value["manifests"] + more}), *other[2:]])


def plain_tar(**change):
    head, end = change.pop("header_of", tar_entry), change.pop("end", bytes(1024))
    return lambda path: path.write_bytes(b"".join(part for part in tar_parts(members_of(**change), head, end) if not isinstance(part, Zeros)))


def plain_header(member, change):
    return plain_tar(header_of=lambda name, size: change(name, size) if name.startswith(member) else tar_entry(name, size))


FOLDERS = [
    ("layout-empty", "layout_invalid", "A folder with nothing in it.", lambda path: path.mkdir()),
    ("layout-blob-link", "member_refused", "A blob is a symbolic link.", replaced_by(3, linked)),
    ("layout-blob-link-dangling", "member_refused", "A blob is a symbolic link to nothing.",
     replaced_by(3, lambda at, kept: at.symlink_to("nowhere"))),
    ("layout-index-link", "member_refused", "index.json is a symbolic link.", replaced_by(1, linked)),
    ("layout-version-link", "member_refused", "oci-layout is a symbolic link.", replaced_by(0, linked)),
    ("layout-blob-folder", "member_refused layout_invalid", "A blob is a folder.", replaced_by(3, lambda at, kept: at.mkdir())),
    ("layout-blob-pipe", "member_refused", "A blob is a pipe, which no reader may wait for.",
     replaced_by(6, lambda at, kept: os.mkfifo(at))),
    ("layout-blob-missing", "layout_invalid", "The index is missing.", changed_layout(lambda path, files: files[4].unlink())),
    ("layout-blob-changed", "layout_invalid digest_mismatch capsule_mismatch", "The index has other bytes.",
     changed_layout(lambda path, files: files[4].write_bytes(flipped(files[4].read_bytes(), 40)))),
    ("layout-files-changed", "layout_invalid digest_mismatch files_tar_mismatch chunks_invalid", "files.tar has other content.",
     changed_layout(lambda path, files: files[6].write_bytes(flipped(files[6].read_bytes(), 5000)))),
    ("layout-files-short", "layout_invalid digest_mismatch files_tar_mismatch", "files.tar ends early.",
     changed_layout(lambda path, files: files[6].write_bytes(files[6].read_bytes()[:-1024]))),
    ("layout-version", "layout_invalid", "oci-layout says version 2.",
     changed_layout(lambda path, files: files[0].write_bytes(b'{"imageLayoutVersion":"2.0.0"}'))),
    ("layout-two-capsules", "layout_invalid", "index.json lists two capsules.", two_capsules),
    ("layout-no-capsule", "layout_invalid", "index.json lists no capsule.",
     lambda path: laid_out(path, members_of(listed=lambda value: {**value, "manifests": []}))),
    ("layout-list-large", "layout_invalid json_invalid", "index.json has more than 1 MiB, most of it white space.",
     lambda path: laid_out(path, members_of(listed_bytes=lambda data: data + b" " * MIB))),
]
TARS = [
    ("layout-tar-size-base-256.tar", "tar_invalid", "A size in base 256.",
     plain_header(b"index.json", lambda name, size: header(name, digits=b"\x80\0\0\0" + struct.pack(">Q", size)))),
    ("layout-tar-pax.tar", "tar_invalid member_refused", "A pax header.",
     plain_header(b"index.json", lambda name, size: pax([(b"path", name)]) + header(name, size))),
    ("layout-tar-long-name.tar", "tar_invalid member_refused", "A long name of GNU's kind.", plain_header(
        b"index.json", lambda name, size: header(b"././@LongLink", 11, kind=b"L") + name.ljust(512, b"\0") + header(name, size))),
    ("layout-tar-link.tar", "member_refused", "A blob is a symbolic link.",
     plain_tar(header_of=lambda name, size: tar_entry(name, size) if size else header(name, 0, kind=b"2", target=b"/etc/passwd"),
               members=lambda found: [(name, [] if parts == [b"{}"] else parts) for name, parts in found])),
    ("layout-tar-climbs.tar", "member_refused", "A member is called ../evil.",
     plain_tar(members=lambda found: [("../evil", [b"x"]), *found])),
    ("layout-tar-absolute.tar", "member_refused", "A member is called /evil.",
     plain_tar(members=lambda found: [("/evil", [b"x"]), *found])),
    ("layout-tar-twice.tar", "member_refused", "index.json stands twice.", plain_tar(members=lambda found: [found[1], *found])),
    ("layout-tar-checksum.tar", "tar_invalid", "A header has another checksum.",
     plain_header(b"index.json", lambda name, size: tar_entry(name, size)[:148] + b"000001\0 " + tar_entry(name, size)[156:])),
    ("layout-tar-cut.tar", "tar_invalid", "The tar ends inside files.tar.", lambda path: path.write_bytes(content()[:60000])),
]
HONEST = [
    ("honest-layout", "", "The layout as a folder, by the form of `.caps`.", lambda path: laid_out(path, members_of())),
    ("honest-layout-loose", "", "The layout as other tools write it.", loose),
    ("honest-layout.tar", "", "The layout as a plain tar.", plain_tar()),
]
CASES = {"container": CONTAINER, "tar": TAR, "layout": FOLDERS, "layout-tar": TARS, "honest-layout": HONEST}
