"""What a process asked of the file system, in order, as strace saw it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

CALLS = (
    "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,"
    "fallocate,copy_file_range,sendfile,fsync,fdatasync,sync,syncfs,sync_file_range,link,linkat,unlink,unlinkat,"
    "rename,renameat,renameat2,mkdir,mkdirat,rmdir,symlink,symlinkat,mmap,chdir"
)
_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+)(?: .*)?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Call(msgspec.Struct, frozen=True):
    """One system call that succeeded: its name, its arguments (text and data as bytes), and its result."""

    name: str
    args: tuple[str | bytes, ...]
    result: int


def why_not() -> str | None:
    """Return why no process can be traced here, None if one can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace): no state of a disk can be rebuilt"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace cannot trace here: {done.stderr.strip()}"


def trace(command: Sequence[str], folder: Path, target: Path) -> list[Call]:
    """Run *command* in *folder*; return the calls of its first thread, written to *target* by strace."""
    options = ["-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(target)]
    done = subprocess.run(["strace", *options, *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout[-2000:] + done.stderr[-2000:])
    return list(_calls(target.read_text()))


def _calls(text: str) -> Iterator[Call]:
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[3].startswith("-"):
            continue  # it failed, or is the end of the process
        arguments = tuple(map(_argument, match[2].split(", ")))
        yield Call(match[1], arguments, int(match[3], 0))


def _argument(text: str) -> str | bytes:
    match = _TEXT.fullmatch(text)
    return text if match is None else bytes.fromhex(match[1].replace("\\x", ""))
