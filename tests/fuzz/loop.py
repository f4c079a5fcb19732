"""Logs from strangers, made by hypothesis: every reading command ends in a line, and does nothing but read.

    python -m tests.fuzz.loop rows --examples 5000

Examples are derandomized: the same number gives the same logs. With --plant a fault is planted, which must be caught.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import json
import os
import resource
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eventhpo.cli import main
from eventhpo.core.fold.codec import GENESIS, chain
from eventhpo.log.sql import SCHEMA

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
COMMANDS = [("status",), ("top",), ("events",), ("verify",), ("postmortem",), ("explain", "1")]
FORBIDDEN = ("subprocess.", "os.exec", "os.fork", "os.system", "os.posix_spawn", "os.spawn", "socket.")
OURS = ("eventhpo", "replay", "encodings")
WRITABLE = (tempfile.gettempdir(), os.devnull)
MEMORY, PROCESSOR = 4 << 30, 3_600  # bytes, seconds: neither may be reached


class Forbidden(BaseException):
    """A reading command did what a reader of a stranger's file must not do; no handler of Exception hides it."""


class Guard:
    """An audit hook that lets nothing be run, connected or imported, or written outside one folder, while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._look)

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        imported = event == "import" and args[0].partition(".")[0] not in OURS and args[0] not in sys.modules
        written = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        loaded = event == "ctypes.dlopen" and args[0] and not str(args[0]).startswith(sys.prefix)  # the BLAS is asked
        if imported or loaded or event.startswith(FORBIDDEN) or (written and not str(args[0]).startswith(WRITABLE)):
            self.seen.append(f"{event} {args!r:.200}")
            raise Forbidden(self.seen[-1])

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False


# ---------------------------------------------------------------- the examples

NUMBERS = [0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**300, 1e308, -0.5]
TEXTS = ["", "nan", "inf", "\x1b[2J", "<script>", "x" * 10_000, "\ud7ff", "9" * 5_000, "General/lr"]
OTHERS = [None, True, [], {}, [[]], [1] * 1_000, {"a": {"a": {}}}, [0, 1], [None]]
ABSURD = st.sampled_from([*NUMBERS, *TEXTS, *OTHERS])
SHARE = st.floats(0, 1, exclude_max=True)
SCHEMAS = st.sampled_from(
    [
        "ALTER TABLE event RENAME TO rows_of_it",
        "CREATE VIEW event AS SELECT * FROM rows_of_it",
        "CREATE TABLE event(seq, at, epoch, cause, type, v, body, hash)",
        "CREATE VIRTUAL TABLE event USING fts5(seq, at, epoch, cause, type, v, body, hash)",
        "CREATE TRIGGER theirs AFTER INSERT ON event BEGIN SELECT 1; END",
        "CREATE INDEX theirs ON event(body)",
        "ALTER TABLE event ADD COLUMN more AS (hex(zeroblob(100000)))",
        "DROP TABLE lease",
        "DELETE FROM lease",
        "UPDATE lease SET holder = zeroblob(1000)",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 0",
        "PRAGMA journal_mode = WAL",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE event(seq)' WHERE name = 'event'",
        "UPDATE sqlite_schema SET rootpage = 1 WHERE name = 'event'",
        "CREATE VIEW sqlite AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
    ]
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value in *value*, a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inner for place in _places(item, (*at, key)))]


def _changed(document: Any, share: float, value: Any, remove: bool) -> Any:
    places = _places(document)[1:]
    if not places:
        return value
    *before, last = places[int(share * len(places))]
    at = document
    for key in before:
        at = at[key]
    if remove:
        del at[last]
    else:
        at[last] = value
    return document


def _rows(log: Path, data: st.DataObject) -> None:
    db = sqlite3.connect(log)
    for name in ("event_is_not_updated", "event_is_not_deleted", "event_is_appended"):
        db.execute(f"DROP TRIGGER {name}")
    rows = [list(row) for row in db.execute("SELECT seq, at, epoch, cause, type, v, body FROM event ORDER BY seq")]
    for _ in range(data.draw(st.integers(1, 3))):
        place = int(data.draw(SHARE) * len(rows))
        row = rows[place]
        match data.draw(st.integers(0, 5)):
            case 0:
                rows.insert(place, copy.deepcopy(row))
            case 1:
                row[1], row[2] = data.draw(st.integers(-(2**63), 2**63 - 1)), data.draw(st.integers(0, 2**63 - 1))
            case 2:
                row[4] = rows[int(data.draw(SHARE) * len(rows))][4]
            case 3:
                row[3] = data.draw(st.none() | st.integers(1, max(1, place)))
            case _:
                row[6] = json.dumps(
                    _changed(
                        json.loads(row[6]), data.draw(SHARE), copy.deepcopy(data.draw(ABSURD)), data.draw(st.booleans())
                    )
                )
    db.execute("DELETE FROM event")
    before = GENESIS.hash
    for seq, (_, at, epoch, cause, name, version, body) in enumerate(rows, 1):
        cause = cause if cause is None or cause < seq else None  # noqa: PLW2901  the table allows no other
        before = chain(before, seq, at, epoch, cause, name, version, body)
        db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (seq, at, epoch, cause, name, version, body, before)
        )
    for name in ("event_is_not_updated", "event_is_not_deleted", "event_is_appended"):
        db.execute(SCHEMA[name])
    db.commit()
    db.close()


def _schema(log: Path, data: st.DataObject) -> None:
    db = sqlite3.connect(log, isolation_level=None)
    db.execute("PRAGMA writable_schema=ON")
    for statement in data.draw(st.lists(SCHEMAS, min_size=1, max_size=4)):
        with contextlib.suppress(sqlite3.Error):
            db.execute(statement)
    with contextlib.suppress(sqlite3.Error):
        db.close()


def _files(log: Path, data: st.DataObject) -> None:
    content = bytearray(log.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        place = int(data.draw(SHARE) * len(content))
        piece = data.draw(st.binary(min_size=1, max_size=64))
        content[place : place + len(piece)] = piece
    if data.draw(st.booleans()):
        del content[int(data.draw(SHARE) * len(content)) + 1 :]
    log.write_bytes(content)
    for suffix in data.draw(
        st.lists(st.sampled_from([".head", ".lock", "-wal", "-shm", "-journal", ".sig"]), unique=True)
    ):
        kind = data.draw(st.integers(0, 2))
        beside = log.with_name(log.name + suffix)
        beside.write_bytes(bytes(content[: 32 + kind * 4096]) if kind else data.draw(st.binary(max_size=200)))


KINDS: dict[str, Callable[[Path, st.DataObject], None]] = {"rows": _rows, "schema": _schema, "files": _files}


# ---------------------------------------------------------------- what must hold


def _provable(log: Path) -> list[tuple[Any, ...]] | None:
    """Return the rows that the chain proves, None if SQLite cannot say."""
    db = sqlite3.connect(f"file:{log}?mode=ro&immutable=1", uri=True)
    rows, before = [], GENESIS.hash
    try:
        made = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'event' AND type = 'table'").fetchone()
        if made is None or " ".join(made[0].split()) != " ".join(SCHEMA["event"].split()):
            return None
        query = "SELECT seq, at, epoch, cause, type, v, body, hash FROM event ORDER BY seq"
        for row in db.execute(query):
            before = chain(before, *row[:7])
            if (row[0], row[7]) != (len(rows) + 1, before):
                break
            rows.append(row)
    except (sqlite3.Error, UnicodeError):
        return None
    finally:
        db.close()
    return rows


def _require(held: bool, what: str) -> None:
    if not held:
        raise AssertionError(what)


def _content(folder: Path) -> dict[str, bytes]:
    """Return the content of each file; the index of a write-ahead log is SQLite's, which locks and rebuilds it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def check(log: Path, guard: Guard) -> None:
    """Return if every reading command ends well on *log*, and `salvage` keeps all that the chain proves."""
    beside = _content(log.parent)
    for words in COMMANDS:
        with guard.watching():
            done = CliRunner().invoke(main, [words[0], str(log), *words[1:]])
        if isinstance(done.exception, BaseException) and not isinstance(done.exception, SystemExit):
            raise done.exception
        _require(done.exit_code in (0, 1, 2, 3), f"{words[0]} ended with {done.exit_code}: {done.output[-300:]}")
        _require(not any(sign in done.output for sign in "\x1b\x07"), f"{words[0]} printed an escape")
        now = _content(log.parent)
        wrote = sorted(name for name in beside.keys() | now.keys() if beside.get(name) != now.get(name))
        _require(not wrote, f"{words[0]} wrote {', '.join(wrote)}")
    rows = _provable(log) if not any(log.with_name(log.name + end).exists() for end in ("-wal", "-journal")) else None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "copy.db"
        done = CliRunner().invoke(main, ["salvage", str(log), str(target)])
        if isinstance(done.exception, BaseException) and not isinstance(done.exception, SystemExit):
            raise done.exception
        if rows and rows[0][4] == "SearchCreated" and target.exists():
            _require(_provable(target) == rows, f"salvage kept {len(_provable(target) or [])} of {len(rows)} rows")


