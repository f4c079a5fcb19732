"""`--at` of postmortem, diff and replay: everything as of an event."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import TrialSuggested
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import Usage
from eventhpo.log.reader import read
from eventhpo.views.formatting import rfc3339
from replay import redecide
from tests.cli.harness import data, invoke
from tests.replay.failing import FAILING, GOLDEN, altered

RUNGS, ALTERED, CUT = GOLDEN / "rungs.db", altered(), FAILING / "cut.db"


@pytest.mark.parametrize("n", [1, 2, 3, 60, 174])
def test_replay_decides_the_rows_up_to_the_event_and_no_other(n: int) -> None:
    rows = read(RUNGS).rows
    report = redecide(RUNGS, at=n)
    assert (report.head.seq, report.head.hash) == (n, rows[n - 1].hash)
    assert report.decisions == sum(isinstance(row.event, Decision) for row in rows[:n])
    assert any("what stands after it was not looked at" in note for note in report.notes) == (n < len(rows))
    assert redecide(RUNGS, at=n, processes=2) == report


def test_a_divergence_after_the_event_is_not_seen_and_one_at_it_is() -> None:
    at = next(row.seq for row in read(ALTERED).rows if isinstance(row.event, TrialSuggested) and row.event.trial == 5)
    assert at == 64
    assert invoke("replay", ALTERED, "--at", at - 1).exit_code == 0
    assert invoke("replay", ALTERED, "--at", at).exit_code == 1


def test_a_time_does_and_an_event_that_is_not_there_is_a_usage_error() -> None:
    rows = read(RUNGS).rows
    assert redecide(RUNGS, at=rfc3339(rows[59].at)).head.seq == max(r.seq for r in rows if r.at <= rows[59].at)
    with pytest.raises(Usage, match="lies outside the log"):
        redecide(RUNGS, at=175)
    for command in (("replay",), ("postmortem",), ("diff", RUNGS)):
        assert invoke(command[0], RUNGS, *command[1:], "--at", 175).exit_code == 2


def test_a_damaged_log_stays_damaged_whatever_is_asked_of_it() -> None:
    for words in (("replay", CUT), ("postmortem", CUT), ("diff", CUT, CUT)):
        assert invoke(*words, "--at", 20).exit_code == 3


@pytest.mark.parametrize("n", [1, 2, 20, 60])
def test_a_post_mortem_is_that_of_the_rows_up_to_the_event_and_claims_no_end(n: int) -> None:
    found, state = data("postmortem", RUNGS, "--at", n), fold(read(RUNGS).rows[:n])
    assert found["head"]["seq"] == n
    assert sum(found["trials"].values()) == len(state.trials)
    assert found["end"]["how"] == ("not begun" if n < 3 else "goes on")
    assert (found["end"]["evidence"], found["end"]["unknown"]) == ([], [])
    assert [one["how"] for one in found["controllers"]] == ([] if n < 3 else ["goes on"])
    assert "just stops" not in invoke("postmortem", RUNGS, "--at", n).stdout


def test_as_of_its_last_event_a_post_mortem_is_the_same() -> None:
    assert data("postmortem", RUNGS, "--at", 174) == data("postmortem", RUNGS)


def test_two_logs_are_compared_as_of_the_event(tmp_path: Path) -> None:
    copy = Path(shutil.copy(RUNGS, tmp_path / "copy.db"))
    assert invoke("diff", RUNGS, ALTERED).exit_code == 1
    assert invoke("diff", RUNGS, ALTERED, "--at", 63).exit_code == 0
    found = data("diff", RUNGS, copy, "--at", 63)
    assert (found["a"]["head"]["seq"], found["b"]["head"]["seq"], found["relation"]) == (63, 63, "the same log")
