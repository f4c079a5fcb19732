"""What comes next is the same, however few trials a rule looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventhpo.core.fold.events import BudgetUpdated, Event, MetricObserved, Recorded
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.scheduler.candidates import AT_A_TURN, UNJUDGED, CandidateKind, Candidates
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import Search
from eventhpo.log.reader import read
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from tests.core.random_searches import cuts, scripts, searches, steps
from tests.core.test_invariants import log_of
from tests.core.test_work import lines_run

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "logs").glob("*.db"))


class EveryTrial(Candidates):
    """The slow way: each rule looks at all active trials, and slots are looked for one by one."""

    def refresh(self) -> None:
        self.busy = sum(attempt.live for trial in self._state.active.values() for attempt in trial.attempts)

    def trials(self, kind: CandidateKind) -> Iterator[Trial]:
        active = list(self._state.active.values())
        return iter([t for t in active if t.finished is None] if kind in (AT_A_TURN, UNJUDGED) else active)

    def lowest_free_slot(self) -> int:
        taken = {attempt.slot for trial in self._state.active.values() for attempt in trial.attempts if attempt.live}
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)


class DeafToCharges(Candidates):
    """It takes the event of a charge for one that changes no trial."""

    def tell(self, event: Event) -> None:
        if not isinstance(event, BudgetUpdated):
            super().tell(event)
        else:
            self._changes._told += 1


def differences(rows: Sequence[Recorded], kept_as: type[Candidates] = Candidates) -> list[tuple[int, object, object]]:
    """Return where kept candidates, new ones or all active trials lead to other actions: the seq and both."""
    state = begin(rows[0])
    kept, untold, differ = kept_as(state), Candidates(state), []
    for row in rows[1:]:
        state = evolve(state, row)
        kept.tell(row.event)
        slow = next_action(state, EveryTrial(state))
        fast = [next_action(state, kept), next_action(state, untold), next_action(state)]
        differ += [(row.seq, slow, action) for action in fast if action != slow]
    return differ


@pytest.mark.parametrize("log", LOGS, ids=lambda p: p.stem)
def test_after_each_row_of_a_golden_log_the_candidates_lead_to_the_action_that_all_trials_lead_to(log: Path) -> None:
    assert differences(list(read(log).rows)) == []


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(searches(), st.integers(0, 2**16), st.integers(0, 2**16))
def test_after_each_row_of_any_search_the_candidates_lead_to_the_action_that_all_trials_lead_to(
    what: Search, seed: int, cut: int
) -> None:
    assert differences(log_of(what, scripts(seed), cuts(cut), steps(seed))) == []


def test_candidates_that_miss_an_event_are_seen() -> None:
    """Negative control."""
    log = next(log for log in LOGS if log.stem == "tpe")
    assert differences(list(read(log).rows), DeafToCharges) != []


def work_with(path: Path, running: int) -> tuple[int, int]:
    """Return the lines run for the next action after an event, by kept candidates and by new ones."""
    what = search(num_concurrent_workers=running, total_max_jobs=running, max_iteration_per_job=9)
    simulate(path, what, lambda trial, attempt, params: Script(points=tuple((s, 0.5) for s in range(1, 10))))
    rows = read(path).rows
    last = max(i for i, row in enumerate(rows) if isinstance(row.event, MetricObserved) and row.event.to < 9)
    state: State = begin(rows[0])
    candidates = Candidates(state)
    for row in rows[1 : last + 1]:
        state = evolve(state, row)
        candidates.tell(row.event)
        next_action(state, candidates)
    assert Counter(trial.finished is None for trial in state.trials) == {True: running}
    observed = rows[last].event
    candidates.tell(observed)
    state.steps += 1  # the event once more: nothing of the trial is new
    return lines_run(lambda: next_action(state, candidates)), lines_run(lambda: next_action(state))


def test_the_work_for_the_next_action_does_not_grow_with_the_running_trials(tmp_path: Path) -> None:
    (few, few_anew), (many, many_anew) = work_with(tmp_path / "few.db", 5), work_with(tmp_path / "many.db", 80)
    assert few == many > 0
    assert few_anew < many_anew, "negative control: new candidates look at each running trial"
