"""A search that earlier code began, killed while its jobs run, goes on with today's code: nothing lost or twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.state import Attempt, State
from eventhpo.jobs.local.folder import Ticket
from replay import redecide
from tests.earlier.version import Carried, killed
from tests.waiting import eventually


@pytest.fixture
def search(tmp_path: Path, earlier: Path) -> Iterator[Carried]:
    found = Carried(tmp_path, earlier)
    yield found
    found.open_gate()


def waiting_jobs(state: State) -> bool:
    """Whether two jobs run and the log has the two points of each."""
    live = [a for t in state.trials for a in t.attempts if a.live]
    return len(live) == 2 and all(len(a.curves[0].iterations) == 2 for a in live)


def lost(attempt: Attempt) -> bool:
    return attempt.ended is not None and attempt.ended.how == "lost"


def ran_to_its_end(search: Carried) -> None:
    """The search is finished, no key ran twice, and today's code decides the whole log as it is recorded."""
    state = search.state()
    assert state.finished is not None
    assert set(search.lines("ledger").values()) == {1}
    assert set(search.lines("ledger")) <= {attempt.key for attempt in search.attempts()}
    assert redecide(search.log).verdict == "ok"


def test_the_earlier_code_is_what_runs(search: Carried) -> None:
    """A control: without this the tests here would start today's code twice."""
    controller = search.begin()
    search.until(waiting_jobs, "two waiting jobs")
    assert search.state().policy == 1
    command = Path(f"/proc/{controller.pid}/environ").read_bytes()
    assert str(search.earlier).encode() in command
    ticket = next(search.folder.glob("search.db.jobs/*/started.json")).read_bytes()
    assert set(msgspec.json.decode(ticket)) == {"pid", "runner", "start", "boot", "ns", "grace", "at"}
    killed(controller)


def test_jobs_that_wait_when_the_controller_is_killed_are_taken_up(search: Carried) -> None:
    controller = search.begin()
    search.until(waiting_jobs, "two waiting jobs")
    killed(controller)
    before = [attempt.key for attempt in search.attempts()]
    search.open_gate()
    search.carry_on()
    ran_to_its_end(search)
    assert [a.key for a in search.attempts()][:2] == before
    assert {t.finished.state for t in search.state().trials if t.finished} == {"completed"}
    assert len(search.state().trials) == 4


def test_jobs_that_ended_while_nobody_looked_keep_their_end(search: Carried) -> None:
    controller = search.begin()
    search.until(waiting_jobs, "two waiting jobs")
    killed(controller)
    search.open_gate()
    eventually(lambda: len(list(search.folder.glob("search.db.jobs/*/exit.json"))) == 2, "two ended jobs")
    search.carry_on()
    ran_to_its_end(search)
    assert [a.ended.how for a in search.attempts() if a.ended] == ["completed"] * 4


def test_ctrl_c_in_the_earlier_code_leaves_jobs_that_go_on(search: Carried) -> None:
    controller = search.begin()
    search.until(waiting_jobs, "two waiting jobs")
    controller.send_signal(signal.SIGTERM)
    assert controller.wait() == 128 + signal.SIGTERM
    search.open_gate()
    search.carry_on()
    ran_to_its_end(search)


def test_a_job_whose_earlier_runner_was_killed_is_lost_and_runs_again(search: Carried) -> None:
    controller = search.begin()
    search.until(waiting_jobs, "two waiting jobs")
    killed(controller)
    first = next(iter(sorted(search.folder.glob("search.db.jobs/*/started.json"))))
    os.kill(msgspec.json.decode(first.read_bytes(), type=Ticket).runner, signal.SIGKILL)
    resumed = search.resume()
    search.until(lambda state: any(lost(a) for t in state.trials for a in t.attempts), "a lost attempt")
    search.open_gate()
    assert resumed.wait() == 0
    ran_to_its_end(search)
    assert sorted(len(trial.attempts) for trial in search.state().trials) == [1, 1, 2]  # within the budget of 16


def test_a_pruned_job_that_was_told_to_stop_by_the_earlier_code_ends_pruned(tmp_path: Path, earlier: Path) -> None:
    """ThresholdPruner prunes each job at its first point; the jobs obey TERM only when the gate is open."""
    search = Carried(tmp_path, earlier, pruner="ThresholdPruner", pruner_arguments="upper = 0.2")
    controller = search.begin()
    eventually(lambda: search.lines("terms").total() == 2, "two jobs that were told to stop")
    killed(controller)
    search.open_gate()
    search.carry_on()
    ran_to_its_end(search)
    assert [t.finished.state for t in search.state().trials[:2] if t.finished] == ["pruned", "pruned"]


STAGES: dict[str, Callable[[State], bool]] = {
    "the first suggestion": lambda state: len(state.trials) >= 1,
    "the first job bound": lambda state: any(a.job_id for t in state.trials for a in t.attempts),
    "the first job started": lambda state: any(a.launched for t in state.trials for a in t.attempts),
    "the first point": lambda state: any(a.curves[0].iterations for t in state.trials for a in t.attempts),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_search_that_was_killed_at_any_stage_goes_on(search: Carried, stage: str) -> None:
    controller = search.begin()
    search.until(STAGES[stage], stage)
    killed(controller)
    search.open_gate()
    search.carry_on()
    ran_to_its_end(search)
    assert len(search.state().trials) == 4
