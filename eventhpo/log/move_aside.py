"""Start over: what lies at a log's name is moved to another name next to it, and nothing is deleted.

A move takes several renames. A marker file says that they are under way, so a move that was
killed is completed by the next one, under the same name.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from eventhpo.errors import StorageFailed, Usage
from eventhpo.log import filesystem, lease, paths, refusal
from eventhpo.log.lease import Holder

MARKER = ".moving"  # at the end of a new name whose files are not all there yet


def move_aside(path: Path, holder: Holder) -> Path | None:
    """Move the log at *path* and all that lies next to it to a free name; return that, None if nothing is there.

    `search.db` becomes `search.old-1.db`, `search.old-2.db` and so on. The log at the new name is whole: it can
    be read and resumed.

    Raises:
        Busy: a controller holds the log.
        StorageFailed: the file system refused.
    """
    paths.refuse_name(path)
    real = path.resolve()
    if not any(old.exists() for old in _names(real)) and _under_way(real) is None:
        return None
    held = lease.acquire(path, holder, patience=0)
    try:
        target = _under_way(real) or _free(real)
        _marker(target).touch()
        filesystem.sync_folder(real.parent)
        for old, new in zip(_names(real), _names(target), strict=True):
            if old.exists():
                if new.exists():
                    raise Usage(f"{old} cannot be moved aside: {new} is there; move one of them yourself")
                old.rename(new)
        filesystem.sync_folder(real.parent)
        _marker(target).unlink()
    except OSError as error:
        raise StorageFailed(f"{path} cannot be moved aside: {error.filename}: {refusal.why(error, path)}") from error
    finally:
        held.release()
    return path.with_name(target.name)


def _names(path: Path) -> list[Path]:
    """Return the files and folders of the log at *path*, in the order in which they are moved: the log itself last.

    The lock file stays: it is held meanwhile, says nothing, and serves the next log of that name.
    """
    beside = (paths.requests, paths.jobs, paths.head, paths.journal, paths.shm, paths.wal)
    return [*(name(path) for name in beside), path]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.old-{number}{path.suffix}")


def _marker(target: Path) -> Path:
    return target.with_name(target.name + MARKER)


def _free(path: Path) -> Path:
    """Return the first numbered name of which nothing is there."""
    numbered = (_numbered(path, number) for number in count(1))
    return next(target for target in numbered if not any(name.exists() for name in _names(target)))


def _under_way(path: Path) -> Path | None:
    """Return the new name of a move that was not completed, None if there is none."""
    markers = sorted(path.parent.glob(f"*.old-*{MARKER}"))
    targets = [marker.with_name(marker.name.removesuffix(MARKER)) for marker in markers]
    numbers = [target for target in targets if _is_numbered(path, target)]
    return numbers[0] if numbers else None


def _is_numbered(path: Path, target: Path) -> bool:
    number = target.name.removeprefix(f"{path.stem}.old-").removesuffix(path.suffix)
    return number.isascii() and number.isdigit() and target == _numbered(path, int(number))