def _plant(what: str) -> None:
    """Make a reading command do what it must not."""
    from eventhpo.log import chain as rows

    decoded = rows.decoded

    def fault(stored: Any) -> Iterator[Any]:
        for recorded in decoded(stored):
            if what == "crash" and recorded.at % 7 == 3:
                raise RuntimeError("planted")
            if what == "run" and recorded.seq == 3:
                os.system("true")  # noqa: S605
            if what == "import" and recorded.seq == 3:
                import this  # noqa: F401
            yield recorded

    rows.decoded = fault


def run(kind: str, examples: int, planted: str | None = None) -> None:
    """Check *examples* logs of one *kind*."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    guard = Guard()
    originals = [path.read_bytes() for path in sorted(LOGS.glob("*.db"), key=lambda path: path.stat().st_size)[:4]]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "s.db").write_bytes(originals[0])
        for words in COMMANDS:  # what they import, they have imported
            CliRunner().invoke(main, [words[0], f"{folder}/s.db", *words[1:]])
        importlib.import_module("eventhpo.cli.compiled_modules")  # what they import after an error
    if planted is not None:
        _plant(planted)

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def example(data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "s.db"
            log.write_bytes(data.draw(st.sampled_from(originals)))
            KINDS[kind](log, data)
            check(log, guard)

    example()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--plant", choices=("crash", "run", "import"))
    options = parser.parse_args()
    run(options.kind, options.examples, options.plant)
    sys.stdout.write(f"{options.examples} logs of kind {options.kind}: every reading command ended well\n")
