"""A disk that may lose its power: what was asked of it, what is durable, and what may be left.

The model is harsher than a file system with a journal:

- Of the data of a file that was not flushed, each sector has any of the contents that it had since, on its own.
- The size of a file is any that it had since; what was never written in between is zeros.
- The names in a folder (creation, link, rename, removal) are lost each on its own, unless the folder was flushed; only
  what was done to one name keeps its order. To flush a file does not flush its name.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from tests.power.trace import Call

SECTOR = 512
_IGNORED = ("fcntl", "lseek", "mmap")  # those that matter are handled; a mapping of -shm is not looked at


class Keep(msgspec.Struct, frozen=True):
    """What of the unflushed is kept: the number of each choice, out of so many, 0 the oldest."""

    name: Callable[[], bool]
    size: Callable[[int], int]
    sector: Callable[[int], int]


class _Version(msgspec.Struct, frozen=True):
    since: int  # the operation that made it; 0: durable
    content: bytes


class File:
    """The content of one file: what is durable, and what each operation since made of it."""

    def __init__(self, name: str = "") -> None:
        self.matters = not name.endswith("-shm")  # SQLite makes it anew where nobody has it open: it may be anything
        self.now = bytearray()
        self._durable = b""
        self._sizes = [0]
        self._cuts: list[tuple[int, int]] = []  # operation, size
        self._sectors: dict[int, list[_Version]] = {}

    def write(self, offset: int, content: bytes) -> None:
        """Write *content* at *offset*."""
        end = offset + len(content)
        if len(self.now) < end:
            self.now.extend(bytes(end - len(self.now)))
        self.now[offset:end] = content
        self._sizes.append(len(self.now))
        for number in range(offset // SECTOR, -(-end // SECTOR)):
            self._remember(number)

    def resize(self, size: int) -> None:
        """Cut the file, or extend it with zeros."""
        if size < len(self.now):
            self._cuts.append((len(self._sizes), size))
        self.now = self.now[:size].ljust(size, b"\0")
        self._sizes.append(size)

    def _remember(self, number: int) -> None:
        place = number * SECTOR
        version = _Version(len(self._sizes) - 1, bytes(self.now[place : place + SECTOR]).ljust(SECTOR, b"\0"))
        self._sectors.setdefault(number, []).append(version)

    def flush(self) -> None:
        """Make all of it durable."""
        self._durable, self._sizes, self._cuts, self._sectors = bytes(self.now), [len(self.now)], [], {}

    def left(self, keep: Keep) -> bytes:
        """Return a content that may be left."""
        operation = keep.size(len(self._sizes))
        size = self._sizes[operation]
        left = bytearray(self._durable[:size].ljust(size, b"\0"))
        for cut, at in self._cuts:
            if cut <= operation:
                left[at:] = bytes(max(0, size - at))
        for number, versions in self._sectors.items():
            place = number * SECTOR
            if place < size:
                after = [v for v in versions if all(v.since > cut or cut > operation for cut, _ in self._cuts)]
                chosen = keep.sector(len(after) + 1)
                if chosen:
                    part = after[chosen - 1].content[: size - place]
                    left[place : place + len(part)] = part
        return bytes(left)


class Folder:
    """The names in one folder: those that are durable, and the changes since."""

    def __init__(self) -> None:
        self.now: dict[str, File | Folder] = {}
        self._durable: dict[str, File | Folder] = {}
        self._changes: list[dict[str, File | Folder | None]] = []

    def change(self, change: dict[str, File | Folder | None]) -> None:
        """Let names mean other files, or nothing; all of *change* or none of it becomes durable."""
        _apply(self.now, change)
        self._changes.append(change)

    def flush(self) -> None:
        """Make the names durable."""
        self._durable, self._changes = dict(self.now), []

    def left(self, keep: Keep) -> dict[str, File | Folder]:
        """Return names that may be left."""
        names, lost = dict(self._durable), set[str]()
        for change in self._changes:
            if lost.isdisjoint(change) and keep.name():
                _apply(names, change)
            else:
                lost |= change.keys()
        return names


def _apply(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, target in change.items():
        if target is None:
            names.pop(name, None)
        else:
            names[name] = target


class _Opened(msgspec.Struct):
    target: File | Folder
    place: int = 0
    appends: bool = False


class Disk:
    """A folder that was empty and durable, and what the calls of a process make of it.

    *flushes* says whether a call (`fsync`, or SQLite's `fdatasync`) does anything to a file or folder.
    """

    def __init__(self, root: Path, flushes: Callable[[str, File | Folder], bool] = lambda *_: True) -> None:
        self._root = root
        self._flushes = flushes
        self.top = Folder()
        self._opened: dict[int, _Opened] = {}

    def do(self, call: Call) -> bool:
        """Do what *call* did; return whether it may change what is left after a loss of power."""
        method = getattr(self, f"_{call.name}", None)
        if method is None:
            if call.name in _IGNORED or not any(self._inside(a) for a in call.args if isinstance(a, bytes)):
                return False
            raise AssertionError(f"the model knows no {call.name}")
        return bool(method(*call.args, result=call.result))

    def _inside(self, path: bytes) -> bool:
        return Path(os.fsdecode(path)).is_relative_to(self._root)

    def _find(self, path: str | bytes) -> tuple[Folder, str] | None:
        """Return the folder that holds *path*, and its name there; None if it lies elsewhere."""
        assert isinstance(path, bytes)
        full = self._root / os.fsdecode(path)  # the process was started there
        if not full.is_relative_to(self._root) or full == self._root:
            return None
        folder = self.top
        for part in full.relative_to(self._root).parts[:-1]:
            inner = folder.now.get(part)
            if not isinstance(inner, Folder):
                return None
            folder = inner
        return folder, full.name

    # ------------------------------------------------------------ descriptors

    def _openat(self, _: str, path: bytes, flags: str, *__: str, result: int) -> bool:
        self._opened.pop(result, None)
        if Path(os.fsdecode(path)) == self._root:
            self._opened[result] = _Opened(self.top)
            return False
        place = self._find(path)
        if place is None:
            return False
        folder, name = place
        target = folder.now.get(name)
        created = target is None
        if target is None:
            if "O_CREAT" not in flags:
                return False  # made by another process
            target = File(name)
            folder.change({name: target})
        if "O_TRUNC" in flags and isinstance(target, File):
            target.resize(0)
        self._opened[result] = _Opened(target, appends="O_APPEND" in flags)
        return created

    def _close(self, descriptor: str, result: int) -> bool:
        self._opened.pop(int(descriptor), None)
        return False

    def _write(self, descriptor: str, content: bytes, _: str, *, result: int) -> bool:
        opened = self._opened.get(int(descriptor))
        if opened is None or not isinstance(opened.target, File):
            return False
        offset = len(opened.target.now) if opened.appends else opened.place
        opened.target.write(offset, content[:result])
        opened.place = offset + result
        return True

    def _pwrite64(self, descriptor: str, content: bytes, _: str, offset: str, *, result: int) -> bool:
        opened = self._opened.get(int(descriptor))
        if opened is None or not isinstance(opened.target, File):
            return False
        opened.target.write(int(offset), content[:result])
        return opened.target.matters

    def _ftruncate(self, descriptor: str, size: str, *, result: int) -> bool:
        opened = self._opened.get(int(descriptor))
        if opened is None or not isinstance(opened.target, File):
            return False
        opened.target.resize(int(size))
        return opened.target.matters

    def _truncate(self, path: bytes, size: str, *, result: int) -> bool:
        place = self._find(path)
        if place is None:
            return False
        target = place[0].now[place[1]]
        assert isinstance(target, File)
        target.resize(int(size))
        return True

    def _fsync(self, descriptor: str, *, result: int) -> bool:
        return self._flush("fsync", descriptor)

    def _fdatasync(self, descriptor: str, *, result: int) -> bool:
        return self._flush("fdatasync", descriptor)

    def _flush(self, call: str, descriptor: str) -> bool:
        opened = self._opened.get(int(descriptor))
        if opened is None:
            return False
        if self._flushes(call, opened.target):
            opened.target.flush()
        return True

    # ------------------------------------------------------------ names

    def _link(self, source: bytes, target: bytes, *, result: int) -> bool:
        old, new = self._find(source), self._find(target)
        if old is None or new is None:
            return False
        new[0].change({new[1]: old[0].now[old[1]]})
        return True

    def _linkat(self, _: str, source: bytes, __: str, target: bytes, ___: str, *, result: int) -> bool:
        return self._link(source, target, result=result)

    def _unlink(self, path: bytes, *, result: int) -> bool:
        place = self._find(path)
        if place is None or place[1] not in place[0].now:
            return False
        place[0].change({place[1]: None})
        return True

    _rmdir = _unlink

    def _rename(self, source: bytes, target: bytes, *, result: int) -> bool:
        old, new = self._find(source), self._find(target)
        if old is None or new is None:
            return False
        assert old[0] is new[0], "a name that moves to another folder"
        old[0].change({old[1]: None, new[1]: old[0].now[old[1]]})
        return True

    def _mkdir(self, path: bytes, _: str, *, result: int) -> bool:
        place = self._find(path)
        if place is None:
            return False
        place[0].change({place[1]: Folder()})
        return True

    def content(self, name: str) -> bytes:
        """Return what a file at the top holds for those who read it now."""
        file = self.top.now[name]
        assert isinstance(file, File)
        return bytes(file.now)


# ---------------------------------------------------------------- what may be left


Left: TypeAlias = dict[str, bytes | str | None]  # by path: a content, the path of the same file, or a folder


def left(folder: Folder, keep: Keep) -> Left:
    """Return what may be left of *folder*."""
    files: Left = {}
    _collect(folder, keep, "", files, {})
    return files


def _collect(folder: Folder, keep: Keep, above: str, files: Left, paths: dict[int, str]) -> None:
    for name, entry in folder.left(keep).items():
        path = f"{above}{name}"
        if isinstance(entry, Folder):
            files[path] = None
            _collect(entry, keep, f"{path}/", files, paths)
        elif id(entry) in paths:
            files[path] = paths[id(entry)]
        else:
            files[path], paths[id(entry)] = entry.left(keep), path


def put(files: Left, target: Path) -> None:
    """Write *files* into the folder *target*."""
    for name, content in files.items():
        match content:
            case None:
                (target / name).mkdir()
            case str():
                (target / name).hardlink_to(target / content)
            case bytes():
                (target / name).write_bytes(content)


def everything() -> Keep:
    """Keep what was asked."""
    return Keep(lambda: True, lambda n: n - 1, lambda n: n - 1)


def extremes() -> list[Keep]:
    """Keep nothing, names, names and sizes, data without names, and all."""
    return [
        Keep(lambda: False, lambda n: 0, lambda n: 0),
        Keep(lambda: True, lambda n: 0, lambda n: 0),
        Keep(lambda: True, lambda n: n - 1, lambda n: 0),
        Keep(lambda: False, lambda n: n - 1, lambda n: n - 1),
        everything(),
    ]


def at_random(chance: random.Random) -> Keep:
    """Keep of names, sizes and sectors what *chance* says: few, half or most of them."""
    names, newest = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0)), chance.choice((0.1, 0.5, 0.9))

    def version(count: int) -> int:
        return count - 1 if chance.random() < newest else chance.randrange(count)

    return Keep(lambda: chance.random() < names, version, version)


def states(count: int, seed: str) -> Sequence[Keep]:
    """Return the extremes and *count* states at random, always the same for one *seed*."""
    return [*extremes(), *(at_random(random.Random(f"{seed}:{number}")) for number in range(count))]
