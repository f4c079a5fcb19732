"""What explains, asks or tells of a log: as of any event, of verified rows alone, and of no other file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eventhpo.core.fold.events import JobPruned
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log.reader import read
from eventhpo.views.formatting import rfc3339
from replay import explain, rebuild, whatif
from tests.cli.harness import COMMAND, data, invoke

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs" / "rungs.db"
AS_OF = {
    "explain": lambda log, at: explain(log, 0, at).seq,
    "rebuild": lambda log, at: rebuild(log, at).head.seq,
    "whatif": lambda log, at: whatif(log, ["NopPruner"], at=at).seq,
}
COMMANDS = {
    "explain": ("explain", "{log}", 0),
    "whatif": ("whatif", "{log}", "--pruner", "NopPruner"),
    "postmortem": ("postmortem", "{log}"),
    "diff": ("diff", "{log}", "{log}"),
}


def call(name: str, log: Path, *words: object) -> tuple[object, ...]:
    return (*(log if word == "{log}" else word for word in COMMANDS[name]), *words)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log alone in its folder."""
    return Path(shutil.copy(GOLDEN, tmp_path / "search.db"))


@pytest.fixture
def altered(log: Path) -> tuple[Path, int]:
    """A log in which somebody changed a row and left its hash, and the seq of that row."""
    seq = next(row.seq for row in read(log).rows if isinstance(row.event, JobPruned))
    with sqlite3.connect(log) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE event SET at = at + 1 WHERE seq = ?", (seq,))
        for _, sql in triggers:
            db.execute(sql)
    db.close()
    return log, seq


# ---------------------------------------------------------------- as of an event


@pytest.mark.parametrize("command", ["explain", "whatif"])
def test_a_command_takes_a_time_as_it_takes_a_seq(log: Path, command: str) -> None:
    at = rfc3339(read(log).rows[59].at)
    by_time = invoke(*call(command, log, "--at", at, "--json"))
    assert by_time.exit_code == 0
    assert by_time.stdout == invoke(*call(command, log, "--at", 60, "--json")).stdout
    assert by_time.stderr == f"as of event 60 of 174, {at}\n"


@pytest.mark.parametrize("name", AS_OF)
def test_python_takes_a_seq_a_text_and_a_time(log: Path, name: str) -> None:
    at = datetime.fromtimestamp(read(log).rows[59].at / 1e6, UTC)
    assert {AS_OF[name](log, one) for one in (60, "60", at, at.isoformat())} == {60}


@pytest.mark.parametrize("name", AS_OF)
@pytest.mark.parametrize("at", [0, 175, "1999-01-01"])
def test_python_refuses_what_lies_outside_the_log(log: Path, name: str, at: int | str) -> None:
    with pytest.raises(Usage, match="lies outside the log"):
        AS_OF[name](log, at)


# ---------------------------------------------------------------- a damaged log


@pytest.mark.parametrize("command", COMMANDS)
def test_of_a_damaged_log_the_verified_beginning_is_told_and_the_exit_code_is_3(
    altered: tuple[Path, int], command: str
) -> None:
    log, seq = altered
    result = invoke(*call(command, log))
    assert result.exit_code == 3
    assert result.stdout
    assert f"the hash of seq {seq} is not that of its row" in result.stderr
    assert f"only its beginning is verified and shown, up to seq {seq - 1}" in result.stderr


def test_a_trial_that_only_the_damaged_part_has_is_no_mistake_of_the_caller(altered: tuple[Path, int]) -> None:
    log, seq = altered
    for words in ((12,), (0, "--at", 170)):
        result = invoke("explain", log, *words)
        assert (result.exit_code, result.stdout) == (3, "")
        assert f"the hash of seq {seq} is not that of its row" in result.stderr


@pytest.mark.parametrize("name", AS_OF)
def test_python_takes_no_damaged_log(altered: tuple[Path, int], name: str) -> None:
    with pytest.raises(DamagedLog, match="the hash of seq"):
        AS_OF[name](altered[0], 5)


# ---------------------------------------------------------------- no log


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()


WRONG: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "empty": Path.touch,
    "other bytes": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "another database": other_database,
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_no_log_is_said_to_be_none_in_one_sentence(tmp_path: Path, command: str, wrong: str) -> None:
    path = tmp_path / "search.db"
    WRONG[wrong](path)
    result = invoke(*call(command, path))
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count(str(path)) == 1
    assert result.stderr.endswith("is it the file that `eventhpo run --log` wrote?\n")
    assert "chain" not in result.stderr


# root reads everything, but for without these capabilities
AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(AS_A_USER) and shutil.which("setpriv") is None, reason="root without setpriv reads everything")
@pytest.mark.parametrize("command", ["replay", "explain", "whatif", "diff", "status"])
def test_a_log_that_this_user_may_not_read_is_a_matter_of_storage(log: Path, command: str) -> None:
    log.chmod(0)
    words = {"explain": [log, "0"], "diff": [log, log]}.get(command, [log])
    done = subprocess.run(
        [*AS_A_USER, *COMMAND, command, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == f"Error: {log} cannot be read: its mode keeps this user out; its owner can let you read it\n"


# ---------------------------------------------------------------- a name that is no UTF-8


@pytest.mark.parametrize(
    "words",
    [("replay", "{log}"), ("replay", "{log}", "--processes", 2), ("diff", "{log}", "{log}")],
    ids=["replay", "by processes", "diff"],
)
def test_json_names_a_file_whose_name_is_no_utf_8(tmp_path: Path, words: tuple[object, ...]) -> None:
    log = shutil.copy(GOLDEN, tmp_path / "n\udcff.db")
    found = data(*(log if word == "{log}" else word for word in words))
    one = found["logs"][0] if words[0] == "replay" else found["a"]
    assert one["path"] == f"{tmp_path}/n\\udcff.db"
