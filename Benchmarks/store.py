"""capsule's store beside restic, borg, casync and ostree, and the limits tar|zstd and cp -a, on the same trees in one run.

What is measured, and how, is told in docs/performance.md. A Markdown report goes to standard output, progress to
standard error.
"""
import argparse
import collections
import json
import os
import shlex
import shutil
import subprocess
import sys

import measure
import report
import tools

#: What is done with each store, in this order. `kind`: first, again, next, verify, check or restore.
Work = collections.namedtuple("Work", "key title kind versions")
MIXED = [
    Work("pack A", "pack A (mixed) into an empty store", "first", "a"),
    Work("again A", "pack A again, unchanged", "again", "a"),
    Work("verify A", "verify A", "verify", "a"),
    Work("pack B", "pack B (A with 1–2 % new) on top", "next", "b"),
    Work("verify A, B", "verify A and B", "verify", "ab"),
    Work("check", "read and check the whole store (`capsule fsck --read`)", "check", "ab"),
    Work("restore A", "restore A", "restore", "a"),
]
SMALL = [
    Work("pack C", "pack C (small files) into an empty store", "first", "c"),
    Work("again C", "pack C again, unchanged", "again", "c"),
    Work("pack C'", "pack C′ (1 % of C's files changed) on top", "next", "d"),
    Work("restore C", "restore C", "restore", "c"),
]
# Trees, the stores of one round and one restored tree; everything else has been emptied by then.
GIB_NEEDED = 14


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench store", description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 3)), help="runs of everything; medians are told (RUNS, else 3)")
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", 1)), help="size of the trees, to try the script (BENCH_SCALE, else 1)")
    parser.add_argument("--tools", default="", help="only these, with commas: " + ", ".join(t.name for t in tools.ALL))
    parser.add_argument("--seed", type=int, default=7, help="for what is random in the trees")
    parser.add_argument("--json", metavar="FILE", help="write every single run there")
    return parser.parse_args()


class Bench:
    def __init__(self, root, options, chosen):
        self.root, self.options, self.chosen = root, options, chosen
        self.trees = os.path.join(root, "trees")
        self.runs, self.problems = [], {}

    def make_trees(self):
        measure.note("making the trees ...")
        os.makedirs(self.trees)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trees.py")
        made = subprocess.run([sys.executable, script, "store", self.trees, str(self.options.scale), str(self.options.seed), tools.Capsule.program],
                              check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(made.stdout)

    def round(self, number):
        for name, works in (("mixed", MIXED), ("small", SMALL)):
            # Each round begins with another tool: none is always the first or the last.
            turn = number % len(self.chosen)
            order = [t for t in self.chosen[turn:] + self.chosen[:turn] if t.name not in self.problems]
            stores = [t(os.path.join(self.root, f"{number}-{name}-{t.name.replace('|', '-').replace(' ', '')}")) for t in order]
            for tool in stores:
                tool.prepare()
            for work in works:
                # All tools do one work before any does the next: what the machine does meanwhile hits them alike.
                for tool in stores:
                    if tool.name not in self.problems:
                        self.attempt(tool, work, number)
            for tool in stores:
                measure.empty(tool.store)

    def attempt(self, tool, work, number):
        if not tool.does(work.kind, work.versions):
            return
        try:
            figures = self.perform(tool, work, number)
        except measure.Failed as failure:
            if tool.name == tools.Capsule.name:
                raise SystemExit(f"{work.key}: {failure}")
            self.problems[tool.name] = f"{work.key}: {failure}"
            measure.note(f"  {tool.name} is left out from here on: {failure}")
            return
        self.runs.append({"run": number + 1, "work": work.key, "tool": tool.name, **figures})
        added = f", {figures['added'] / measure.MB:.1f} MB added" if "added" in figures else ""
        measure.note(f"  {number + 1}/{self.options.runs} {work.key}: {tool.name} {figures['seconds']:.2f} s, "
                     f"{figures['cpu']:.2f} s CPU, {figures['peak']:.0f} MiB{added}")

    def perform(self, tool, work, number):
        version = work.versions[0]
        tree = os.path.join(self.trees, version)
        packs = work.kind in ("first", "again", "next")
        out = os.path.join(tool.folder, "restored-" + version)
        if packs:
            stages = tool.pack(tree, version)
        elif work.kind == "restore":
            stages = tool.restore(version, out)
        else:
            stages = tool.check() if work.kind == "check" else tool.verify(work.versions)
        measure.warm(tree if packs else tool.store)
        before = measure.size(tool.store, tool.caches)
        os.sync()
        figures = measure.run(stages, tool.env)
        if packs:
            figures["added"] = measure.size(tool.store, tool.caches) - before
        if work.kind == "restore":
            if number == 0:
                found = measure.difference(tree, out)
                if found:
                    raise measure.Failed(f"restored something else: {found}")
            measure.empty(out)
        return figures


def main():
    options = arguments()
    known = {t.name: t for t in tools.ALL}
    names = [n.strip() for n in options.tools.split(",") if n.strip()] or list(known)
    if options.runs < 1 or options.scale <= 0 or not set(names) <= set(known) or tools.Capsule.name not in names:
        raise SystemExit(f"--runs and --scale are above 0; --tools holds capsule and some of: {', '.join(known)}")
    tools.Capsule.use(os.environ["PROGRAM"])
    chosen = [known[n] for n in known if n in names]
    with measure.scratch(max(1.0, GIB_NEEDED * options.scale) * measure.GIB) as root:
        bench = Bench(root, options, chosen)
        machine = measure.machine(root)
        before = lowest = shutil.disk_usage(root).free
        facts = bench.make_trees()
        try:
            for number in range(options.runs):
                bench.round(number)
                lowest = min(lowest, shutil.disk_usage(root).free)
        finally:
            head = machine + [
                ("tools", "; ".join(f"{t.name} {t.version()}" for t in chosen)),
                ("seed", str(options.seed)),
                ("command", f"`RUNS={options.runs} scripts/bench store{' ' + shlex.join(sys.argv[1:]) if sys.argv[1:] else ''}`"),
            ]
            if options.json:
                with open(options.json, "w") as file:
                    json.dump({"head": dict(head), "scale": options.scale, "trees": facts, "problems": bench.problems, "runs": bench.runs}, file, indent=1)
        measure.note(f"disk used at most: {(before - lowest) / measure.GIB:.1f} GiB")
        print(report.store(bench, facts, head, MIXED + SMALL))


if __name__ == "__main__":
    main()
