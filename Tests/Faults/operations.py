"""What scripts/crash-matrix tries."""
import os
import re

import harness
from harness import capsule, need


def bytes_of_packs(folder):
    packs = folder + "/home/capsules/packs"
    return sum(os.path.getsize(f"{packs}/{name}") for name in os.listdir(packs)) if os.path.isdir(packs) else 0


class Operation:
    """`start`: the prepared folder it begins from. `output`: what it makes beside the home. `sick`: it begins from something damaged,
    which is only asked to be sound when it is done. `frees`: packs become less. `node`: a running node does it, and only the power
    cut right after its answer is tried: what is open stays open, so that nothing is made durable by closing it."""

    def __init__(self, name, start, arguments, output=None, needs=(), sick=False, frees=False, node=False):
        self.name, self.start, self.arguments, self.output, self.sick, self.frees, self.node = name, start, arguments.split(), output, sick, frees, node
        self.needs, self.releases = needs or [self.arguments[:1]], "release" in arguments
        self.slug = re.sub("[^a-z]+", "-", name)

    def run(self, folder, **options):
        words = [word.format(case=folder, work=self.work) for word in self.arguments]
        return harness.Answer(folder + "/home", words, **options)

    def learn(self, world, folder):
        """What it gives when nothing happens: its answer is known already."""
        self.expected = harness.fingerprint(f"{folder}/{self.output}") if self.output else None
        self.digest = self.reference.digest
        self.signers = len(need(folder + "/home", "verify", self.digest).json["signers"]) if self.digest else 0
        self.bytes, self.keys = bytes_of_packs(folder), set(os.listdir(folder + "/home/keys"))
        if self.frees and self.bytes >= bytes_of_packs(world):
            harness.stop(f"`{' '.join(self.arguments)}` frees nothing: does it need an option?")

    def broken(self, folder):
        """What is wrong with what it makes. Keys and times differ from run to run, digests of capsules do not."""
        caps = self.output and self.output.endswith(".caps")
        if self.output and not caps:
            found = harness.fingerprint(f"{folder}/{self.output}")
            return [] if found == self.expected else [f"{self.output} is {'not there' if found is None else 'another'}"]
        if not self.digest:
            return []
        answer = capsule(folder + "/home", "verify", f"{folder}/{self.output}" if caps else self.digest)
        if answer.status != 0 or answer.digest != self.digest:
            return [f"its capsule is not whole: {answer}"]
        found = len(answer.json["signers"])
        return [] if found == self.signers else [f"its capsule has {found} signatures, not {self.signers}"]

    def undone(self, folder):
        """What is missing of its effect."""
        problems = self.broken(folder)
        if self.releases:
            mesh = capsule(folder + "/home", "ls", "--mesh")
            if mesh.status != 0 or [row["contested"] for row in mesh.json if row["digest"] == self.digest] != [False]:
                problems.append(f"its release is not there once: {mesh}")
        if self.frees and bytes_of_packs(folder) > self.bytes * 1.02:
            problems.append(f"packs have {bytes_of_packs(folder)} bytes, and not {self.bytes}")
        return problems


OPERATIONS = [
    Operation("init", "nothing", "init"),
    Operation("first pack", "nothing", "pack {work}/first"),
    Operation("pack", "base", "pack {work}/mixed"),
    Operation("pack changed", "packed", "pack {work}/changed"),
    Operation("pack release export", "packed", "pack {work}/changed --release -o {case}/changed.caps", output="changed.caps"),
    Operation("import", "base", "import {work}/mixed.caps"),
    Operation("export", "packed", "export mixed -o {case}/mixed.caps", output="mixed.caps"),
    Operation("release", "packed", "release mixed"),
    Operation("unpack", "packed", "unpack mixed {case}/out/mixed", output="out/mixed"),
    Operation("rebuild", "packed", "fsck --rebuild"),
    Operation("rebuild bad index", "bad index", "fsck --rebuild", sick=True),
    Operation("open without index", "no index", "fsck"),
    Operation("repair", "bad pack", "fsck --repair {work}/mixed.caps", sick=True),
    Operation("gc", "removed", "gc", needs=[["gc"], ["rm"]], frees=True),
    Operation("pack by a node", "base", "pack {work}/mixed --release", node=True),
    Operation("import by a node", "base", "import {work}/mixed.caps", node=True),
    Operation("release by a node", "packed", "release mixed", node=True),
]
