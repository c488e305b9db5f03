"""Files that are small and claim, or hold, very much. Each case: name, codes, why, what makes it.

A zstd frame of 41 bytes holds 1 MiB of zeros, so 12 MB of file hold 200 GiB. Each of these files has a fault that sizes alone
show, or that the first document with a fault shows: whoever looks at them in order is done long before the zeros end. What
would come after that fault, files.tar above all, is zeros of the right size, and its digest is made up.
"""
import struct

from capswriter import TREE, Zeros, caps, chunk_list, cuts, file, files_tar, frame, in_order, tar_entry

GIB = 1 << 30
LARGE = Zeros(200 * GIB)
MADE_UP = "0" * 64
ZERO_CHUNKS = chunk_list([bytes(131072)])[16:] * 8192


def files_of(size):
    return {"digest": "sha256:" + MADE_UP, "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": size}


def large_member(place, step=None, change=None):
    """A member of 200 GiB of zeros under its old name; where a descriptor names it, that has the size too."""
    steps = {step: change} if step else {}
    return lambda: caps(members=lambda found: [*found[:place], (found[place][0], [LARGE]), *(found[place:][1:])], **steps)


def layer(at):
    return lambda value: {**value, "layers": [{**one, "size": LARGE} if place == at else one for place, one in enumerate(value["layers"])]}


