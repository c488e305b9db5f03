"""Peak memory of packing, verifying and unpacking 10 GiB: it may not grow with what is packed.

The tree is generated: half random bytes, half text, in files of 4 KiB to 256 MiB and one of 2 GiB. A Markdown report goes
to standard output.
"""
import argparse
import json
import os
import subprocess
import sys

import measure
import report
import tools

PEAK_MIB_MAX = 256


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench memory", description=__doc__.split("\n\n")[0])
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", 1)), help="size of the tree, to try the script (BENCH_SCALE, else 1)")
    parser.add_argument("--seed", type=int, default=7, help="for the tree's content")
    options = parser.parse_args()
    if options.scale <= 0:
        raise SystemExit("--scale is above 0")
    tools.Capsule.use(os.environ["PROGRAM"])
    # The tree, the store, what is unpacked, and room to breathe.
    with measure.scratch(40 * options.scale * measure.GIB) as root:
        machine = measure.machine(root)
        measure.note("making the tree ...")
        tree, out = os.path.join(root, "tree"), os.path.join(root, "out")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trees.py")
        made = subprocess.run([sys.executable, script, "generated", tree, str(int(10 * options.scale * measure.GIB)), str(options.seed)],
                              check=True, stdout=subprocess.PIPE, text=True)
        facts = json.loads(made.stdout)
        capsule = tools.Capsule(os.path.join(root, "capsule"))
        capsule.refs = {"m": "bench-memory@1.0.0"}
        capsule.prepare()
        rows, peaks = [], []
        for name, stages in [("pack", capsule.pack(tree, "m")), ("pack again, unchanged", capsule.pack(tree, "m")),
                             ("verify", capsule.verify("m")), ("unpack", capsule.restore("m", out))]:
            os.sync()
            figures = measure.run(stages, capsule.env)
            rate = facts["bytes"] / measure.MB / figures["seconds"]
            measure.note(f"  {name}: {figures['seconds']:.1f} s, {figures['peak']:.0f} MiB")
            rows.append([name, f"{figures['seconds']:.1f}", f"{rate:.0f}", f"{figures['cpu']:.1f}", f"{figures['peak']:.0f}"])
            peaks.append(figures["peak"])
        found = measure.difference(tree, out)
        if found:
            raise SystemExit(f"unpacked something else: {found}")
        head = machine + [
            ("tree", f"{facts['files']:,} files, {facts['bytes'] / measure.MB:,.0f} MB, {facts['random'] / measure.MB:,.0f} of them random; "
                     f"{measure.size(capsule.store) / measure.MB:,.0f} MB stored"),
            ("seed", str(options.seed)),
            ("command", " ".join(["`scripts/bench memory", *sys.argv[1:]]) + "`"),
        ]
        print("\n".join([f"- {name}: {value}" for name, value in head]))
        if options.scale != 1:
            print(f"- **the tree is {options.scale:g} of its size: the verdict means nothing**")
        print("\n" + report.table(["work", "seconds", "MB/s", "CPU seconds", "peak MiB"], rows))
        print(f"\nAim: at most {PEAK_MIB_MAX} MiB; seen: {max(peaks):.0f} MiB, {'met' if max(peaks) <= PEAK_MIB_MAX else '**missed**'}.")


if __name__ == "__main__":
    main()
