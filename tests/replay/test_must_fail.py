"""The logs that must fail: each says its fault, and exits with its code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventhpo.core.fold.codec import decode, encode
from eventhpo.core.fold.events import JobPruned
from eventhpo.log import sql
from eventhpo.log.reader import consult, read
from replay import redecide
from tests.cli.harness import invoke
from tests.replay.failing import FAILING, GOLDEN, altered, script

SAID = {
    "altered": (
        1,
        [
            "divergence   seq 64: another decision; due was Suggest",
            "  differs    params.General/x: recorded 0.4258222296695933, decided 0.42582222966959327",
            "verdict      diverged: at seq 64",
        ],
    ),
    "missing": (
        1,
        [
            "divergence   seq 143: a decision is missing; due was Judge",
            '  recorded   JobStopSent {"trial":10,"attempt":0} (cause 142)',
            '  decided    JobPruned {"trial":10,"attempt":0,"judged":1,"iteration":1,'
            '"attrs":[[1,"completed_rung_0",1.7160947879303237]],"latched":null} (cause 142)',
            "verdict      diverged: at seq 143",
        ],
    ),
    "future": (
        3,
        [
            "verdict      damaged: decode: seq 58: event JobPruned v2 is not known here (this eventhpo reads JobPruned "
            "up to v1): the log comes from a newer version, or is damaged"
        ],
    ),
    "cut": (
        3,
        ["verdict      damaged: head: the log has lost its tail: head file says seq 174, log ends at 164"],
    ),
}

logs = pytest.mark.parametrize("name", SAID)


def stored(name: str) -> Path:
    return altered() if name == "altered" else FAILING / f"{name}.db"


@logs
def test_a_log_that_must_fail_says_its_fault_and_exits_with_its_code(name: str) -> None:
    code, lines = SAID[name]
    result = invoke("replay", stored(name))
    said = result.stdout.splitlines()
    assert [line for line in lines if line not in said] == []
    assert said[-1] == lines[-1]
    assert result.exit_code == code


@logs
def test_the_json_of_a_log_that_must_fail_has_the_same_verdict(name: str) -> None:
    code, lines = SAID[name]
    result = invoke("replay", stored(name), "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == code
    assert lines[-1].split()[1] == found["verdict"] + ":"
    assert found["logs"][0]["verdict"] == found["verdict"]
    seqs = [int(lines[-1].split()[-1])] if code == 1 else []
    assert [one["seq"] for one in found["logs"][0]["divergences"]] == seqs


@pytest.mark.parametrize("name", ["altered", "missing"])
def test_only_deciding_again_sees_a_changed_decision(name: str) -> None:
    """Its chain is right, each event fits those before it, and `verify` finds nothing."""
    log = stored(name)
    assert invoke("verify", log).exit_code == 0
    result = invoke("verify", log, "--decide")
    assert result.exit_code == 1
    assert f"seq {SAID[name][1][-1].split()[-1]}: recorded" in result.stdout


def test_the_script_beside_them_makes_them_again(tmp_path: Path) -> None:
    """With the same faults; a body may hold a field more, which has come to its type since."""
    script().main(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in FAILING.iterdir() if ".db" in p.name}
    for log in FAILING.glob("*.db"):
        stored, made = (redecide(path, raise_on_divergence=False, all=True) for path in (log, tmp_path / log.name))
        assert (made.verdict, made.damage, made.decisions) == (stored.verdict, stored.damage, stored.decisions)
        assert [(d.seq, d.due) for d in made.divergences] == [(d.seq, d.due) for d in stored.divergences]


def test_the_version_from_the_future_is_the_golden_body_and_a_field_more() -> None:
    """Negative control: with today's version in its row the log could be read."""
    rows = consult(FAILING / "future.db", lambda db: list(sql.rows_after(db, 0)))
    (row,) = [row for row in rows if row[5] != 1]
    golden = next(r.event for r in read(GOLDEN / "rungs.db").rows if isinstance(r.event, JobPruned))
    assert encode(decode("JobPruned", 1, row[6])) == encode(golden)