def huge_file(length, held, chunks):
    """A file of so many bytes of zeros, in so many chunks; `held` bytes are there, then the tar ends."""
    entries = in_order([*TREE, file("zeros", b"", size=length, sha256=MADE_UP)])
    content = [files_tar(entries[:-1], end=b""), tar_entry(b"zeros", length)]
    size = sum(map(len, content)) + length + 1024
    known = [piece for entry in entries for piece in cuts(entry.get("data", b""))]
    head = chunk_list(known)
    listed = [head[:8] + struct.pack("<Q", len(known) + chunks) + head[16:], *[ZERO_CHUNKS] * (chunks // 8192), ZERO_CHUNKS[:36 * (chunks % 8192)]]
    return lambda: caps(
        entries=lambda _: entries, chunks=lambda _: listed, files=lambda _: [*content, Zeros(held)], files_descriptor=files_of(size),
        header_of=lambda name, found: tar_entry(name, size if name.endswith(MADE_UP.encode()) else found),
        documents=lambda digest: [], end=b"")


def entry_of(path, mode=493):
    return b'{"mode":%d,"path":"%s","type":"d"}' % (mode, path)


def many_folders(count, *last):
    """An index of folders in folders of 4,096, as text that compresses well, and then of `last`."""
    letters = sorted(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+_")
    inner = [b"," + entry_of(b"@@@@/%c%c" % (one, other)) for one in letters for other in letters]
    full, group = b"".join(inner), len(inner) + 1
    parts = [b'{"entries":[']
    for at in range(0, count, group):
        below = full if count - at >= group else b"".join(inner[:count - at - 1])
        parts.append((b"," if at else b"") + (entry_of(b"@@@@") + below).replace(b"@@@@", b"%04d" % (at // group)))
    parts += [b"," + entry for entry in last]
    return of_index([*parts, b"]}"], 512 * (count + len(last)) + 1024)


def many_links(count):
    """Each link goes to and fro 780 times and then through the next; the last one leaves."""
    parts = [b'{"entries":[']
    for at in range(count):
        target = b"x/../" * 780 + b"l%05d" % (at + 1) if at < count - 1 else b"../outside"
        parts.append((b"," if at else b"") + b'{"mode":511,"path":"l%05d","target":"%s","type":"l"}' % (at, target))
    return of_index([*parts, b"]}"], (count - 1) * (512 + 4096 + 512) + 512 + 1024)


def of_index(index, size):
    return caps(index=lambda _: index, chunks=lambda _: chunk_list([]), files=lambda _: [Zeros(size)], files_descriptor=files_of(size))


def many_chunks(count):
    head = chunk_list([])[:8] + struct.pack("<Q", count)
    return caps(chunks=lambda _: [head, *[ZERO_CHUNKS] * (count // 8192), ZERO_CHUNKS[:36 * (count % 8192)]])


def tiny_frames(frames):
    """The same content, four bytes a frame."""
    data = b"".join(found[9 + 3:] for found, _, _ in frames)
    return [(frame(data[at:at + 4]), len(data[at:at + 4]), 1) for at in range(0, len(data), 4)]


LIMIT = "layout_invalid json_invalid tar_invalid"
SIZES = [
    ("bomb-tail", "tar_invalid", "200 GiB of zeros after the end of the tar.", lambda: caps(tar=lambda parts: [*parts, LARGE])),
    ("bomb-head", "tar_invalid layout_invalid", "200 GiB of zeros instead of a tar.", lambda: caps(tar=lambda parts: [LARGE])),
    ("bomb-oci-layout", LIMIT, "oci-layout has 200 GiB.", large_member(0)),
    ("bomb-list", LIMIT, "index.json has 200 GiB.", large_member(1)),
    ("bomb-manifest", LIMIT, "The capsule's OCI manifest has 200 GiB.",
     large_member(2, "listed", lambda value: {**value, "manifests": [{**value["manifests"][0], "size": LARGE}]})),
    ("bomb-root", LIMIT, "The root has 200 GiB.",
     large_member(3, "oci", lambda value: {**value, "config": {**value["config"], "size": LARGE}})),
    ("bomb-index", LIMIT + " index_invalid", "The index has 200 GiB.", large_member(4, "oci", layer(0))),
    ("bomb-chunks", LIMIT + " chunks_invalid", "The chunk list has 200 GiB.", large_member(5, "oci", layer(1))),
    ("bomb-files", "files_tar_mismatch layout_invalid", "files.tar has 200 GiB, and the index says 97 KB.",
     large_member(6, "oci", layer(2))),
    ("bomb-referrer", LIMIT, "A referrer's manifest has 200 GiB.", large_member(-4)),
    ("bomb-envelope", LIMIT, "An envelope has 200 GiB.", large_member(-2, "referrer", layer(0))),
    ("bomb-referrers", LIMIT, "The list of referrers has 200 GiB.", large_member(-1)),
    ("size-tebibyte", "tar_invalid layout_invalid", "A file of 1 TiB, of which no byte is there; no frames hold as much.",
     lambda: huge_file(1024 * GIB, 0, 1 << 23)()),
    ("size-1000-gib", "tar_invalid layout_invalid", "A file of 1,000 GiB with all its chunks, of which no byte is there.",
     lambda: huge_file(1000 * GIB, 0, 8192000)()),
    ("size-1000-gib-of-zeros", "tar_invalid layout_invalid", "A file of 1,000 GiB with all its chunks; the tar ends after 200 GiB of it.",
     lambda: huge_file(1000 * GIB, LARGE, 8192000)()),
    ("size-1000-gib-one-chunk", "tree_mismatch tar_invalid", "A file of 1,000 GiB has one chunk.", lambda: huge_file(1000 * GIB, 0, 1)()),
    ("size-entries", "index_invalid", "An index of 4,000,001 entries.", lambda: many_folders(4000001)),
    ("size-entries-ten-million", "index_invalid", "An index of 10,000,000 entries.", lambda: many_folders(10000000)),
    ("size-entries-last", "index_invalid", "A million entries, of which the last has the mode 0777.",
     lambda: many_folders(1000000, entry_of(b"zzzz", 511))),
    ("size-index-zeros", "index_invalid", "An index of 1 GiB of zeros.", lambda: caps(index=lambda _: [Zeros(GIB)])),
    ("size-index-above", "index_invalid layout_invalid", "An index of 1 GiB and a byte.", lambda: caps(index=lambda _: [Zeros(GIB + 1)])),
    ("size-links", "link_escapes", "20,000 links of long targets, each through the next; the last one leaves.", lambda: many_links(20000)),
    ("size-chunks", "chunks_invalid layout_invalid", "A chunk list of 16,777,217 chunks.", lambda: many_chunks((1 << 24) + 1)),
    ("size-chunks-most", "tree_mismatch", "A chunk list of 16,777,216 chunks for seven.", lambda: many_chunks(1 << 24)),
]
FRAMES = [("honest-frames-tiny", "", "A whole file in frames of four bytes.", lambda: caps(limit=65536, frames=tiny_frames))]
CASES = {"size": SIZES, "honest": FRAMES}
