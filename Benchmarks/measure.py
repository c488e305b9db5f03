"""Running a program and seeing what it cost."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time


#: 10^6 for what is stored, as tools and disks have it; memory is in MiB, as limits of it are.
MB, MIB, GIB = 10**6, 1 << 20, 1 << 30


class Failed(Exception):
    """A program ended with an error; its text is what it said."""


def run(stages, env=None):
    """Runs pipelines one after the other: each stage is a list of argument lists, joined by pipes.

    Gives wall seconds, CPU seconds of all processes, and peak memory in MiB: the processes of one pipeline are there
    together, so their peaks are added; of several pipelines the largest counts.
    """
    seconds, cpu, peak = 0.0, 0.0, 0.0
    for stage in stages:
        started = time.monotonic()
        usages = _pipeline(stage, env)
        seconds += time.monotonic() - started
        cpu += sum(u.ru_utime + u.ru_stime for u in usages)
        peak = max(peak, sum(u.ru_maxrss for u in usages) * 1024 / MIB)
    return {"seconds": seconds, "cpu": cpu, "peak": peak}


def _pipeline(commands, env):
    children, usages = [], []
    with tempfile.TemporaryFile() as errors:
        try:
            source = subprocess.DEVNULL
            for i, command in enumerate(commands):
                last = i == len(commands) - 1
                child = subprocess.Popen(command, env=env, stdin=source, stderr=errors,
                                         stdout=subprocess.DEVNULL if last else subprocess.PIPE)
                # Only the child may hold the pipe, or its neighbour would never see the end.
                if source is not subprocess.DEVNULL:
                    source.close()
                children.append(child)
                source = child.stdout
            for child in children:
                # wait4 tells what this child used, and those that it waited for.
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
                usages.append(usage)
        finally:
            for child in children:
                if child.returncode is None:
                    child.kill()
                    child.wait()
        for child in children:
            if child.returncode != 0:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()[-2000:]
                raise Failed(f"{child.args[0]} ended with {child.returncode}: {said}")
    return usages


def memory_floor():
    """MiB that every measured process shows at least: what it shared with this one before it became its program."""
    return run([[["true"]]])["peak"]


def size(path, without=()):
    """Bytes of a folder as `du -sb` counts them, without some folders in it."""
    left_out = [f"--exclude={os.path.join(path, name)}" for name in without]
    return int(subprocess.run(["du", "-sb", *left_out, path], check=True, capture_output=True, text=True).stdout.split()[0])


def machine(root):
    """What figures depend on, as (name, value)."""
    def line(path, key):
        with open(path) as file:
            return next((l.split(":", 1)[1].strip() for l in file if l.startswith(key)), "?")

    load = os.getloadavg()[0]
    disk = subprocess.run(["stat", "-f", "-c", "%T", root], capture_output=True, text=True).stdout.strip()
    return [
        ("processors", f"{len(os.sched_getaffinity(0))} × {line('/proc/cpuinfo', 'model name')}"),
        ("memory", f"{int(line('/proc/meminfo', 'MemTotal').split()[0]) * 1024 / GIB:.0f} GiB"),
        ("kernel, file system", f"Linux {os.uname().release}, {disk}"),
        ("load before the first run", f"{load:.2f}" + (" (others use this machine: the figures mean little)" if load > 0.5 else "")),
    ]


@contextlib.contextmanager
def scratch(bytes_needed):
    """A folder that is gone at the end, however that comes about. BENCH_DIR says where; else where temporary files go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = os.environ.get("BENCH_DIR") or tempfile.gettempdir()
    os.makedirs(place, exist_ok=True)
    free = shutil.disk_usage(place).free
    if free < bytes_needed:
        raise SystemExit(f"{bytes_needed / GIB:.0f} GiB of free disk are needed, {free / GIB:.0f} are there; BENCH_DIR names another place")
    root = tempfile.mkdtemp(prefix="capsule-bench-", dir=place)
    try:
        yield root
    finally:
        note("removing what was written ...")
        subprocess.run(["rm", "-rf", root], check=False)


def note(text):
    print(text, file=sys.stderr, flush=True)


def warm(path):
    """Reads everything under a path, so that no tool is the one to fetch it from the disk."""
    run([[["tar", "-c", "-C", os.path.dirname(path), os.path.basename(path)], ["cat"]]])


def empty(path):
    """Gives back the room of a tree, and keeps its files with nothing in them.

    ext4 does not use the numbers of deleted files again for a while, and looks past them one by one: after many are
    deleted, creating files is up to ten times slower for minutes. So nothing is deleted until all is measured.
    """
    subprocess.run(["find", path, "-type", "f", "-size", "+0", "-exec", "truncate", "--no-create", "-s", "0", "{}", "+"],
                   stderr=subprocess.DEVNULL, check=False)


def difference(tree, copy):
    """None if a copy has the files of a tree, else the first differences.

    Not looked at is what is capsule's own: the list that it does not pack, and the manifest, which it writes in its way.
    """
    found = subprocess.run(["diff", "-rq", "--no-dereference", "-x", ".capsuleallow", "-x", "capsule.json", tree, copy],
                           capture_output=True, text=True)
    return None if found.returncode == 0 else (found.stdout + found.stderr)[:500]
