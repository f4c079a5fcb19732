"""What of a lost attempt goes into the log, and from whom a retry inherits."""

from __future__ import annotations

from pathlib import Path

from eventhpo.controller.effects import observations
from eventhpo.core.fold.clocks import ClockReading
from eventhpo.core.fold.event_parts import BadLine
from eventhpo.core.fold.events import InheritanceClaimed, JobEnded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import Scalar
from eventhpo.jobs.protocol import Ended, JobUpdate, PollResult
from eventhpo.log.reader import read
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from replay.decide.check_prefixes import check_prefixes


def lost_first(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=((1, 0.5), (2, 0.4)), how="completed" if attempt else "lost")


def test_a_lost_attempt_of_which_nothing_new_is_seen_ends_once(tmp_path: Path) -> None:
    simulate(tmp_path / "s.db", search(total_max_jobs=1), lost_first)
    rows = list(read(tmp_path / "s.db").rows)
    at = next(i for i, r in enumerate(rows) if isinstance(r.event, JobEnded))
    state = fold(rows[: at + 1])
    cursor = state.attempt(0, 0).cursor

    def told(to: int, *, alive: bool = False) -> list[str]:
        ended = Ended(how="lost", why="its runner is gone")
        seen = JobUpdate(trial=0, attempt=0, to=to, bad=(BadLine("line 1", "cut"),), ended=ended, alive=alive)
        return [type(e).__name__ for e in observations(state, PollResult(clock=1, seen=(seen,)), ClockReading(1))]

    assert told(cursor) == []
    assert told(cursor + 1) == ["ReportsRead", "JobEnded"]
    assert told(cursor, alive=True) == ["JobReturned", "ReportsRead", "JobEnded"]


def silent_middle(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    """The first attempt leaves a checkpoint, the second dies before it says a word, the third goes on."""
    points = ((1, 0.5), (2, 0.4), (3, 0.3))
    if attempt == 2:
        return Script(points=((4, 0.2), (5, 0.1)), resumes_from=3)
    return Script(points=points if attempt == 0 else (), how="failed")


def test_a_retry_inherits_over_an_attempt_that_died_before_it_reported(tmp_path: Path) -> None:
    what = search(total_max_jobs=3, max_iteration_per_job=9, max_failures_per_trial=2)
    simulate(tmp_path / "s.db", what, silent_middle)
    rows = read(tmp_path / "s.db").rows
    assert any(isinstance(r.event, InheritanceClaimed) for r in rows)
    last = fold(rows).attempt(0, 2)
    assert last.curves[0].iterations == [1, 2, 3, 4, 5]
    assert (last.inherited, last.charge) == (3, 2)
    assert [c.divergence for c in check_prefixes(rows) if c.divergence] == []
