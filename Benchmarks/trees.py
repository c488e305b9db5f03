"""The trees that are measured, made of this machine's own files; the same machine and seed give the same trees.

    trees.py store FOLDER SCALE SEED PROGRAM    a, b, c and d, as docs/performance.md tells; prints what they hold as JSON
    trees.py generated FOLDER BYTES SEED        half of it random bytes, half of it text

A program of its own: its lists of files would otherwise count as memory of every process that is measured.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

MIB = 1 << 20
SMALL_BYTES_MAX = 32 << 10
IMAGES = (".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp", ".ttf", ".otf", ".woff2", ".pdf")
# Of what an app with its dependencies is made: which files of /usr, and how many MiB of them. The last fills up to 1 GiB.
PARTS = [
    ("headers", ["include"], None, 24),
    ("documents", ["share/doc", "share/info", "share/perl"], None, 48),
    ("images", ["share"], IMAGES, 48),
    ("libraries and programs", ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib", "share"], None, 1024),
]
EDITED_AT = 1_700_000_000


def files_under(roots, endings=None):
    """Plain files with something in them, sorted by path within each root, as (path below /usr, bytes)."""
    seen = set()
    for root in roots:
        top = os.path.join("/usr", root)
        if not os.path.isdir(top) or os.path.islink(top):
            continue
        device, found = os.lstat(top).st_dev, []
        for folder, folders, names in os.walk(top):
            # Other file systems are left out, and keys of the machine's own.
            folders[:] = [f for f in folders if f != "ssl" and os.lstat(os.path.join(folder, f)).st_dev == device]
            for name in names:
                path = os.path.join(folder, name)
                if (endings and not name.endswith(endings)) or path in seen or not nameable(path):
                    continue
                info = os.lstat(path)
                if (info.st_mode & 0o170000) == 0o100000 and info.st_size > 0 and os.access(path, os.R_OK):
                    seen.add(path)
                    found.append((os.path.relpath(path, "/usr"), info.st_size))
        yield from sorted(found, key=lambda f: f[0].encode())


def nameable(path):
    """Whether a capsule can hold the name: UTF-8 without control characters."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return not re.search(r"[\x00-\x1f\x7f]", path)


