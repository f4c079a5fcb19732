"""One question in SQL, asked of the tables of a log: read-only, in memory."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlite_utils import Database

from eventhpo.errors import Usage
from replay.query.database import TABLES, VIEWS, build
from replay.query.loaded_search import LoadedSearch

_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_NO_FUNCTIONS = {"load_extension", "fts3_tokenizer"}
MOST_CHARACTERS = 100_000  # of a question
MOST_ROWS = 1_000_000  # of an answer
STEPS = 100_000  # of SQLite's machine between two looks for a signal: some milliseconds


class Answer(msgspec.Struct, frozen=True):
    """The names of the columns, and the rows; a name may come twice, as in any SQL answer."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def ask(search: LoadedSearch, question: str) -> Answer:
    """Return the answer to *question*, one SELECT over the tables of *search*.

    Only the tables that it reads are filled. What would write, attach a file or load code is refused.

    Raises:
        Usage: it is no SELECT, names something that is not there, or is wrong in another way.
    """
    if not question.strip():
        raise Usage("the question is empty; say a SELECT, such as: select * from leaderboard")
    if len(question) > MOST_CHARACTERS:
        raise Usage(f"the question has {len(question):,} characters, more than {MOST_CHARACTERS:,}")
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        build(Database(empty), search, only=())
        needed = _tables_read(empty, question)
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        build(Database(connection), search, only=needed)
        connection.set_authorizer(lambda action, name, *_: _authorized(action, name))
        connection.set_progress_handler(lambda: 0, STEPS)  # lets Ctrl-C end a question that takes long
        with _explained():
            cursor = connection.execute(question)
            if cursor.description is None:
                raise Usage("the question is no SELECT: the tables are only read")
            rows = cursor.fetchmany(MOST_ROWS + 1)
        if len(rows) > MOST_ROWS:
            raise Usage(f"the answer has more than {MOST_ROWS:,} rows; `eventhpo tables` writes them to a file")
        return Answer([column[0] for column in cursor.description], rows)


def _tables_read(empty: sqlite3.Connection, question: str) -> set[str]:
    """Return which tables *question* reads: SQLite names them when it prepares the statement."""
    names: set[str] = set()

    def note(action: int, name: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ and name is not None:
            names.add(name)
        return _authorized(action, name)

    empty.set_authorizer(note)
    with _explained():
        empty.execute(f"explain {question}")
    return names & TABLES.keys()


def _authorized(action: int, name: str | None) -> int:
    allowed = action in _READING and not (action == sqlite3.SQLITE_FUNCTION and name in _NO_FUNCTIONS)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say what is wrong with a question in its own words.

    Raises:
        Usage: SQLite refuses the question.
    """
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        if str(error) == "interrupted":
            raise KeyboardInterrupt from error
        if "not authorized" in str(error) or "prohibited" in str(error):
            raise Usage("the question does more than to read the tables; only SELECT is allowed") from error
        tables = ", ".join((*TABLES, *VIEWS))
        raise Usage(f"the question is wrong: {error}; there are the tables and views {tables}") from error


def columns_of(names: Sequence[str]) -> list[str]:
    """Return *names*, each only once: a name that comes again gets a number, so that a JSON object can hold all."""
    counted: dict[str, int] = {}
    unique = []
    for name in names:
        counted[name] = counted.get(name, 0) + 1
        unique.append(name if counted[name] == 1 else f"{name}_{counted[name]}")
    return unique
