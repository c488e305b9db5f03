"""The programs that are measured: how each makes a store, packs into it, restores from it and checks it.

All with the settings that they come with, save compression where a choice is asked for (zstd, level 3, as capsule has it)
and encryption where it can be left out (borg). What a method gives is a list of stages for `measure.run`.
"""
import os
import re
import subprocess


class Tool:
    """One tool with one store. `tree` is a folder, `version` the letter of the tree that was packed."""

    name = ""
    #: Folders of the store that are no part of what is stored: memories of what was packed, as the others have them elsewhere.
    caches = ()
    #: Kinds of work that it does not do, and why.
    lacks, why = (), ""

    def __init__(self, folder):
        self.folder = folder
        self.store = os.path.join(folder, "store")
        # Caches and settings of the tools stay in the folder of the measurement; all begin without any.
        self.env = {
            "PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "XDG_CACHE_HOME": os.path.join(folder, "cache"), "BORG_BASE_DIR": os.path.join(folder, "borg"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "RESTIC_PASSWORD_FILE": os.path.join(folder, "password"),
            "CAPSULE_HOME": self.store,
        }
        os.makedirs(folder)

    @classmethod
    def version(cls):
        return ""

    def does(self, kind, versions):
        # Two versions can be checked where a second one went on top of the first.
        return kind not in self.lacks and kind != "check" and not (len(versions) > 1 and "next" in self.lacks)

    def prepare(self):
        """Makes an empty store; not timed."""
        os.makedirs(self.store)

    def _call(self, *command):
        subprocess.run(command, env=self.env, check=True, capture_output=True)


def said(*command):
    """The first number with dots that a command prints."""
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)*", text)
    return found[0] if found else "?"


class Capsule(Tool):
    name = "capsule"
    program = "capsule"
    caches = ("state/sources",)
    has_check = True
    refs = {"a": "bench-mixed@1.0.0", "b": "bench-mixed@1.1.0", "c": "bench-small@1.0.0", "d": "bench-small@1.1.0"}

    @classmethod
    def version(cls):
        return said(cls.program, "--version")

    @classmethod
    def use(cls, program):
        cls.program = program
        verbs = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        cls.has_check = re.search(r"^ +fsck ", verbs, re.M) is not None

    def does(self, kind, versions):
        return kind != "check" or self.has_check

    def prepare(self):
        self._call(self.program, "--quiet", "init")

    def pack(self, tree, version):
        return [[[self.program, "--quiet", "pack", tree]]]

    def restore(self, version, out):
        return [[[self.program, "--quiet", "unpack", self.refs[version], out]]]

    def verify(self, versions):
        return [[[self.program, "--quiet", "verify", self.refs[v]]] for v in versions]

    def check(self):
        return [[[self.program, "--quiet", "fsck", "--read"]]]


class Restic(Tool):
    name = "restic"

    @classmethod
    def version(cls):
        return said("restic", "version")

    def prepare(self):
        # Older versions know no repository without a password.
        with open(self.env["RESTIC_PASSWORD_FILE"], "w") as file:
            file.write("bench\n")
        self._call("restic", "-q", "-r", self.store, "init")

    def pack(self, tree, version):
        # From within the folder: what is restored then lies at the top of the target.
        return [[["env", "-C", tree, "restic", "-q", "-r", self.store, "backup", "--tag", version, "."]]]

    def restore(self, version, out):
        return [[["restic", "-q", "-r", self.store, "restore", "latest", "--tag", version, "--target", out]]]

    def verify(self, versions):
        return [[["restic", "-q", "-r", self.store, "check", "--read-data"]]]


class Borg(Tool):
    name = "borg"

    def __init__(self, folder):
        super().__init__(folder)
        self.archives = []

    @classmethod
    def version(cls):
        return said("borg", "--version")

    def prepare(self):
        self._call("borg", "init", "-e", "none", self.store)

    def pack(self, tree, version):
        # An archive's name can be used once.
        self.archives.append(f"{version}{len(self.archives)}")
        return [[["env", "-C", tree, "borg", "create", "-C", "zstd,3", f"{self.store}::{self.archives[-1]}", "."]]]

    def restore(self, version, out):
        os.makedirs(out)
        archive = next(a for a in self.archives if a.startswith(version))
        return [[["env", "-C", out, "borg", "extract", f"{self.store}::{archive}"]]]

    def verify(self, versions):
        return [[["borg", "check", "--verify-data", self.store]]]


class Casync(Tool):
    name = "casync"

    @classmethod
    def version(cls):
        return said("casync", "--version")

    def _paths(self, version):
        return [f"--store={self.store}/default.castr", f"{self.store}/{version}.caidx"]

    def pack(self, tree, version):
        return [[["casync", "make", *self._paths(version), tree]]]

    def restore(self, version, out):
        return [[["casync", "extract", *self._paths(version), out]]]

    def verify(self, versions):
        # The digest of an archive: it reads every chunk of it, and fails on one that is damaged.
        return [[["casync", "digest", *self._paths(v)]] for v in versions]


class Ostree(Tool):
    name = "ostree"

    @classmethod
    def version(cls):
        return said("sh", "-c", "ostree --version | grep Version:").strip("'")

    def prepare(self):
        self._call("ostree", "init", f"--repo={self.store}", "--mode=archive")

    def pack(self, tree, version):
        return [[["ostree", "commit", f"--repo={self.store}", "-b", version, f"--tree=dir={tree}"]]]

    def restore(self, version, out):
        # -U: without owners, so that it goes the same way for everyone.
        return [[["ostree", "checkout", f"--repo={self.store}", "-U", version, out]]]

    def verify(self, versions):
        return [[["ostree", "fsck", f"--repo={self.store}", "-q"]]]


class TarZstd(Tool):
    """A limit: no dedup, no digests, nothing brought safely to the disk."""

    name = "tar|zstd"
    lacks, why = ("again", "next"), "knows nothing of what it packed before"

    @classmethod
    def version(cls):
        return f"{said('tar', '--version')}, {said('sh', '-c', 'zstd --version | grep -o v[0-9.]*')}"

    def _path(self, version):
        return os.path.join(self.store, version + ".tar.zst")

    def pack(self, tree, version):
        return [[["tar", "-c", "-C", tree, "."], ["zstd", "-3", "-T2", "-q", "-f", "-o", self._path(version)]]]

    def restore(self, version, out):
        os.makedirs(out)
        return [[["zstd", "-q", "-dc", self._path(version)], ["tar", "-x", "-C", out]]]

    def verify(self, versions):
        return [[["zstd", "-q", "-t", self._path(v)]] for v in versions]


class Copy(Tool):
    """A limit: the files as they are."""

    name = "cp -a"
    lacks, why = ("again", "next", "verify"), "knows nothing of what it copied before, and keeps no digests"

    @classmethod
    def version(cls):
        return said("cp", "--version")

    def pack(self, tree, version):
        return [[["cp", "-a", tree, os.path.join(self.store, version)]]]

    def restore(self, version, out):
        return [[["cp", "-a", os.path.join(self.store, version), out]]]


ALL = [Capsule, Restic, Borg, Casync, Ostree, TarZstd, Copy]
