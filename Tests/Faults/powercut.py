"""What a power cut leaves of a folder, from the record that faults.c made of one run.

The model is the strict reading of POSIX: bytes of a file are safe after fsync, fdatasync or syncfs of it; a name (made, renamed
or removed) is safe after fsync of a folder that it is in, or syncfs. A rename is one change: never half of it. What is not safe
may be lost or kept in any mixture; three of them are made:

  drop    everything that is not safe is lost
  names   all names are there, but bytes that were not synced are zeros (a rename that overtakes its file's data)
  mixed   a random part: the first so many changes of names, any of the unsynced writes, some of them half

From one record the state at every point of the run can be made, without running the program again. Assumed, not tested: a
synced write is whole, and O_SYNC is not used. A mode is taken to be safe as soon as it is set; owners and times are not followed.
"""
import os
import random
import stat


class File:
    def __init__(self, mode, data=b""):
        self.mode, self.safe, self.now, self.pending = mode, data, bytearray(data), []

    def put(self, change):
        self.pending.append(change)
        apply(self.now, change)

    def sync(self):
        if self.pending:
            self.safe, self.pending = bytes(self.now), []

    def after_cut(self, how, dice):
        if how == "drop" or not self.pending:
            return self.safe
        if how == "names":
            return (self.safe + bytes(max(0, len(self.now) - len(self.safe))))[:len(self.now)]
        out = bytearray(self.safe)
        for offset, data, length in self.pending:
            lot = dice.randrange(4)
            if lot == 0:
                continue
            apply(out, (offset, data[:len(data) // 2] if lot == 1 and data else data, length))
        return bytes(out)


def apply(data, change):
    """(offset, bytes, None) writes; (0, b"", length) cuts or lengthens."""
    offset, new, length = change
    if length is not None:
        if len(data) > length:
            del data[length:]
        data.extend(bytes(length - len(data)))
    elif new:
        data.extend(bytes(max(0, offset - len(data))))
        data[offset:offset + len(new)] = new


class Folder:
    def __init__(self, mode=0o755):
        self.mode, self.safe, self.now = mode, {}, {}


class Disk:
    def __init__(self, path, as_if):
        """Begins with what lies in `path`, all of it safe; the record names it by `as_if`."""
        self.top, self.path, self.changes = Folder(), as_if, []
        self.load(self.top, path)

    def load(self, folder, path):
        for entry in os.scandir(path):
            mode = entry.stat(follow_symlinks=False).st_mode & 0o7777
            if entry.is_symlink():
                node = os.readlink(entry.path)
            elif entry.is_dir():
                node = Folder(mode)
                self.load(node, entry.path)
            else:
                with open(entry.path, "rb") as file:
                    node = File(mode, file.read())
            folder.safe[entry.name] = folder.now[entry.name] = node

    def find(self, path):
        """The folder that a path is in, its name, and what has it; the top itself has the name None."""
        if path == self.path:
            return None, None, self.top
        *parents, name = path[len(self.path) + 1:].split("/")
        folder = self.top
        for parent in parents:
            folder = folder.now.get(parent)
            if not isinstance(folder, Folder):
                return None, None, None
        return folder, name, folder.now.get(name)

    def change(self, *steps):
        """Steps that happen together: (folder, name, what has the name from now on or None)."""
        self.changes.append(steps)
        rename(steps, lambda folder: folder.now)

    def sync_folder(self, folder):
        """Its changes become safe, and earlier ones of the folders that they also touch, so that order is kept."""
        touched, kept = {id(folder)}, []
        due = []
        for steps in reversed(self.changes):
            folders = {id(step[0]) for step in steps}
            if folders & touched:
                touched |= folders
                due.append(steps)
            else:
                kept.append(steps)
        for steps in reversed(due):
            rename(steps, lambda folder: folder.safe)
        self.changes = kept[::-1]

    def sync_all(self):
        for steps in self.changes:
            rename(steps, lambda folder: folder.safe)
        self.changes = []
        todo = [self.top]
        while todo:
            for node in todo.pop().now.values():
                if isinstance(node, Folder):
                    todo.append(node)
                elif isinstance(node, File):
                    node.sync()

    def take(self, op, path, to, offset, data):
        if op == "?":
            raise ValueError(f"{path} was changed by a call whose effect is not followed")
        if op == "a":
            return
        folder, name, node = self.find(path)
        if op == "c":
            self.change((folder, name, File(offset)))
        elif op == "m":
            self.change((folder, name, Folder(offset)))
        elif op == "n":
            self.change((folder, name, to))
        elif op == "u" and folder:
            self.change((folder, name, None))
        elif op in "rl":
            target, new = self.find(to)[:2]
            self.change(*([(folder, name, None)] if op == "r" else []), (target, new, node))
        elif op == "p" and isinstance(node, (File, Folder)):
            node.mode = offset
        elif op == "w" and isinstance(node, File):
            node.put((offset, data, None))
        elif op in "tg" and isinstance(node, File):
            node.put((0, b"", offset if op == "t" else max(offset, len(node.now))))
        elif op == "s" and isinstance(node, File):
            node.sync()
        elif op == "s" and isinstance(node, Folder):
            self.sync_folder(node)
        elif op == "y":
            self.sync_all()

    def differs(self, path):
        """Where a folder is not what the record makes of it. SQLite's -shm is written through memory, which no record has."""
        wrong = []

        def walk(folder, path):
            for name in sorted({*folder.now, *os.listdir(path)}):
                node, full = folder.now.get(name), f"{path}/{name}"
                if isinstance(node, Folder) and os.path.isdir(full) and not os.path.islink(full):
                    walk(node, full)
                elif os.path.islink(full) and node == os.readlink(full) or stat.S_ISSOCK(os.lstat(full).st_mode if os.path.lexists(full) else 0):
                    continue
                elif not isinstance(node, File) or not os.path.isfile(full):
                    wrong.append(full)
                elif not name.endswith("-shm"):
                    with open(full, "rb") as file:
                        if file.read() != node.now or os.stat(full).st_mode & 0o7777 != node.mode:
                            wrong.append(full)

        walk(self.top, path)
        return wrong

    def after_cut(self, how, seed=0):
        """{path below the top: (mode, bytes), or (mode, None) for a folder, or (None, target) for a link}"""
        dice = random.Random(seed)
        chosen = {"drop": [], "names": self.changes, "mixed": self.changes[:dice.randint(0, len(self.changes))]}[how]
        entries, out = {}, {}
        for steps in chosen:
            rename(steps, lambda folder: entries.setdefault(id(folder), dict(folder.safe)))

        def walk(folder, path):
            for name, node in sorted(entries.get(id(folder), folder.safe).items()):
                if isinstance(node, Folder):
                    out[path + name] = (node.mode, None)
                    walk(node, path + name + "/")
                else:
                    out[path + name] = (node.mode, node.after_cut(how, dice)) if isinstance(node, File) else (None, node)

        walk(self.top, "")
        return out


def rename(steps, names):
    for folder, name, node in steps:
        if node is None:
            names(folder).pop(name, None)
        else:
            names(folder)[name] = node


def read_record(path):
    """(point, op, path, to, offset, bytes) in the order in which they happened."""
    with open(path, "rb") as file:
        while line := file.readline():
            point, op, offset, path_length, to_length, length = line.split()
            yield (int(point), op.decode(), file.read(int(path_length)).decode(), file.read(int(to_length)).decode(), int(offset), file.read(int(length)))


def write(state, path):
    os.makedirs(path)
    for name, (mode, content) in state.items():
        if mode is None:
            os.symlink(content, f"{path}/{name}")
        elif content is None:
            os.mkdir(f"{path}/{name}")
        else:
            with open(f"{path}/{name}", "wb") as file:
                file.write(content)
        if mode is not None:
            os.chmod(f"{path}/{name}", mode)
