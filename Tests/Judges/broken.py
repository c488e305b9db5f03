"""Writes broken and hostile `.caps` files and OCI layouts into a folder: broken.py DIR

Each is wrong in one way, which its name says, and sealed so that nothing else is: see capswriter.py. DIR/expected.json has for
each file {"codes": […], "class": "…", "why": "…"}: the error codes that docs/formats and docs/errors.md allow. Files of the
class `honest` have no codes: they are whole, and show that the writer is not what a reader finds fault with. The same files
come out each time; those with large content go through the zstd command, whose version decides about their frames.

The cases are in broken_container.py, broken_documents.py, broken_evidence.py, broken_tree.py and broken_sizes.py.
"""
import json
import pathlib
import shutil
import sys

import broken_container
import broken_documents
import broken_evidence
import broken_sizes
import broken_tree

MODULES = (broken_container, broken_documents, broken_evidence, broken_tree, broken_sizes)


def cases():
    for module in MODULES:
        for kind, rows in module.CASES.items():
            for name, codes, why, make in rows:
                yield name, codes.split(), kind, why, make


def write(folder, only=""):
    """`make` gives the bytes of a file, or writes a layout where it is told to."""
    expected = {}
    for name, codes, kind, why, make in cases():
        file = name if kind in broken_container.LAYOUTS else name + ".caps"
        assert file not in expected, file
        expected[file] = {"codes": codes, "class": kind, "why": why}
        if not name.startswith(only):
            continue
        path = folder / file
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        if kind in broken_container.LAYOUTS:
            make(path)
        else:
            path.write_bytes(make())
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    return expected


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: broken.py DIR [BEGINNING OF THE NAMES TO WRITE]")
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    print(f"{len(write(target, *sys.argv[2:]))} files")
