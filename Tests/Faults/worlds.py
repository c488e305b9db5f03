"""The folders that the cases of scripts/crash-matrix begin from."""
import functools
import os

from harness import LIBRARY, change_a_little, copy, drop_index, need, write_mixed_app, write_small_app


def faults(folder, **variables):
    return {"LD_PRELOAD": LIBRARY, "FAULTS_UNDER": folder, **{name: str(value) for name, value in variables.items()}}


def flip(path, offset, mask=0xff):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


class Worlds:
    """Each is a folder with a `home` that has some capsules."""

    def __init__(self, work):
        self.work = work
        write_small_app(f"{work}/first")
        write_small_app(f"{work}/second", "second")
        write_mixed_app(f"{work}/mixed")
        copy(f"{work}/mixed", f"{work}/changed")
        change_a_little(f"{work}/changed")
        # A small part of the mixed one's files.
        copy(f"{work}/mixed/docs", f"{work}/second/docs/mixed")
        # Also makes mixed.caps, which others take in.
        self.get("packed")

    @functools.cache
    def get(self, name):
        """The folder, and the capsules that it has."""
        folder = f"{self.work}/world-{name}"
        before = {"nothing": None, "base": "nothing", "packed": "base"}.get(name, "packed")
        kept = []
        if before:
            source, kept = self.get(before)
            copy(source, folder)
        else:
            os.mkdir(folder)
        home = folder + "/home"
        pack = lambda app, *more: need(home, "pack", f"{self.work}/{app}", *more).digest
        if name == "base":
            need(home, "init", "--name", "crash")
            kept = [pack("first", "--release")]
        elif name == "packed":
            kept = kept + [pack("mixed", "-o", f"{self.work}/mixed.caps")]
        elif name == "removed":
            # A pack that is mostly dead (of `mixed`, whose small files `second` has, too), one that is wholly dead, and live ones.
            alone = need(home, "pack", self.make_alone()).digest
            kept = [kept[0], pack("second")]
            for gone in ("mixed", alone):
                need(home, "rm", gone)
        elif name == "bad pack":
            packs = [f"{home}/capsules/packs/{pack}" for pack in os.listdir(home + "/capsules/packs")]
            flip(max(packs, key=os.path.getsize), 400_000)
        elif name == "bad index":
            with open(home + "/capsules/index.sqlite", "r+b") as file:
                file.write(bytes(64))
        elif name == "no index":
            drop_index(home)
        return folder, kept

    def make_alone(self):
        """A folder that shares nothing with the others."""
        folder = f"{self.work}/alone"
        write_small_app(folder, "alone")
        with open(f"{folder}/docs/noise", "wb") as file:
            file.write(os.urandom(300_000))
        return folder
