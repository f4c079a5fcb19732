"""A sample of the matrix with nothing simulated: real controllers that are killed at rows of their logs, real jobs.

With one job at a time and no pruner, the order of events does not hang on time, and a
killed search suggests what one left alone does. Else only its own log says what was
seen first, and it is decided again.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import ControllerStarted, Event, JobPruned, JobsContinued, TrialFinished, TrialSuggested
from eventhpo.log.reader import read
from tests.kills.loop import Killed
from tests.matrix.elsewhere import Elsewhere
from tests.waiting import eventually

TPE = 'name = "TPESampler"\nn_startup_trials = 2'
CMAES = 'name = "CmaEsSampler"\nn_startup_trials = 1\npopsize = 4'
HALVING = 'name = "SuccessiveHalvingPruner"\nmin_resource = 1\nreduction_factor = 2'
NONE = 'name = "NopPruner"'
ONE_BY_ONE = {"tpe": (TPE, NONE), "cma-es": (CMAES, NONE)}
FOUR = {"tpe and halving": (TPE, HALVING), "cma-es and halving": (CMAES, HALVING)}
JOBS = 8


class AtRows(Killed):
    """A search whose controllers are killed as soon as the log has so many rows."""

    def __init__(self, folder: Path, sampler: str, pruner: str, workers: int) -> None:
        folder.mkdir()
        super().__init__(folder, jobs=JOBS, workers=workers, pruner="NopPruner", pace=0.02)
        text = (folder / "search.toml").read_text()
        text = text.replace('name = "RandomSampler"', sampler).replace('name = "NopPruner"', pruner)
        second = text[text.index('[space."General/x"]') :].replace("General/x", "General/y")
        (folder / "search.toml").write_text(text + second)

    def run_killed(self, rows: list[int]) -> Path:
        """Kill -9 a controller at each of *rows*, start another; return the log of the whole search."""
        for row in rows:
            self._start_and_kill_at(row)
        while not self.finished():
            assert self.start().wait() == 0, (self.folder / "stderr.log").read_text()
        return self.log

    def _start_and_kill_at(self, row: int) -> None:
        row = max(row, self.rows() + 2)  # not before it has begun
        controller = self.start()
        eventually(lambda: self.rows() >= row or controller.poll() is not None)
        controller.kill()
        controller.wait()

    def rows(self) -> int:
        return read(self.log).head.seq if self.log.exists() else 0


def seeded_rows(name: str) -> list[int]:
    """Return a row to kill at in each of three parts of a log; it has more than 8 a job."""
    chance = random.Random(name)
    return [chance.randint(first, first + 10) for first in (5, 20, 35)]


def told(log: Path) -> list[str]:
    """Return all that was suggested, and what became of it."""
    return [codec.encode(r.event) for r in read(log).rows if isinstance(r.event, TrialSuggested | TrialFinished)]


def pruned(event: Event) -> bool:
    """Whether the pruner said to prune, in time or not."""
    late = isinstance(event, JobsContinued) and any(verdict.too_late for verdict in event.verdicts)
    return late or isinstance(event, JobPruned)


def starts(log: Path) -> int:
    return sum(isinstance(row.event, ControllerStarted) for row in read(log).rows)


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_real_jobs_one_by_one_killed_suggest_what_they_do_left_alone(
    name: str, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    alone = AtRows(tmp_path / "alone", *ONE_BY_ONE[name], workers=1).run_killed([])
    killed = AtRows(tmp_path / "killed", *ONE_BY_ONE[name], workers=1).run_killed(seeded_rows(name))
    assert starts(killed) == len(seeded_rows(name)) + 1
    assert told(killed) == told(alone)
    assert len(told(alone)) == 2 * JOBS
    for log in (alone, killed):
        decisions, parted = elsewhere.decide(log)
        assert (decisions > 3 * JOBS, parted) == (True, None)


@pytest.mark.parametrize("name", FOUR)
def test_real_jobs_four_at_a_time_killed_are_decided_again_alike(
    name: str, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    killed = AtRows(tmp_path / "killed", *FOUR[name], workers=4).run_killed(seeded_rows(name))
    assert starts(killed) == len(seeded_rows(name)) + 1
    assert any(pruned(row.event) for row in read(killed).rows)
    decisions, parted = elsewhere.decide(killed)
    assert (decisions > 3 * JOBS, parted) == (True, None)
