"""What scripts/crash-matrix and scripts/bit-rot share: the program, folders to pack, homes, and what must hold of a home."""
import functools
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.abspath(os.environ.get("PROGRAM", ROOT + "/.build/debug/capsule"))
LIBRARY = ROOT + "/.build/faults.so"
SECONDS_MAX = 120


def stop(message):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {message}")


def make_library():
    if not os.access(PROGRAM, os.X_OK):
        stop(f"there is no program {PROGRAM}: build it (swift build) or name another (PROGRAM=…)")
    sources = [ROOT + "/Tests/Faults/" + name for name in ("faults.c", "points.h")]
    if os.path.exists(LIBRARY) and os.path.getmtime(LIBRARY) >= max(map(os.path.getmtime, sources)):
        return
    if not shutil.which("gcc"):
        stop("gcc is not installed: scripts/install")
    os.makedirs(os.path.dirname(LIBRARY), exist_ok=True)
    # Under its own name first: another run may be using the old one.
    made = f"{LIBRARY}.{os.getpid()}"
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", made, sources[0], "-ldl", "-lpthread"], check=True)
    os.rename(made, LIBRARY)


class Answer:
    """How the program ended: `status` (−9 when killed), the JSON it said, `code` of its error, and whether it left a process behind."""

    def __init__(self, home, arguments, environment=None, before=()):
        process = subprocess.Popen([*before, PROGRAM, "--json", "--quiet", *arguments], env={**os.environ, "CAPSULE_HOME": home, **(environment or {})},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\n(killed after {SECONDS_MAX} s)".encode()
        self.status, self.arguments, self.said = process.returncode, arguments, (out + err).decode(errors="replace")
        try:
            self.json = json.loads(out)
        except ValueError:
            self.json = None
        error = self.json.get("error", {}) if isinstance(self.json, dict) else {}
        self.code = error.get("code")
        try:
            os.killpg(process.pid, 0)
            self.left_a_process = True
        except ProcessLookupError:
            self.left_a_process = False

    @property
    def digest(self):
        first = self.json[0] if isinstance(self.json, list) and self.json else self.json
        return first.get("digest") if isinstance(first, dict) else None

    def __str__(self):
        return f"`{' '.join(self.arguments[:2])}` exit {self.status}: {' '.join(self.said.split())[:300]}"


class Node:
    """`capsule up`, killed at the end of the block."""

    def __init__(self, home, environment):
        self.process = subprocess.Popen([PROGRAM, "--json", "up", "--no-discovery", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--front", "127.0.0.1:0"],
                                        env={**os.environ, "CAPSULE_HOME": home, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        said = b""
        while not said.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            if not line:
                stop(f"the node does not start: {said.decode(errors='replace')}")
            said += line

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def capsule(home, *arguments):
    return Answer(home, arguments)


def need(home, *arguments):
    answer = capsule(home, *arguments)
    if answer.status != 0:
        stop(f"cannot prepare: {answer}")
    return answer


@functools.cache
def has(verb, *options):
    """Whether the program has a verb and its options."""
    text = subprocess.run([PROGRAM, verb, "--help"], capture_output=True, text=True).stdout
    return f"USAGE: capsule {verb} " in text and all(option in text for option in options)


# Folders to pack

def write(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    os.chmod(path, mode)


def write_manifest(app, name, version):
    write(f"{app}/capsule.json", json.dumps({
        "id": f"urn:oursynth:app:{name}@{version}", "name": name, "version": version, "app": {"framework": "plain"}, "run": {"static": True},
        "build": {"steps": ["mkdir -p out", "cp docs/0.txt out/index.html"], "outDir": "out"}}))


def write_small_app(app, name="first"):
    write_manifest(app, name, "1.0.0")
    write(f"{app}/docs/0.txt", f"hello from {name}\n" * 40)


def write_mixed_app(app, name="mixed"):
    """2 MB: one large file that does not compress, one that does, two of 200 KB and many small ones, links, modes, an empty folder."""
    dice = random.Random(6)
    write_manifest(app, name, "1.0.0")
    write(f"{app}/data/large.bin", dice.randbytes(900_000))
    write(f"{app}/data/large.log", "".join(f"{i:08} request {dice.randrange(10**6):06} took {dice.randrange(900)} ms\n" for i in range(12_000)))
    for i in range(2):
        write(f"{app}/data/part-{i}.bin", dice.randbytes(200_000))
    for i in range(48):
        write(f"{app}/docs/{i}.txt", "".join(f"line {dice.randrange(10**9)}\n" for _ in range(dice.randrange(8, 500))))
    write(f"{app}/bin/start", "#!/bin/sh\nexec true\n", 0o755)
    write(f"{app}/a/b/c/d/deep.txt", "deep\n")
    write(f"{app}/empty.txt", "")
    os.symlink("data/large.bin", f"{app}/newest")
    os.mkdir(f"{app}/nothing")


def change_a_little(app, name="mixed"):
    """1 %: a few bytes in a large file, one file changed, one added, one removed."""
    write_manifest(app, name, "1.0.1")
    with open(f"{app}/data/large.bin", "r+b") as file:
        file.seek(400_000)
        file.write(random.Random(7).randbytes(40_000))
    write(f"{app}/docs/3.txt", "changed\n" * 200)
    write(f"{app}/docs/new.txt", "new\n" * 500)
    os.remove(f"{app}/docs/5.txt")


def fingerprint(path):
    """A file's or a folder's names, modes, links and bytes; None where nothing is."""
    if not os.path.lexists(path):
        return None
    out = hashlib.sha256()
    for folder, folders, files in [(os.path.dirname(path), [], [os.path.basename(path)])] if os.path.isfile(path) else os.walk(path):
        folders.sort()
        for name in sorted(files) + folders:
            full = os.path.join(folder, name)
            out.update(f"{os.path.relpath(full, path)}\0{os.lstat(full).st_mode if not os.path.islink(full) else os.readlink(full)}\0".encode())
            if os.path.isfile(full) and not os.path.islink(full):
                with open(full, "rb") as file:
                    out.update(hashlib.sha256(file.read()).digest())
    return out.hexdigest()


def copy(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


# What must hold of a home

def rows(home):
    """{digest: row} of what a home lists, and None with what was said where it does not."""
    answer = capsule(home, "ls")
    return ({row["digest"]: row for row in answer.json} if answer.status == 0 else None), answer


def check_home(home, kept, unsigned=False):
    """The problems found, and the digests listed: `kept` is listed, everything listed verifies, every byte of the store is sound."""
    listed, answer = rows(home)
    if listed is None:
        return [f"not listed: {answer}"], []
    problems = [f"{digest[:19]} was committed before and is not listed any more" for digest in kept if digest not in listed]
    left = os.listdir(home + "/capsules/tmp")
    if left:
        problems.append(f"capsules/tmp holds {', '.join(left)} after a command")
    for digest in listed:
        answer = capsule(home, "verify", digest)
        # Of an import that did not end, the bytes may be there before the signatures.
        if answer.status not in ((0, 77) if unsigned and digest not in kept else (0,)):
            problems.append(f"listed, but {answer}")
    answer = capsule(home, "fsck", "--read")
    if answer.status != 0:
        problems.append(f"not clean: {answer}")
    return problems, list(listed)


def check_without_index(home, expected):
    """Packs and journal are enough: without the index, the same is listed again."""
    drop_index(home)
    listed, answer = rows(home)
    return [] if listed is not None and set(listed) == set(expected) else [f"an index made again from packs and journal lists other things: {answer}"]


def drop_index(home):
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        if os.path.exists(f"{home}/capsules/{name}"):
            os.remove(f"{home}/capsules/{name}")


def leftovers(folder):
    """Temporary files that nobody owns any more; what is left in state/sources goes with the memories there, the oldest first."""
    return [os.path.relpath(os.path.join(path, name), folder) for path, folders, files in os.walk(folder)
            for name in folders + files if (".tmp-" in name or ".unpack-" in name) and not path.endswith("/state/sources")]
