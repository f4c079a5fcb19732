"""`eventhpo tables`: plain tables of a log, written anew or brought up to date, as a database and as CSV."""

from __future__ import annotations

import contextlib
import csv
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

import eventhpo
from eventhpo.views import csv_text
from replay.query import database
from replay.query.decisions import DecisionReader
from replay.query.table_rows import param_columns
from tests.cli.harness import COMMAND, invoke
from tests.query.conftest import GOLDEN_LOGS
from tests.report import logs

golden = pytest.mark.parametrize("log", GOLDEN_LOGS, ids=lambda log: log.stem)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Database]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield Database(connection)


def content(path: Path) -> dict[str, Any]:
    """Return the columns and rows of all tables and views."""
    with opened(path) as db:
        names = [*database.TABLES, *database.VIEWS]
        return {
            name: (db.table(name).columns_dict if name in database.TABLES else None, rows(db, name)) for name in names
        }


def rows(db: Database, name: str) -> list[str]:
    return sorted(repr(row) for row in db.query(f'select * from "{name}"'))  # noqa: S608  a name of ours


def written(log: Path, target: Path, *words: object) -> None:
    result = invoke("tables", log, "-o", target, *words)
    assert result.exit_code == 0, result.output


@golden
def test_tables_that_are_brought_up_to_date_are_those_written_anew(log: Path, tmp_path: Path) -> None:
    last = eventhpo.load(log).seq
    written(log, tmp_path / "anew.db")
    for seq in {1, 2, last // 3, last // 2, last - 1, last}:
        target = tmp_path / f"{seq}.db"
        written(log, target, "--at", seq)
        written(log, target, "--update")
        assert content(target) == content(tmp_path / "anew.db")


def test_an_update_computes_the_verdicts_of_new_events_only(
    search_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seqs: list[int] = []
    asked = DecisionReader.decisions

    def noted(self: DecisionReader, state: Any, row: Any) -> Any:
        seqs.append(row.seq)
        return asked(self, state, row)

    written(search_log, tmp_path / "t.db", "--at", 200)
    monkeypatch.setattr(DecisionReader, "decisions", noted)
    written(search_log, tmp_path / "t.db", "--update")
    assert seqs[0] == 201


@golden
def test_the_leaderboard_is_top(log: Path, tmp_path: Path) -> None:
    written(log, tmp_path / "t.db")
    search = eventhpo.load(log)
    with opened(tmp_path / "t.db") as db:
        board = list(db.query("select * from leaderboard"))
        assert [row["trial"] for row in board] == [trial.number for trial in search.top()]
        columns = param_columns(search.parameters)
        for row, trial in zip(board, search.top(), strict=True):
            for name, value in trial.params.items():
                assert row[columns[name]] == value
                assert type(row[columns[name]]) in (type(value), int)  # a truth value is 0 or 1


def test_keys_indexes_and_full_text_search(search_log: Path, tmp_path: Path) -> None:
    written(search_log, tmp_path / "t.db")
    with opened(tmp_path / "t.db") as db:
        assert list(db.table("decisions").search("below median", limit=1))
        assert [r["trial"] for r in db.query("select trial from pruned_why")]
        for name, table in database.TABLES.items():
            pk = (table.pk,) if isinstance(table.pk, str) else table.pk
            assert tuple(db.table(name).pks) == pk
            assert {key.column for key in db.table(name).foreign_keys} == {c for c, *_ in table.references}
            assert len(db.table(name).indexes) >= len(table.indexes)
        assert list(db.execute("PRAGMA foreign_key_check")) == []
        assert list(db.execute("PRAGMA integrity_check")) == [("ok",)]


def test_the_search_row_says_up_to_which_event_the_tables_go(search_log: Path, tmp_path: Path) -> None:
    written(search_log, tmp_path / "t.db", "--at", 40)
    with opened(tmp_path / "t.db") as db:
        (row,) = db.table("search").rows
    assert (row["seq"], row["head"]) == (40, eventhpo.load(search_log).at(40).head)


@pytest.mark.parametrize("make", [*logs.ODD, logs.hostile])
def test_an_odd_log_has_tables_too(make, tmp_path: Path) -> None:
    log = make(tmp_path / "search.db")
    written(log, tmp_path / "t.db")
    written(log, tmp_path / "t.db", "--update")
    with opened(tmp_path / "t.db") as db:
        assert db.table("trials").count == len(eventhpo.load(log).trials)


def test_a_number_that_is_none_is_null_and_marked(tmp_path: Path) -> None:
    log = logs.not_numbers(tmp_path / "search.db")
    written(log, tmp_path / "t.db")
    with opened(tmp_path / "t.db") as db:
        values = list(db.query("select value, is_nan from metrics where iteration = 2"))
    assert {"value": None, "is_nan": 1} in values
    assert {"value": float("inf"), "is_nan": 0} in values
    assert {"value": float("-inf"), "is_nan": 0} in values


def test_names_that_sqlite_takes_for_the_same_get_columns_of_their_own() -> None:
    columns = param_columns(["lr", "LR", "trial", "", "Lr_2", 'a"b', "x\0y"])
    assert list(columns) == ["lr", "LR", "trial", "", "Lr_2", 'a"b', "x\0y"]
    assert len({column.lower() for column in columns.values()} | {"trial"}) == 8
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        table = Database(connection).table("t").create({"trial": int, **dict.fromkeys(columns.values(), bytes)})
        assert len(table.columns) == 8


def test_more_parameters_than_sqlite_has_columns_for(tmp_path: Path) -> None:
    columns = param_columns([f"p{n}" for n in range(5_000)])
    assert len(columns) < 2_000


# ---------------------------------------------------------------- refused, damaged, interrupted


def refused(*words: object) -> str:
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    return result.stderr


def test_tables_of_another_search_are_not_updated(search_log: Path, tmp_path: Path) -> None:
    other = next(log for log in GOLDEN_LOGS if log.stem == "clearml")
    written(other, tmp_path / "t.db")
    before = (tmp_path / "t.db").read_bytes()
    assert "tables of another search" in refused("tables", search_log, "-o", tmp_path / "t.db", "--update")
    assert (tmp_path / "t.db").read_bytes() == before


def test_tables_of_a_later_state_are_not_updated(search_log: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter.db"
    assert invoke("salvage", search_log, shorter).exit_code in (0, 1)
    written(search_log, tmp_path / "t.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as db:
        db.execute("update search set seq = seq + 1")
        db.commit()
    assert "that this log does not have" in refused("tables", search_log, "-o", tmp_path / "t.db", "--update")


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 100])
def test_a_file_that_has_no_tables_is_not_updated(search_log: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.db").write_bytes(content)
    result = invoke("tables", search_log, "-o", tmp_path / "t.db", "--update")
    assert result.exit_code in (2, 5)
    assert "t.db" in result.stderr
    assert (tmp_path / "t.db").read_bytes() == content


def test_neither_the_log_nor_another_log_is_written_over(search_log: Path, tmp_path: Path) -> None:
    log, other = Path(shutil.copy(search_log, tmp_path / "s.db")), logs.one_trial(tmp_path / "other.db")
    for target in (log, other, Path(f"{log}.head"), tmp_path):
        before = target.read_bytes() if target.is_file() else None
        for more in ((), ("--update",)):
            refused("tables", log, "-o", target, *more)
        assert before is None or target.read_bytes() == before


def test_a_report_is_not_written_over_another_log(search_log: Path, tmp_path: Path) -> None:
    other = logs.one_trial(tmp_path / "other.db")
    before = other.read_bytes()
    assert "is itself a log" in refused("report", search_log, "-o", other)
    assert other.read_bytes() == before


def test_update_goes_with_a_database_and_to_the_end_of_the_log(search_log: Path, tmp_path: Path) -> None:
    for words in (("--at", "3", "-o", tmp_path / "t.db"), ("--csv", tmp_path / "csv")):
        assert "--update brings a database" in refused("tables", search_log, "--update", *words)


def test_of_a_damaged_log_its_beginning_is_written_and_the_exit_code_is_3(search_log: Path, tmp_path: Path) -> None:
    log = Path(shutil.copy(search_log, tmp_path / "s.db"))
    with contextlib.closing(sqlite3.connect(log)) as db:
        db.execute("drop trigger event_is_not_updated")
        db.execute("update event set at = at + 1 where seq = 60")
        db.commit()
    result = invoke("tables", log, "-o", tmp_path / "t.db")
    assert result.exit_code == 3
    with opened(tmp_path / "t.db") as tables:
        assert next(iter(tables.table("search").rows))["seq"] == 59


def test_a_full_disk_leaves_what_was_there(search_log: Path, tmp_path: Path) -> None:
    written(search_log, tmp_path / "t.db", "--at", 20)
    before = content(tmp_path / "t.db")
    for more in ((), ("--update",)):
        done = subprocess.run(
            [*COMMAND, "tables", str(search_log), "-o", str(tmp_path / "t.db"), *more],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # Python keeps bytecode that was cut
            preexec_fn=lambda: (
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
            ),
        )
        assert done.returncode == 5, done.stderr
        assert "t.db cannot be written" in done.stderr
        assert content(tmp_path / "t.db") == before
        assert [path.name for path in tmp_path.iterdir()] == ["t.db"]


def test_an_update_that_is_killed_leaves_the_tables_as_they_were(search_log: Path, tmp_path: Path) -> None:
    written(search_log, tmp_path / "t.db", "--at", 20)
    before = content(tmp_path / "t.db")
    code = (
        "import os, signal\n"
        "from replay.query import database, table_rows\n"
        "def killed(search, after):\n"
        "    yield from ()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "database.TABLES['budget'] = __import__('msgspec').structs.replace(database.TABLES['budget'], rows=killed)\n"
        "from eventhpo.cli import main\n"
        f"main(['tables', {str(search_log)!r}, '-o', {str(tmp_path / 't.db')!r}, '--update'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    written(search_log, tmp_path / "after.db", "--at", 20)
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as db:
        db.execute("select count(*) from trials").fetchone()  # takes back what was half done
    assert content(tmp_path / "t.db") == before
    written(search_log, tmp_path / "t.db", "--update")
    written(search_log, tmp_path / "anew.db")
    assert content(tmp_path / "t.db") == content(tmp_path / "anew.db")


# ---------------------------------------------------------------- CSV


def test_csv_has_a_file_for_each_table_with_the_same_rows(search_log: Path, tmp_path: Path) -> None:
    written(search_log, tmp_path / "t.db")
    assert invoke("tables", search_log, "--csv", tmp_path / "csv").exit_code == 0
    assert sorted(path.stem for path in (tmp_path / "csv").iterdir()) == sorted(database.TABLES)
    with opened(tmp_path / "t.db") as db:
        for name in database.TABLES:
            with (tmp_path / "csv" / f"{name}.csv").open(newline="") as file:
                read = list(csv.DictReader(file))
            assert len(read) == db.table(name).count
            if read:
                assert list(read[0]) == [column.name for column in db.table(name).columns]
        with (tmp_path / "csv" / "metrics.csv").open(newline="") as file:
            values = [float(row["value"]) for row in csv.DictReader(file) if row["value"]]
        assert values == [row["value"] for row in db.query("select value from metrics where value is not null")]


def test_a_text_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path) -> None:
    cells = ["=1+1", "@x", "-1e3", "+a", -2.5, None, True, 'a,"b"\nc', "\tx"]
    assert csv_text.line(cells) == '\'=1+1,\'@x,-1e3,\'+a,-2.5,,true,"a,""b""\nc",\'\tx'


@pytest.mark.parametrize("words", [("top",), ("events",), ("prunes",), ("sql", "select * from trials")])
def test_commands_print_csv(search_log: Path, words: tuple[str, ...]) -> None:
    result = invoke(words[0], search_log, *words[1:], "--csv")
    assert result.exit_code == 0, result.output
    read = list(csv.DictReader(result.stdout.splitlines()))
    assert read
    assert {len(row) for row in read} == {len(read[0])}
    assert None not in read[0]
