"""Broken indexes, links, chunk lists and files.tar (docs/formats: tree.md, chunks.md, oci-and-caps.md, files.tar).

Each case: name, codes, why, what makes it. A tree that is wrong is wrong in index, chunk list and files.tar alike, so that
only the tree's own rule is broken; where one of the three is wrong, the other two are not.
"""
import hashlib
import struct

from capswriter import (
    MANIFEST, TREE, caps, file, files_tar, folder, header, in_order, link, pax, resealed, sha, tar_entry)

ENTRIES = in_order(TREE)
EMPTY = sha(b"")


def tree(*more, kind=None):
    """The honest tree and these entries, in order."""
    manifest = {**MANIFEST, "tree": kind} if kind else MANIFEST
    return lambda: caps(tree=[*TREE, *more], manifest=manifest)


def in_this_order(*entries):
    return lambda: caps(tree=entries, entries=lambda _: list(entries))


def chain(*parts):
    """The folders on the way to the last part, which is a file."""
    names = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return [*map(folder, names[:-1]), file(names[-1], b"x")]


def index(change):
    """Other bytes of the index. Chunk list and files.tar are those of the honest tree."""
    def changed(data):
        made = change(data)
        assert made != data
        return made
    return lambda: caps(index=changed)


def shown(place, **members):
    """An entry of the index with other members."""
    return lambda: caps(shown=lambda found: [{**entry, **members} if entry["path"] == place else entry for entry in found])


def replaced(old, new):
    return index(lambda data: data.replace(old, new, 1))


def moved_size(entries):
    """A byte more for the first file and one less for the last."""
    return [{**one, "size": one["size"] + {"a.txt": 1, "page.html": -1}[one["path"]]} if one["path"] in ("a.txt", "page.html") else one
            for one in entries]


