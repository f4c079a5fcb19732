"""`replay.rebuild`: a search as of any event, without Optuna."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eventhpo.core.fold.evolve import fold
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log.reader import read
from eventhpo.views.formatting import rfc3339
from replay import rebuild

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
RUNGS = FIXTURES / "rungs.db"
LAST = 174


def test_without_an_event_it_is_the_state_of_today() -> None:
    state = rebuild(RUNGS)
    assert (state.head, state.totals) == (read(RUNGS).head, fold(read(RUNGS).rows).totals)


@pytest.mark.parametrize("at", [1, 2, 60, LAST])
def test_a_state_is_that_of_the_rows_up_to_its_event(at: int) -> None:
    rows = read(RUNGS).rows
    state, expected = rebuild(str(RUNGS), at=at), fold(rows[:at])
    assert state.head == expected.head
    assert state.totals == expected.totals
    assert len(state.trials) == len(expected.trials)


def test_a_time_means_the_last_event_at_or_before_it() -> None:
    row = read(RUNGS).rows[59]
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row.at)
    for at in (rfc3339(row.at), moment, moment.replace(tzinfo=None), moment + timedelta(microseconds=999_999)):
        assert rebuild(RUNGS, at=at).head.seq == 60
    assert rebuild(RUNGS, at=moment - timedelta(microseconds=1)).head.seq == 59


@pytest.mark.parametrize("at", [0, -1, LAST + 1, "2001-01-01", "2101-01-01T00:00:00Z"])
def test_what_lies_outside_the_log_is_refused_with_its_range(at: int | str) -> None:
    with pytest.raises(Usage, match=rf"the events 1 \(2027-01-15T08:00:00\.000000Z\) to {LAST} \(2027-"):
        rebuild(RUNGS, at=at)


def test_what_is_neither_seq_nor_time_is_refused() -> None:
    with pytest.raises(Usage, match="neither the seq of an event nor an ISO time"):
        rebuild(RUNGS, at="yesterday")


@pytest.mark.parametrize("name", ["cut", "future"])
def test_a_log_that_is_not_whole_is_not_folded(name: str) -> None:
    with pytest.raises(DamagedLog):
        rebuild(FIXTURES / "must_fail" / f"{name}.db", at=5)


def test_optuna_is_not_imported() -> None:
    code = f"""
import sys
from replay import rebuild
assert rebuild({str(RUNGS)!r}, at=120).head.seq == 120
heavy = [name for name in ("optuna", "numpy", "clearml", "sqlite_utils") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