def copy(paths, folder):
    """Content, modes and times; hard links become files, since not every tool keeps them."""
    os.makedirs(folder)
    listing = "\0".join(paths).encode()
    pack = subprocess.Popen(["tar", "-c", "-C", "/usr", "--hard-dereference", "--no-recursion", "--null", "-T", "-"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    unpack = subprocess.Popen(["tar", "-x", "-C", folder, "--no-same-owner"], stdin=pack.stdout)
    pack.stdout.close()
    pack.stdin.write(listing)
    pack.stdin.close()
    if pack.wait() or unpack.wait():
        raise SystemExit("cannot copy files of /usr")


def manifest(folder, name, version):
    value = {"app": {"framework": "plain"}, "id": f"urn:oursynth:app:{name}@{version}", "name": name, "version": version}
    with open(os.path.join(folder, "capsule.json"), "w") as file:
        json.dump(value, file)


def listed(folder):
    """Paths of a tree's files, sorted; not those that this script puts there."""
    found = [os.path.join(f, n) for f, _, names in os.walk(folder) for n in names]
    own = {os.path.join(folder, "capsule.json"), os.path.join(folder, ".capsuleallow")}
    return sorted((p for p in found if p not in own), key=os.fsencode)


class Text:
    """Text like source code, seeded."""

    def __init__(self, rng):
        self.rng = rng
        parts = ["re", "con", "ta", "mi", "lo", "ver", "si", "pa", "ex", "du", "ne", "fo", "tri", "al", "ke", "gra"]
        self.words = sorted({"".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(3000)})

    def take(self, count):
        lines, length = [], 0
        while length < count:
            indent = "    " * self.rng.randint(0, 4)
            line = f"{indent}{' '.join(self.rng.choices(self.words, k=self.rng.randint(2, 9)))} = {self.rng.randint(0, 99999)};\n"
            lines.append(line)
            length += len(line)
        return "".join(lines).encode()[:count]


class Donors:
    """New content taken from files that are not in the tree, none of it twice; text when there are no more."""

    def __init__(self, paths, text):
        self.paths, self.text, self.rest = paths, text, b""

    def take(self, count):
        while len(self.rest) < count:
            if not self.paths:
                self.rest += self.text.take(count)
                break
            with open(os.path.join("/usr", self.paths.pop()), "rb") as file:
                self.rest += file.read(8 * MIB)
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


class Change:
    """Makes the next version of a tree, and remembers all content that is new in it."""

    def __init__(self, rng, content, record):
        self.rng, self.content, self.record, self.bytes = rng, content, record, 0

    def new(self, count):
        taken = self.content.take(count)
        self.record.write(taken)
        self.bytes += len(taken)
        return taken

    def edit(self, path):
        """2 to 20 % of the file, 16 bytes to 128 KiB: half of the edits replace, the others insert, many of them in front."""
        with open(path, "rb") as file:
            data = file.read()
        count = min(max(16, int(len(data) * self.rng.uniform(0.02, 0.2))), 128 << 10)
        kind = self.rng.choices(["replace", "append", "front", "middle"], [5, 2, 2, 1])[0]
        if kind == "replace":
            data = bytearray(data)
            places = self.rng.randint(1, 3)
            for _ in range(places):
                piece = self.new(max(1, min(count // places, len(data))))
                at = self.rng.randint(0, len(data) - len(piece))
                data[at:at + len(piece)] = piece
        else:
            at = {"append": len(data), "front": 0, "middle": self.rng.randint(0, len(data))}[kind]
            data = data[:at] + self.new(count) + data[at:]
        if not os.access(path, os.W_OK):
            os.chmod(path, os.lstat(path).st_mode | 0o200)
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, (EDITED_AT, EDITED_AT))


def make_mixed(folder, scale, rng):
    """a, and the paths of /usr that are not in it."""
    total, chosen = 0, []
    limit = 1024 * MIB * scale
    taken = set()
    for _, roots, endings, mib in PARTS:
        part, room = 0, min(mib * MIB * scale, limit - total)
        for path, size in files_under(roots, endings):
            if path in taken or part + size > room:
                continue
            taken.add(path)
            chosen.append(path)
            part += size
            if part >= 0.995 * room:
                break
        total += part
    if total < 0.9 * limit:
        print(f"note: /usr gives only {total / 1e6:.0f} MB for a tree that should have {limit / 1e6:.0f}", file=sys.stderr)
    copy(chosen, folder)
    others = [p for p, size in files_under(["include", "lib", "share"]) if p not in taken and size >= 256]
    rng.shuffle(others)
    return others


def change_mixed(folder, total, change, donors):
    """1.5 % of the bytes are new: edits in 4 % of the files, in large files by size, and new files; a few files go."""
    rng, goal = change.rng, 0.015 * total
    paths = listed(folder)
    gone = rng.sample(paths, max(1, len(paths) // 200))
    for path in gone:
        os.unlink(path)
    paths = [p for p in paths if p not in set(gone)]
    edited = set()
    for path in rng.sample(paths, max(1, len(paths) // 25)):
        if change.bytes >= 0.5 * goal:
            break
        change.edit(path)
        edited.add(path)
    added = 0
    os.makedirs(os.path.join(folder, "added"), exist_ok=True)
    while change.bytes < 0.7 * goal or added == 0:
        size = min(int(rng.lognormvariate(10, 1.5)) + 1, 2 * MIB, max(1, int(0.2 * goal)))
        with open(os.path.join(folder, "added", f"file-{added:04}"), "wb") as file:
            file.write(change.new(size))
        added += 1
    sizes = [os.lstat(p).st_size for p in paths]
    while change.bytes < goal:
        path = rng.choices(paths, sizes)[0]
        change.edit(path)
        edited.add(path)
    return {"edited": len(edited), "added": added, "removed": len(gone)}


def make_small(folder, scale, text):
    """c: files below 32 KiB; where the machine has too few, the rest is written."""
    wanted, chosen = max(10, int(48_000 * scale)), []
    for path, size in files_under(["include", "share", "lib"]):
        if len(chosen) == wanted:
            break
        if size < SMALL_BYTES_MAX:
            chosen.append(path)
    copy(chosen, folder)
    for i in range(wanted - len(chosen)):
        path = os.path.join(folder, "written", f"{i // 100:03}", f"file-{i:05}.c")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.take(min(int(text.rng.lognormvariate(7.5, 1.1)) + 1, SMALL_BYTES_MAX)))
    return wanted - len(chosen)


def change_small(folder, change):
    paths = listed(folder)
    chosen = change.rng.sample(paths, max(1, len(paths) // 100))
    for path in chosen:
        change.edit(path)
    return {"edited": len(chosen), "added": 0, "removed": 0}


def allow_secrets(program, tree, scratch):
    """Lists in .capsuleallow what `pack` would refuse: test keys and the like. Asks the program itself until it is content."""
    likely = subprocess.run(["grep", "-rlE", "--binary-files=text", "PRIVATE KEY-----|AKIA[0-9A-Z]{16}", "."], cwd=tree,
                            capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout.splitlines()
    names = [os.path.join(f, n) for f, _, ns in os.walk(tree) for n in ns if n.startswith(".env")]
    paths = sorted({os.path.normpath(p) for p in likely} | {os.path.relpath(p, tree) for p in names})
    home = os.path.join(scratch, "home")
    subprocess.run([program, "--home", home, "--quiet", "init"], check=True, stdout=subprocess.DEVNULL)
    for _ in range(1000):
        with open(os.path.join(tree, ".capsuleallow"), "w") as file:
            file.writelines(re.sub(r"([\\*?\[\]!# ])", r"\\\1", p) + "\n" for p in paths)
        packed = subprocess.run([program, "--home", home, "--quiet", "--json", "pack", tree], capture_output=True, text=True)
        if packed.returncode == 0:
            return len(paths)
        error = json.loads(packed.stdout).get("error", {})
        found = re.match(r"(.+?)(?:, line \d+,)? looks like ", error.get("message", ""))
        if error.get("code") != "secret_found" or not found or found[1] in paths:
            raise SystemExit(f"cannot pack {os.path.basename(tree)}: {packed.stdout} {packed.stderr}")
        paths.append(found[1])
    raise SystemExit("too many files look like secrets")


def make_store_trees(root, scale, seed, program):
    facts = {}
    rng = random.Random(seed)
    text = Text(random.Random(seed + 1))
    path = lambda name: os.path.join(root, name)

    def finish(name, capsule, version, change=None, record=None, more=None):
        manifest(path(name), capsule, version)
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            allowed = allow_secrets(program, path(name), scratch)
        paths = listed(path(name))
        facts[name] = {"files": len(paths), "bytes": sum(os.lstat(p).st_size for p in paths), "allowed": allowed, **(more or {})}
        if change:
            record.flush()
            record.seek(0)
            # No tool that compresses as `zstd -3` does can add less than about this.
            packed = subprocess.run(["zstd", "-3", "-c", "-q"], stdin=record, capture_output=True, check=True).stdout
            facts[name].update(changed=change.bytes, compressed=len(packed))

    donors = make_mixed(path("a"), scale, rng)
    finish("a", "bench-mixed", "1.0.0")
    subprocess.run(["cp", "-a", path("a"), path("b")], check=True)
    with tempfile.TemporaryFile(dir=root) as record:
        change = Change(rng, Donors(donors, text), record)
        more = change_mixed(path("b"), facts["a"]["bytes"], change, donors)
        finish("b", "bench-mixed", "1.1.0", change, record, more)
    written = make_small(path("c"), scale, text)
    finish("c", "bench-small", "1.0.0", more={"written": written})
    subprocess.run(["cp", "-a", path("c"), path("d")], check=True)
    with tempfile.TemporaryFile(dir=root) as record:
        change = Change(rng, text, record)
        more = change_small(path("d"), change)
        finish("d", "bench-small", "1.1.0", change, record, more)
    print(json.dumps(facts))


def make_generated(folder, total, seed):
    """Half random bytes, half text, by turns; files of 4 KiB to 256 MiB, one larger, and 4 % of the bytes in small ones."""
    rng = random.Random(seed)
    # Of 256 words, one for each value of a random byte: fast enough for many GiB.
    words = [w.encode() + b" " for w in rng.choices(Text(rng).words, k=255)] + [b";\n"]
    os.makedirs(folder)
    manifest(folder, "bench-memory", "1.0.0")
    written, random_bytes, count = 0, 0, 0
    largest = max(8192, min(256 * MIB, total // 8))
    # A fifth of the whole in one file: nobody may hold a whole file.
    single = total // 5
    while written < total:
        if written < 0.04 * total:
            size = int(4096 * (32768 / 4096) ** rng.random())
        elif single:
            size, single = single, 0
        else:
            size = int(4096 * (largest / 4096) ** rng.random())
        size = min(size, total - written)
        is_random = random_bytes * 2 <= written
        path = os.path.join(folder, f"{count // 500:03}", f"file-{count:06}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            left = size
            while left > 0:
                piece = rng.randbytes(min(left, MIB))
                if not is_random:
                    piece = b"".join(map(words.__getitem__, piece))[:left]
                file.write(piece)
                left -= len(piece)
        written += size
        random_bytes += size if is_random else 0
        count += 1
    print(json.dumps({"files": count, "bytes": written, "random": random_bytes}))


if __name__ == "__main__":
    if sys.argv[1] == "store":
        make_store_trees(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        make_generated(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
