"""Reading and folding a log leaves Python's collector as it was, and gives it nothing to look at again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.collector import collector_paused
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import DamagedLog
from eventhpo.log.reader import read

LOG = Path(__file__).parents[2] / "fixtures" / "logs" / "tpe.db"


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    yield
    gc.enable()


def test_the_collector_pauses_inside_a_fold_and_is_on_after_it() -> None:
    seen: list[bool] = []

    def rows() -> Iterator[Recorded]:
        for row in read(LOG).rows:
            seen.append(gc.isenabled())
            yield row

    fold(rows())
    assert set(seen) == {False}
    assert gc.isenabled()


def test_the_collector_is_on_after_a_fold_that_failed() -> None:
    with pytest.raises(DamagedLog):
        fold(reversed(read(LOG).rows))
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with collector_paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_rows_events_trials_and_attempts_are_none_of_the_collectors_objects() -> None:
    rows = read(LOG).rows
    state = fold(rows)
    kept = [*rows, *(row.event for row in rows), *state.trials, *(a for t in state.trials for a in t.attempts)]
    assert not any(map(gc.is_tracked, kept))
    assert gc.is_tracked(msgspec.structs.asdict(state)), "negative control: a dictionary of lists is one"
