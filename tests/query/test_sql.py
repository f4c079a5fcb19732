"""`eventhpo sql` and `eventhpo prunes`: one question, and all verdicts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from replay.query import question
from replay.query.database import TABLES, VIEWS
from replay.query.loaded_search import load
from tests.cli.harness import COMMAND, data, ended, invoke
from tests.query.conftest import GOLDEN_LOGS
from tests.report import logs
from tests.waiting import eventually


@pytest.mark.parametrize("name", [*TABLES, *VIEWS])
def test_each_table_and_view_can_be_asked(search_log: Path, name: str) -> None:
    counted = data("sql", search_log, f"select count(*) as n from {name}")  # noqa: S608  a name of ours
    assert counted == [{"n": len(data("sql", search_log, f"select * from {name}"))}]  # noqa: S608


@pytest.mark.parametrize("log", GOLDEN_LOGS, ids=lambda log: log.stem)
def test_the_first_of_the_leaderboard_is_the_first_of_top(log: Path) -> None:
    first = data("sql", log, "select trial from leaderboard limit 1")
    assert [row["trial"] for row in first] == [row["trial"] for row in data("top", log, "-k", 1)]


def test_only_the_tables_that_a_question_reads_are_filled(search_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("verdicts were computed for a question that asks for none")

    monkeypatch.setattr("replay.query.database.decisions_of", fails)
    search = load(search_log)
    assert question.ask(search, "select count(*) from leaderboard").rows == [(24,)]
    with pytest.raises(AssertionError):
        question.ask(search, "select count(*) from pruned_why")


@pytest.mark.parametrize(
    "words",
    [
        "delete from trials",
        "update trials set value = 1",
        "insert into trials (trial) values (99)",
        "drop table trials",
        "create table x (y)",
        "attach '{folder}/x.db' as x",
        "vacuum into '{folder}/x.db'",
        "pragma journal_mode = wal",
        "pragma writable_schema = on",
        "select load_extension('x')",
        "begin",
        "with x as (select 1) delete from trials",
    ],
)
def test_what_is_more_than_a_question_is_refused(search_log: Path, tmp_path: Path, words: str) -> None:
    before = search_log.read_bytes()
    result = invoke("sql", search_log, words.format(folder=tmp_path))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []
    assert search_log.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("select * from trial", "no such table: trial; there are the tables and views search, "),
        ("select absent from trials", "no such column: absent"),
        ("selec 1", "syntax error"),
        ("select 1; select 2", "one statement at a time"),
        ("", "the question is empty"),
        ("/* nothing */", "incomplete input"),
        ("select '" + "x" * 200_000 + "'", "more than 100,000"),
    ],
)
def test_a_question_that_is_wrong_is_told_in_a_line(search_log: Path, words: str, part: str) -> None:
    result = invoke("sql", search_log, words)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_answer_has_its_limit(search_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "MOST_ROWS", 10)
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    assert "more than 10 rows" in invoke("sql", search_log, endless).stderr


def test_ctrl_c_ends_a_question_without_end(search_log: Path) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    child = subprocess.Popen(
        [*COMMAND, "sql", str(search_log), endless],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background job inherits it as ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no thread runs here
    )
    ticks = os.sysconf("SC_CLK_TCK")

    def computes() -> bool:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) > 2 * ticks  # two seconds of processor time: far more than the start takes

    eventually(computes, "the question to be under way")
    child.send_signal(signal.SIGINT)
    code, out, err = ended(child)
    assert code == 130, err
    assert "Traceback" not in out + err


def test_columns_of_one_name_are_all_in_the_json(search_log: Path) -> None:
    assert data("sql", search_log, "select 1 as a, 2 as a, null as b") == [{"a": 1, "a_2": 2, "b": None}]


def test_numbers_that_json_cannot_carry_are_text(tmp_path: Path) -> None:
    log = logs.not_numbers(tmp_path / "search.db")
    values = data("sql", log, "select value from metrics where iteration = 2")
    assert {"value": "inf"} in values


def test_names_of_a_log_stay_text_in_the_terminal(tmp_path: Path) -> None:
    log = logs.hostile(tmp_path / "search.db")
    for words in (("sql", log, "select * from objectives"), ("sql", log, "select * from params"), ("prunes", log)):
        for more in ((), ("--csv",)):
            assert "\x1b" not in invoke(*words, *more).stdout


# ---------------------------------------------------------------- prunes


def test_prunes_lists_each_verdict_with_its_reason(search_log: Path) -> None:
    rows = data("prunes", search_log)
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert {row["verdict"] for row in rows} >= {"go on", "prune"}
    assert all(row["reason"] for row in rows)
    only = data("prunes", search_log, "--pruned")
    assert only == [row for row in rows if row["verdict"] == "prune"]
    trial = only[0]["trial"]
    assert data("prunes", search_log, "--trial", trial) == [row for row in rows if row["trial"] == trial]


def test_prunes_and_explain_say_the_same(search_log: Path) -> None:
    for row in data("prunes", search_log, "--pruned"):
        text = invoke("explain", search_log, row["trial"], "--at", row["seq"]).stdout
        assert row["reason"] in " ".join(text.split())


def test_the_text_of_prunes_has_a_line_for_each_verdict(search_log: Path) -> None:
    lines = invoke("prunes", search_log).stdout.splitlines()
    assert lines[0].split() == ["event", "trial", "iteration", "verdict", "value", "needed", "margin", "reason"]
    assert len(lines) == 1 + len(data("prunes", search_log))


def test_prunes_as_of_an_event(search_log: Path) -> None:
    all_of_them = data("prunes", search_log)
    half = all_of_them[len(all_of_them) // 2]["seq"]
    result = invoke("prunes", search_log, "--at", half, "--json")
    assert json.loads(result.stdout) == [row for row in all_of_them if row["seq"] <= half]


def test_a_trial_that_is_not_there_is_told(search_log: Path) -> None:
    result = invoke("prunes", search_log, "--trial", 99)
    assert result.exit_code == 2
    assert "there is no trial 99: the log has 24 trials" in result.stderr
