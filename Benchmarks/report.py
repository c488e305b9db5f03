"""The figures as Markdown: what each tool took, and whether the aims are met."""
import collections
import statistics

import measure

#: `against`: a tool whose figure of the same run is the measure, or None where the limit is absolute.
#: `over`: the work of that tool, where it is called something else.
Aim = collections.namedtuple("Aim", "text work figure against limit over", defaults=(None,))
AIMS = [
    Aim("pack A: time to tar\\|zstd", "pack A", "seconds", "tar|zstd", 0.85),
    Aim("pack A: time to restic", "pack A", "seconds", "restic", 0.65),
    Aim("pack A: bytes stored, less than borg", "pack A", "added", "borg", 1.0),
    Aim("pack B: time to restic", "pack B", "seconds", "restic", 0.5),
    Aim("pack B: MB added", "pack B", "added", None, 10 * measure.MB),
    Aim("pack C: faster than tar\\|zstd", "pack C", "seconds", "tar|zstd", 1.0),
    Aim("pack C′: time to restic", "pack C'", "seconds", "restic", 0.4),
    Aim("pack C′: MB added", "pack C'", "added", None, 1.2 * measure.MB),
    Aim("A again, unchanged: time to restic", "again A", "seconds", "restic", 0.4),
    Aim("C again, unchanged: time to restic", "again C", "seconds", "restic", 0.4),
    Aim("restore A: time to zstd -dc \\| tar -x", "restore A", "seconds", "tar|zstd", 0.75),
    Aim("restore C: time to casync", "restore C", "seconds", "casync", 0.5),
    Aim("verify A: time to restic check --read-data", "verify A", "seconds", "restic", 0.45),
    Aim("verify A and B: time to restic check --read-data", "verify A, B", "seconds", "restic", 0.45),
    Aim("fsck --read, A and B: time to restic check --read-data", "check", "seconds", "restic", 0.45, "verify A, B"),
    Aim("peak memory of every work, MiB", None, "peak", None, 256),
]
RATIOS = ["restic", "borg", "casync", "ostree", "tar|zstd"]


class Figures:
    def __init__(self, runs):
        self.by = collections.defaultdict(dict)
        for run in runs:
            self.by[run["work"], run["tool"]][run["run"]] = run

    def values(self, work, tool, figure):
        return [r[figure] for r in self.by.get((work, tool), {}).values() if figure in r]

    def ratios(self, work, figure, tool, over=None):
        """capsule to a tool, run by run: what slows the machine down for a while slows both."""
        ours, theirs = self.by.get((work, "capsule"), {}), self.by.get((over or work, tool), {})
        return [ours[n][figure] / theirs[n][figure] for n in ours if n in theirs and theirs[n].get(figure)]


def cell(text):
    return text.replace("|", "\\|")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def per_tool(figures, works, names, figure, show):
    rows = []
    for work in works:
        values = [figures.values(work.key, n, figure) for n in names]
        if any(values):
            rows.append([work.title] + [show(statistics.median(v)) if v else "—" for v in values])
    return table(["work"] + [cell(n) for n in names], rows)


def ratio_table(figures, works, names):
    others = [n for n in RATIOS if n in names]
    rows = []
    for work in works:
        over = "verify A, B" if work.kind == "check" else None
        values = [figures.ratios(work.key, "seconds", n, over) for n in others]
        if any(values):
            rows.append([work.title] + [f"{statistics.median(v):.2f}" if v else "—" for v in values])
    return table(["work"] + ["to " + cell(n) for n in others], rows)


def verdict(figures, aim):
    unit = 1.0
    if aim.work is None:
        values = [r[aim.figure] for (_, tool), runs in figures.by.items() if tool == "capsule" for r in runs.values()]
        # Of memory the largest counts.
        values = [max(values)] if values else []
    elif aim.against is None:
        values = figures.values(aim.work, "capsule", aim.figure)
        unit = measure.MB if aim.figure == "added" else 1.0
    else:
        values = figures.ratios(aim.work, aim.figure, aim.against, aim.over)
    strict = aim.limit == 1.0
    wanted = ("< " if strict else "≤ ") + f"{aim.limit / unit:g}"
    if not values:
        return [aim.text, wanted, "—", "not measured"]
    met = lambda value: value < aim.limit if strict else value <= aim.limit
    middle, low, high = statistics.median(values), min(values), max(values)
    form = ".0f" if aim.figure == "peak" else ".2f"
    seen = f"{middle / unit:{form}}" + (f" ({low / unit:{form}}–{high / unit:{form}})" if len(values) > 1 else "")
    answer = "met" if met(middle) else "**missed**"
    if met(low) != met(high):
        answer += ", not in every run" if met(middle) else ", met in some runs"
    return [aim.text, wanted, seen, answer]


def describe(facts):
    """What the trees hold, a line each."""
    def sizes(fact):
        return f"{fact['files']:,} files, {fact['bytes'] / measure.MB:,.1f} MB"

    def change(fact):
        base = facts["a"] if fact is facts["b"] else facts["c"]
        share = 100 * fact["changed"] / base["bytes"]
        return (f"{fact['edited']} files edited, {fact['added']} added, {fact['removed']} removed; {fact['changed'] / measure.MB:.2f} MB "
                f"({share:.2f} %) of new content, {fact['compressed'] / measure.MB:.2f} MB after `zstd -3`")

    written = f", {facts['c']['written']} of them written by the script" if facts["c"]["written"] else ""
    return [f"- A: {sizes(facts['a'])}", f"- B: {sizes(facts['b'])}: {change(facts['b'])}",
            f"- C: {sizes(facts['c'])}{written}", f"- C′: {sizes(facts['d'])}: {change(facts['d'])}"]


def store(bench, facts, head, works):
    figures = Figures(bench.runs)
    names = [t.name for t in bench.chosen]
    runs = bench.options.runs
    floor = measure.memory_floor()
    parts = [f"- {name}: {value}" for name, value in head] + describe(facts)
    if bench.options.scale != 1:
        parts.append(f"- **the trees are {bench.options.scale:g} of their size: neither figures nor verdicts mean anything**")
    parts += [f"- {t.name} {t.why}" for t in bench.chosen if t.why]
    parts += [f"- {name} was left out after it failed. {text}" for name, text in bench.problems.items()]
    return "\n".join(parts + [
        "", f"Seconds, medians of {runs}:", "", per_tool(figures, works, names, "seconds", "{:.2f}".format),
        "", "Time of capsule to that of others, medians of the runs' ratios:", "", ratio_table(figures, works, names),
        "", "CPU seconds, user and system:", "", per_tool(figures, works, names, "cpu", "{:.2f}".format),
        "", f"Peak memory, MiB ({floor:.0f} is the least that can be seen of a process):", "",
        per_tool(figures, works, names, "peak", "{:.0f}".format),
        "", "MB (10⁶ bytes) that the store grew by:", "",
        per_tool(figures, works, names, "added", lambda v: f"{v / measure.MB:.2f}"),
        "", "Aims (ratios are medians of the runs' ratios, with the lowest and the highest):", "",
        table(["aim", "wanted", "seen", "verdict"], [verdict(figures, a) for a in AIMS]),
    ])
