"""The command `whatif`: its table, its JSON, its exit codes."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from eventhpo.log import paths
from replay.whatif import WhatIf
from replay.whatif.rules import DEFAULT
from tests.cli.harness import invoke
from tests.replay.test_whatif import ABOVE_6, CURVES, log

TABLE = """\
simulated: 3 trials, 12 iterations, 27.0 s of compute time, up to event 49
winner: trial 2, validation/loss = 0.5

rule                       known   pruned  saved     compute  best  winner                  rank corr.  same search
recorded: NopPruner        3 of 3  0       -         -        0.5   kept                    -           yes
ThresholdPruner:upper=6.0  3 of 3  1       3 (25 %)  6.8 s    1     pruned at 1, costs 0.5  -0.50       yes
NopPruner                  3 of 3  0       0 (0 %)   0.0 s    0.5   kept                    -           yes
"""

UNKNOWN = """\
simulated: 3 trials, 9 iterations, 22.0 s of compute time, up to event 44
winner: trial 0, validation/loss = 1

rule                                 known   pruned  saved    compute  best  winner  rank corr.  same search
recorded: ThresholdPruner:upper=6.0  3 of 3  1       -        -        1     kept    -           yes
NopPruner                            2 of 3  0       0 (0 %)  0.0 s    1 ?   kept    -           unknown

recorded: ThresholdPruner:upper=6.0:
  rank corr.: fewer than 3 completed trials reach a cut, or their values are equal
  trial  recorded   here       pruned at  iterations  saved
  0      completed  completed  -          4           0
  1      completed  completed  -          4           0
  2      pruned     pruned     1          1           0

NopPruner:
  unknown: trial 2 would have gone on where the record stopped it
  same search: the end of trial 2 is not known
  orders: 0 of 2 shuffled ones are known (seed 7); in the others a trial goes on where the record pruned it
  trial  recorded   here       pruned at  iterations  saved
  0      completed  completed  -          4           0
  1      completed  completed  -          4           0
  2      pruned     unknown    -          -           -      unknown: {why}
""".replace("{why}", "goes on after iteration 1, where the record pruned it")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return log(tmp_path / "search.db", CURVES)


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    return log(tmp_path / "search.db", CURVES, pruner=ABOVE_6)


def test_the_table_has_a_row_a_rule(whole: Path) -> None:
    result = invoke("whatif", whole, "--pruner", "ThresholdPruner:upper=6.0", "--pruner", "NopPruner")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == TABLE


def test_what_is_unknown_says_why_and_is_no_error(pruned: Path) -> None:
    result = invoke("whatif", pruned, "--pruner", "NopPruner", "--orders", "2", "--trials")
    assert result.exit_code == 0
    assert result.stdout == UNKNOWN


def test_json_is_the_answer_of_the_api(whole: Path) -> None:
    result = invoke("whatif", whole, "--pruner", "ThresholdPruner:upper=6", "--total-max-jobs", "2", "--json")
    found = msgspec.json.decode(result.stdout, type=WhatIf)
    assert [row.kind for row in found.rows] == ["recorded", "pruner", "budget"]
    assert json.loads(result.stdout)["rows"][1]["regret"]["cost"] == 0.5


def test_without_a_rule_the_usual_pruners_are_asked(whole: Path) -> None:
    found = msgspec.json.decode(invoke("whatif", whole, "--json").stdout, type=WhatIf)
    assert tuple(row.rule for row in found.rows[1:]) == DEFAULT
    found = msgspec.json.decode(invoke("whatif", whole, "--total-max-jobs", "2", "--json").stdout, type=WhatIf)
    assert [row.kind for row in found.rows[1:]] == ["budget"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pruner", "MedianPrunner"], 'did you mean "MedianPruner"?'),
        (["--pruner", "SHA"], 'did you mean "SuccessiveHalvingPruner"?'),
        (["--pruner", "ASHA:reduction_factor=3"], 'did you mean "SuccessiveHalvingPruner"?'),
        (["--total-max-jobs", "9"], "expected from 1 to 3"),
        (["--num-concurrent-workers", "2"], "expected 1, which the record had"),
        (["--at", "999"], "999 lies outside the log, which has the events 1 ("),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_a_usage_error(whole: Path, words: list[str], said: str) -> None:
    result = invoke("whatif", whole, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_log_that_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    result = invoke("whatif", tmp_path / "none.db")
    assert result.exit_code == 2
    assert "there is no log" in result.stderr


def test_a_file_that_is_no_log_exits_3(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    path.write_text("no database, but longer than the header of one\n" * 100)
    assert invoke("whatif", path).exit_code == 3


def test_a_log_that_lost_its_tail_exits_3_and_shows_what_is_left(whole: Path) -> None:
    with sqlite3.connect(whole) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("DELETE FROM event WHERE seq > 30")
    db.close()
    result = invoke("whatif", whole, "--pruner", "NopPruner")
    assert result.exit_code == 3
    assert "up to event 30" in result.stdout
    assert "only its beginning is verified and shown, up to seq 30" in result.stderr


def test_a_log_with_several_objectives_has_no_winner_and_says_why() -> None:
    golden = Path(__file__).parents[2] / "fixtures" / "logs" / "objectives.db"
    said = "with several objectives no trial is the winner"
    assert f"winner: none, {said}" in invoke("whatif", golden).stdout.splitlines()
    rows = json.loads(invoke("whatif", golden, "--json").stdout)["rows"]
    assert {row["regret"]["why"] for row in rows} == {said}


def test_of_no_trial_nothing_is_unknown(whole: Path) -> None:
    row = invoke("whatif", whole, "--pruner", "NopPruner", "--at", "1").stdout.splitlines()[6]
    assert row.split() == ["NopPruner", "0", "of", "0", "0", "0", "0.0", "s", "-", "-", "-", "yes"]


def test_a_log_alone_in_its_folder_is_enough(whole: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "search.db"
    alone.parent.mkdir()
    shutil.copy(whole, alone)
    result = invoke("whatif", alone, "--pruner", "MedianPruner")
    assert result.exit_code == 0
    assert list(alone.parent.iterdir()) == [alone]
    assert not paths.lock(alone).exists()