PATHS = [
    ("path-climbs", "path_invalid", "A file is called ../evil.", tree(folder(".."), file("../evil", b"x"))),
    ("path-climbs-inside", "path_invalid", "A file is called bin/../../evil.",
     tree(folder("bin/.."), folder("bin/../.."), file("bin/../../evil", b"x"))),
    ("path-parent", "path_invalid", "A file is called `..`.", tree(file("..", b"x"))),
    ("path-dot", "path_invalid", "A file is called bin/./x.", tree(folder("bin/."), file("bin/./x", b"x"))),
    ("path-absolute", "path_invalid", "A file is called /evil.", in_this_order(file("/evil", b"x"))),
    ("path-empty", "path_invalid", "A file has the empty path.", in_this_order(file("", b"x"))),
    ("path-empty-part", "path_invalid", "A file is called bin//x.", in_this_order(folder("bin"), folder("bin/"), file("bin//x", b"x"))),
    ("path-slash-after", "path_invalid", "A file is called bin/.", in_this_order(folder("bin"), file("bin/", b"x"))),
    ("path-control-del", "path_invalid", "A name with U+007F.", tree(file("a\u007fb", b"x"))),
    ("path-control-c1", "path_invalid", "A name with U+0085.", tree(file("a\u0085b", b"x"))),
    ("path-control-c0", "index_invalid path_invalid", "A name with a line feed.", tree(file("a\nb", b"x"))),
    ("path-control-nul", "index_invalid path_invalid", "A name with a zero byte.", tree(file("a\0b", b"x"))),
    ("path-utf-8", "index_invalid json_invalid path_invalid", "A name that is not UTF-8.", tree(file("a\udcff\udcfe", b"x"))),
    ("path-utf-8-overlong", "index_invalid json_invalid path_invalid", "A name with a slash in two bytes.",
     tree(file("a\udcc0\udcaf", b"x"))),
    ("path-utf-8-surrogate", "index_invalid json_invalid path_invalid", "A name with a surrogate in three bytes.",
     tree(file("a\udced\udca0\udc80", b"x"))),
    ("path-part-256", "path_invalid", "A part of 256 bytes.", tree(file("x" * 256, b"x"))),
    ("path-4096", "path_invalid", "A path of 4,096 bytes.", tree(*chain(*["x" * 240] * 17))),
    ("path-129-parts", "path_invalid", "A path of 129 parts.", tree(*chain(*["x"] * 129))),
    ("path-4000-parts", "path_invalid", "Folders 4,000 deep.", tree(*chain(*["x"] * 4000))),
]
INDEX = [
    ("index-order", "index_invalid", "Two files have changed places.", in_this_order(file("b", b"x"), file("a", b"y"))),
    ("index-order-bytes", "index_invalid", "a! comes before a/b, as their bytes would have it.",
     in_this_order(folder("a"), file("a!", b"x"), file("a/b", b"y"))),
    ("index-twice", "index_invalid", "A path stands twice.", in_this_order(file("a", b"x"), file("a", b"x"))),
    ("index-twice-kinds", "index_invalid", "A path is a link and a file.", in_this_order(link("a", "b"), file("a", b"x"))),
    ("index-folder-missing", "index_invalid", "A file's folder has no entry.", in_this_order(file("d/x", b"x"))),
    ("index-folder-missing-above", "index_invalid", "A folder's folder has no entry.", in_this_order(folder("d"), file("d/e/x", b"x"))),
    ("index-folder-file", "index_invalid", "A file lies in a file.", in_this_order(file("a", b"x"), file("a/b", b"y"))),
    ("index-folder-link", "index_invalid", "A file lies in a link to a folder.",
     in_this_order(folder("d"), link("l", "d"), file("l/x", b"x"))),
    ("index-folder-after", "index_invalid", "A folder comes after what is in it.", in_this_order(file("d/x", b"x"), folder("d"))),
    ("index-capsule-json", "index_invalid", "capsule.json is in the index.", tree(file("capsule.json", b"{}"))),
    ("index-mode-0777", "index_invalid", "A file has the mode 0777.", tree(file("z", b"x", 0o777))),
    ("index-mode-setuid", "index_invalid", "A file has the mode 04755.", tree(file("z", b"x", 0o4755))),
    ("index-mode-private", "index_invalid", "A file has the mode 0600.", tree(file("z", b"x", 0o600))),
    ("index-mode-folder", "index_invalid", "A folder has the mode 01777.", tree(folder("z", 0o1777))),
    ("index-mode-link", "index_invalid", "A link has the mode 0755.", tree(link("z", "a.txt", 0o755))),
    ("index-mode-negative", "index_invalid json_invalid", "A mode is negative.", replaced(b'"mode":420', b'"mode":-420')),
    ("index-size-negative", "index_invalid json_invalid", "A size is negative.", shown("a.txt", size=-6)),
    ("index-size-fraction", "index_invalid json_invalid", "A size is 6.0.", replaced(b'"size":6', b'"size":6.0')),
    ("index-size-zero-first", "index_invalid json_invalid", "A size is 06.", replaced(b'"size":6', b'"size":06')),
    ("index-size-text", "index_invalid", "A size is a string.", shown("a.txt", size="6")),
    ("index-size-2-40", "index_invalid", "A size is 2^40 + 1.", shown("a.txt", size=(1 << 40) + 1)),
    ("index-size-2-60", "index_invalid json_invalid", "A size is 2^60.", shown("a.txt", size=1 << 60)),
    ("index-size-2-64", "index_invalid json_invalid", "A size is 2^64 + 6, which is 6 in 64 bits.", shown("a.txt", size=(1 << 64) + 6)),
    ("index-size-digits", "index_invalid json_invalid", "A size has 100,000 digits.", replaced(b'"size":6', b'"size":' + b"6" * 100000)),
    ("index-size-lies", "tree_mismatch", "A size is one more than the file has.", shown("a.txt", size=7)),
    ("index-size-lies-less", "tree_mismatch", "A size is one less than the file has.", shown("a.txt", size=5)),
    ("index-size-lies-twice", "tree_mismatch", "Two sizes are wrong; their sum is right.", lambda: caps(shown=moved_size)),
    ("index-size-zero", "index_invalid", "A size of 0 with the digest of a content.", shown("a.txt", size=0)),
    ("index-digest-empty", "index_invalid", "A size of 6 with the digest of nothing.", shown("a.txt", sha256=EMPTY)),
    ("index-digest-other", "file_mismatch files_tar_mismatch", "A file has other bytes than its digest says.",
     shown("a.txt", sha256="0" * 64)),
    ("index-digest-upper", "index_invalid", "A digest in upper case.",
     replaced(sha(b"hello\n").encode(), sha(b"hello\n").upper().encode())),
    ("index-digest-short", "index_invalid", "A digest of 63 digits.", replaced(sha(b"hello\n").encode(), sha(b"hello\n")[:63].encode())),
    ("index-digest-prefix", "index_invalid", "A digest with sha256: before it.",
     replaced(sha(b"hello\n").encode(), b"sha256:" + sha(b"hello\n").encode())),
    ("index-member-more", "index_invalid", "An entry has a member more.", shown("a.txt", uid=0)),
    ("index-member-missing", "index_invalid", "An entry has no mode.", replaced(b'"mode":420,', b"")),
    ("index-member-target", "index_invalid", "A folder has a target.", shown("bin", target="x")),
    ("index-kind", "index_invalid", "An entry of an unknown kind.", replaced(b'"type":"d"', b'"type":"b"')),
    ("index-member-order", "index_invalid", "The members of an entry are in another order.",
     replaced(b'"mode":420,"path":"a.txt"', b'"path":"a.txt","mode":420')),
    ("index-member-twice", "index_invalid json_invalid", "A member stands twice.", replaced(b'"mode":420,', b'"mode":420,"mode":420,')),
    ("index-spaces", "index_invalid", "The index has white space.", replaced(b",", b", ")),
    ("index-line-feed", "index_invalid", "The index ends in a line feed.", index(lambda data: data + b"\n")),
    ("index-escape", "index_invalid", "A letter is escaped.", index(lambda data: data.replace("ö".encode(), b"\\u00f6"))),
    ("index-escape-slash", "index_invalid", "A slash is escaped.", replaced(b"bin/run", b"bin\\/run")),
    ("index-top-member", "index_invalid", "The index has a member more.", index(lambda data: data[:-1] + b',"x":1}')),
    ("index-top-array", "index_invalid", "The index is an array.", index(lambda data: data[11:-1])),
    ("index-empty", "index_invalid", "The index has no byte.", index(lambda data: b"")),
    ("index-cut", "index_invalid", "The index ends in the middle.", index(lambda data: data[:len(data) // 2])),
    ("index-comma", "index_invalid", "A comma after the last entry.", index(lambda data: data[:-2] + b",]}")),
    ("index-rest", "index_invalid", "A second document follows.", index(lambda data: data + data)),
    ("index-brackets", "index_invalid json_invalid", "A million opening brackets.", index(lambda data: b'{"entries":' + b"[" * 1000000)),
    ("index-objects", "index_invalid json_invalid", "300,000 nested objects.", index(lambda data: b'{"entries":[' + b'{"a":' * 300000)),
    ("index-string", "index_invalid path_invalid", "A path of 8 MB.", lambda: caps(
        index=lambda data: b'{"entries":[{"mode":493,"path":"' + b"x" * 8000000 + b'","type":"d"}]}')),
]
LINKS = [
    ("link-absolute", "link_escapes", "A link to /etc/passwd.", tree(link("z", "/etc/passwd"))),
    ("link-climbs", "link_escapes", "A link to ../outside.", tree(link("z", "../outside"))),
    ("link-climbs-deep", "link_escapes", "A link from a folder, to ../../outside.", tree(link("bin/z", "../../outside"))),
    ("link-climbs-between", "link_escapes", "A link that goes down and further up: bin/../../x/y/z.", tree(link("z", "bin/../../x/y/z"))),
    ("link-climbs-empty-parts", "link_escapes", "Empty parts and dots do not count: .//./../x.", tree(link("z", ".//./../x"))),
    ("link-chain", "link_escapes", "bin/z is `..`, and y goes through it: bin/z/../x.", tree(link("bin/z", ".."), link("y", "bin/z/../x"))),
    ("link-chain-long", "link_escapes", "Thirty links, of which the last leads to the top and the first goes above it.",
     tree(folder("d"), link("d/30", ".."), *[link(f"d/{i}", f"{i + 1}") for i in range(10, 30)], link("d/y", "10/../../x"))),
    ("link-climbs-itself", "link_escapes", "A link that goes up through itself: z/../../x.", tree(link("z", "z/../../x"))),
    ("link-empty", "path_invalid", "A link with an empty target.", tree(link("z", ""))),
    ("link-control", "path_invalid index_invalid", "A target with a line feed.", tree(link("z", "a\nb"))),
    ("link-control-c1", "path_invalid", "A target with U+0085.", tree(link("z", "a\u0085b"))),
    ("link-utf-8", "path_invalid index_invalid json_invalid", "A target that is not UTF-8.", tree(link("z", "a\udcff"))),
    ("link-4096", "path_invalid", "A target of 4,096 bytes.", tree(link("z", "x/" * 2048))),
    ("link-control-rootfs", "path_invalid", "A target with U+0085 in a rootfs.", tree(link("z", "a\u0085b"), kind="rootfs")),
]


# Chunks

def chunks(change):
    return lambda: caps(chunks=change)


def pieces(change):
    return lambda: caps(pieces=change)


def entry(at, change):
    """The chunk list with one entry changed: (digest, length)."""
    def changed(data):
        place = 16 + 36 * at
        found, length = struct.unpack("<32sI", data[place:place + 36])
        return data[:place] + struct.pack("<32sI", *change(found, length)) + data[place + 36:]
    return chunks(changed)


def moved_cut(found):
    """The first two pieces of the large file, cut ten bytes later."""
    one, other = found[2:4]
    return [*found[:2], one + other[:10], other[10:], *found[4:]]


def cut_in_two(found):
    return [*found[:2], found[2][:9000], found[2][9000:], *found[3:]]


def count(number):
    return chunks(lambda data: data[:8] + struct.pack("<Q", number(len(data) // 36)) + data[16:])


CHUNKS = [
    ("chunks-magic", "chunks_invalid", "The list begins with another word.", chunks(lambda data: b"OSCL" + data[4:])),
    ("chunks-version", "chunks_invalid", "The list has version 2.", chunks(lambda data: data[:4] + b"\2" + data[5:])),
    ("chunks-reserved", "chunks_invalid", "A byte that is zero is not.", chunks(lambda data: data[:7] + b"\1" + data[8:])),
    ("chunks-count-more", "chunks_invalid", "The count is one more.", count(lambda found: found + 1)),
    ("chunks-count-less", "chunks_invalid", "The count is one less.", count(lambda found: found - 1)),
    ("chunks-count-huge", "chunks_invalid", "The count is 2^64 − 1.", count(lambda found: (1 << 64) - 1)),
    ("chunks-count-wraps", "chunks_invalid", "The count times 36 is right in 64 bits.", count(lambda found: found + (1 << 62))),
    ("chunks-cut", "chunks_invalid", "The list ends inside an entry.", chunks(lambda data: data[:-1])),
    ("chunks-header-cut", "chunks_invalid tree_mismatch", "The list ends inside its header.", chunks(lambda data: data[:12])),
    ("chunks-empty", "chunks_invalid tree_mismatch", "The list has no byte.", chunks(lambda data: b"")),
    ("chunks-rest", "chunks_invalid", "A byte follows the list.", chunks(lambda data: data + b"\0")),
    ("chunks-length-zero", "chunks_invalid", "A chunk of no byte.",
     chunks(lambda data: data[:8] + struct.pack("<Q", len(data) // 36 + 1) + data[16:52] + hashlib.sha256().digest() + bytes(4) + data[52:])),
    ("chunks-length-above", "chunks_invalid", "A chunk of 131,073 bytes.", entry(2, lambda found, length: (found, 131073))),
    ("chunks-length-huge", "chunks_invalid", "A chunk of 2^32 − 1 bytes.", entry(2, lambda found, length: (found, 0xFFFFFFFF))),
    ("chunks-cut-elsewhere", "chunks_invalid", "A file is cut ten bytes later than its content says.", pieces(moved_cut)),
    ("chunks-cut-in-two", "chunks_invalid", "A chunk is cut in two.", pieces(cut_in_two)),
    ("chunks-small", "chunks_invalid", "A file of six bytes is cut into two chunks.",
     pieces(lambda found: [found[0][:3], found[0][3:], *found[1:]])),
    ("chunks-digest", "chunks_invalid digest_mismatch files_tar_mismatch", "A chunk has another digest.",
     entry(2, lambda found, length: (bytes(32), length))),
    ("chunks-order", "chunks_invalid tree_mismatch", "Two chunks have changed places.",
     pieces(lambda found: [found[1], found[0], *found[2:]])),
    ("chunks-one-missing", "tree_mismatch", "The last chunk is missing.", pieces(lambda found: found[:-1])),
    ("chunks-one-too-many", "tree_mismatch", "The last chunk stands twice.", pieces(lambda found: [*found, found[-1]])),
    ("chunks-across-files", "tree_mismatch", "The first two files are one chunk.", pieces(lambda found: [found[0] + found[1], *found[2:]])),
    ("chunks-none", "tree_mismatch", "There is no chunk.", pieces(lambda found: [])),
]


# files.tar

CONTENT = "files_tar_mismatch chunks_invalid file_mismatch"


def files(change):
    """Another files.tar of the honest tree."""
    return lambda: caps(files=change)


def made(**other):
    return files(lambda _: files_tar(ENTRIES, **other))


def of(change):
    return files(lambda _: files_tar(change(list(ENTRIES))))


def first_header(change):
    return files(lambda data: change(data[:512]) + data[512:])


def with_data(place, data):
    return of(lambda found: [{**entry, "data": data} if entry["path"] == place else entry for entry in found])


FILES = [
    ("files-mtime", "files_tar_mismatch", "The times are those of 1970.", made(mtime=0)),
    ("files-uid", "files_tar_mismatch", "The owner is 1000.", made(owner=(1000, 0))),
    ("files-gid", "files_tar_mismatch", "The group is 1000.", made(owner=(0, 1000))),
    ("files-uname", "files_tar_mismatch", "The owner is called root.", made(names=(b"root", b""))),
    ("files-gname", "files_tar_mismatch", "The group is called root.", made(names=(b"", b"root"))),
    ("files-magic", "files_tar_mismatch", "The headers are of GNU's kind.", made(magic=b"ustar  \0")),
    ("files-mode", "files_tar_mismatch", "A file has another mode.",
     first_header(lambda block: resealed(block[:100] + b"0000755\0" + block[108:]))),
    ("files-checksum", "files_tar_mismatch", "A header has another checksum.",
     first_header(lambda block: block[:148] + b"000000\0 " + block[156:])),
    ("files-name", "files_tar_mismatch", "A file has another name.", first_header(lambda block: resealed(b"b.txt" + block[5:]))),
    ("files-name-climbs", "files_tar_mismatch", "A file has the name ../evil.",
     first_header(lambda block: resealed(b"../evil".ljust(100, b"\0") + block[100:]))),
    ("files-kind-link", "files_tar_mismatch", "A file is a link to /etc/passwd.",
     first_header(lambda block: header(b"a.txt", 6, kind=b"2", target=b"/etc/passwd"))),
    ("files-link-target", "files_tar_mismatch", "A link has another target.", files(lambda data: data.replace(
        tar_entry(b"link", 0, 0o777, b"2", b"bin/run"), tar_entry(b"link", 0, 0o777, b"2", b"/etc/xyz")))),
    ("files-size", "files_tar_mismatch", "A header has another size, within the same block.",
     first_header(lambda block: header(b"a.txt", 7))),
    ("files-padding", "files_tar_mismatch", "Padding that is not zero.", files(lambda data: data[:1023] + b"x" + data[1024:])),
    ("files-end-more", "files_tar_mismatch", "Three zero blocks end it.", made(end=bytes(1536))),
    ("files-end-record", "files_tar_mismatch", "It is filled up to 10,240 bytes.", files(lambda data: data + bytes(-len(data) % 10240))),
    ("files-end-less", "files_tar_mismatch", "One zero block ends it.", made(end=bytes(512))),
    ("files-end-missing", "files_tar_mismatch", "No zero block ends it.", made(end=b"")),
    ("files-end-text", "files_tar_mismatch", "The last block is not zero.", files(lambda data: data[:-512] + b"x" * 512)),
    ("files-empty", "files_tar_mismatch", "It has no byte.", files(lambda data: b"")),
    ("files-content", CONTENT, "A file has other bytes.", with_data("a.txt", b"hullo\n")),
    ("files-content-large", CONTENT, "A byte in the middle of a file is another.",
     files(lambda data: data[:50000] + bytes([data[50000] ^ 1]) + data[50001:])),
    ("files-content-more", CONTENT, "A file has a block more.", with_data("a.txt", b"hello\n" * 100)),
    ("files-entry-missing", "files_tar_mismatch", "A file is missing.", of(lambda found: found[1:])),
    ("files-entry-more", "files_tar_mismatch", "A file too many.", of(lambda found: [*found, file("zz", b"x")])),
    ("files-entry-order", "files_tar_mismatch", "Two files have changed places.", of(lambda found: [found[-1], *found[1:-1], found[0]])),
    ("files-entry-twice", "files_tar_mismatch", "A file stands twice.", of(lambda found: [found[0], *found])),
    ("files-folder-slash", "files_tar_mismatch", "A folder has no slash.", files(lambda data: data.replace(
        tar_entry(b"bin/", 0, 0o755, b"5"), tar_entry(b"bin", 0, 0o755, b"5")))),
    ("files-pax-name", "files_tar_mismatch", "A pax header has another name.", files(lambda data: data.replace(
        pax([(b"path", "größe.txt".encode())]), pax([(b"path", "grüße.txt".encode())])))),
    ("files-pax-missing", "files_tar_mismatch", "A pax header is missing.",
     files(lambda data: data.replace(pax([(b"path", "größe.txt".encode())]), b""))),
    ("files-pax-needless", "files_tar_mismatch", "A pax header that nothing needs.", files(lambda data: pax([(b"path", b"a.txt")]) + data)),
    ("files-pax-record", "files_tar_mismatch", "A pax header with a record more.", files(lambda data: data.replace(
        pax([(b"path", "größe.txt".encode())]), pax([(b"path", "größe.txt".encode()), (b"uid", b"0")])))),
]
ROOTFS = [
    ("honest-rootfs", "", "Links of a rootfs may lead anywhere.", tree(link("abs", "/etc/passwd"), link("up", "../../x"), kind="rootfs")),
    ("honest-names", "", "Names that are odd and allowed.", tree(
        file("ä" * 120, b"x"), file('q"\\', b"x"), file("...", b"x"), file(" ", b"x"), file(".git", b"x"), file("x" * 101, b"x"),
        file("e\u0301", b"1"), file("é", b"2"), *chain(*["y"] * 128),
        link("self", "self"), link("l", "x" * 101), file("bin/capsule.json", b"{}"))),
    ("honest-nothing", "", "A tree without entries.", lambda: caps(tree=[])),
]
CASES = {"path": PATHS, "index": INDEX, "link": LINKS, "chunks": CHUNKS, "files-tar": FILES, "honest": ROOTFS}
