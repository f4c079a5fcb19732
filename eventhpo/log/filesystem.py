"""Which file systems a log may be written on, and how a folder is made durable."""

from __future__ import annotations

import os
import re
from pathlib import Path

from eventhpo.errors import Usage

MOUNTS = Path("/proc/self/mountinfo")

# Their locks or their shared memory are not what SQLite's write-ahead log and flock rest on.
_SHARED = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "fuseblk", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
))  # fmt: skip


def refuse_shared(path: Path, mounts: Path = MOUNTS) -> None:
    """Return if a log at *path* would lie on a local file system.

    Raises:
        Usage: the file system is a network's, a host's (9p, virtiofs) or FUSE.
    """
    if not mounts.exists():
        return  # no Linux: nothing is known about the mounts
    kind = kind_of(path.resolve().parent, mounts.read_text(errors="surrogateescape"))
    if kind in _SHARED or kind.startswith("fuse."):
        raise Usage(
            f"{path} would lie on {kind}, on which neither flock nor SQLite's write-ahead log can be trusted; "
            "keep the log on a local disk and copy it with `eventhpo backup`"
        )


def kind_of(folder: Path, mountinfo: str) -> str:
    """Return the type of the file system that *folder* lies on; "" if no mount covers it."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescape(before.split(" ")[4]))
        # The later of two mounts at one point covers the earlier one.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _unescape(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make the content of *path* durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
