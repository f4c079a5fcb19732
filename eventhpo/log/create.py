"""A log is born whole: under a temporary name, closed, then linked into place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import Event, Head, SearchCreated
from eventhpo.errors import StorageFailed, Usage
from eventhpo.log import filesystem, head, leftovers, paths, refusal, sql
from eventhpo.log.chain import row_of
from eventhpo.log.sql import StoredRow

_URL = re.compile(r"[a-z][a-z0-9+.-]*:/")  # a path has one of its slashes


def create(path: Path, event: SearchCreated, at: int, inputs: Sequence[Event] = ()) -> None:
    """Create the log of a new search with its first event and a user's *inputs* after it, or leave nothing.

    Raises:
        Usage: something of a search is there already, the file system is shared, the name
            cannot be that of a log, or the search holds what JSON cannot carry.
        StorageFailed: the file system refused.
    """
    rows: list[StoredRow] = []
    end = GENESIS
    for one in (event, *inputs):
        try:
            rows.append(row_of(one, end, at, 0, None))
        except (TypeError, ValueError, OverflowError) as error:
            raise Usage(f"{path} cannot be created: what the search says cannot be written as JSON: {error}") from error
        end = Head(rows[-1][0], rows[-1][7])
    with born_whole(path) as fresh:
        write_log(fresh, rows, 0)
    head.write_durable(path, event.search_id, end)


@contextlib.contextmanager
def born_whole(path: Path) -> Iterator[Path]:
    """Give the temporary name of an empty file to write a log into, and link it to *path* if the block ends well.

    Raises:
        Usage: something of a search is there already, or the file system is shared.
        StorageFailed: the file system refused.
    """
    leftovers.sweep_births(path)
    refuse_what_is_there(path)
    filesystem.refuse_shared(path)
    real = path.resolve()
    fresh = real.with_name(f"{real.name}.{os.urandom(4).hex()}{leftovers.BORN}")
    try:
        with leftovers.held(fresh):
            yield fresh
            filesystem.sync_file(fresh)
            os.link(fresh, real)
            filesystem.sync_folder(real.parent)
    except FileExistsError as error:
        raise _there(path, path) from error
    except OSError as error:
        hint = ": it needs a file system with hard links" if error.errno == errno.EPERM else ""
        raise StorageFailed(f"{path} cannot be created ({refusal.why(error, path)}){hint}") from error
    except sqlite3.Error as error:
        raise StorageFailed(f"{path} cannot be created ({refusal.why(error, fresh)})") from error
    finally:
        for made in (fresh, paths.journal(fresh)):
            if made.exists():  # a read-only file system refuses to remove even what is not there
                made.unlink(missing_ok=True)


def write_log(fresh: Path, rows: Iterable[StoredRow], epoch: int) -> None:
    """Write a closed log with *rows* into the empty file *fresh*, the lease free at *epoch*."""
    with contextlib.closing(sql.open_new(fresh)) as db:
        sql.begin_to_write(db)
        sql.create_schema(db)
        sql.append(db, rows)
        sql.set_lease(db, epoch, None)
        sql.commit(db)


def refuse_what_is_there(path: Path) -> None:
    """Return if nothing of another search lies where the log at *path* would.

    Raises:
        Usage: it does, or there is no such folder, or its name is too long or no UTF-8.
    """
    paths.refuse_name(path)
    real = path.resolve()
    if not real.parent.is_dir():
        hint = " (a log is named by a path, as study.db, and not by a URL)" if _URL.match(str(path)) else ""
        raise Usage(f"{path} cannot be created: there is no folder {real.parent}{hint}")
    # A journal would be played back into the new log, and what was asked of another search be taken for ours.
    asked = sorted(paths.requests(path).glob("*.json")) if _is_ours(paths.requests(path)) else []
    for found in (real, paths.wal(path), paths.journal(path), paths.head(path), paths.jobs(path), *asked):
        if found.exists():
            raise _there(path, path if found == real else found)


def _is_ours(folder: Path) -> bool:
    """Whether *folder* is of this user; the requests in one of another user count for nothing."""
    try:
        return folder.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _there(path: Path, found: Path) -> Usage:
    if found == path:
        return Usage(
            f"{path} exists already; go on with `eventhpo resume {path}`, choose another name, or "
            "move it aside with `eventhpo run --start-over`"
        )
    return Usage(
        f"{found} is left of another search, and {path} would inherit it; go on with `eventhpo resume {path}` "
        "if its log can be brought back, choose another name, or move it aside with `eventhpo run --start-over`"
    )
