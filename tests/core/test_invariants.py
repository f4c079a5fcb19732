"""What holds in every search, whatever its jobs do."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventhpo.core.fold import budget
from eventhpo.core.fold.curve import meaning
from eventhpo.core.fold.events import BudgetUpdated, JobPruned, Recorded, SearchFinished, TrialFinished, TrialSuggested
from eventhpo.core.fold.evolve import begin, evolve, fold
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import Search
from eventhpo.log.reader import read
from eventhpo.testing.searches import simulate
from eventhpo.testing.simulated import CutPoint, Scripts, SetBy
from replay.decide.check_prefixes import check_prefixes
from tests.core.random_searches import cuts, scripts, searches, steps
from tests.memory import MEMORY

seeds = st.integers(0, 2**16)
often = settings(suppress_health_check=[HealthCheck.too_slow])


def log_of(what: Search, jobs: Scripts, cut: CutPoint, set_by: SetBy | None = None) -> Sequence[Recorded]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "search.db"
        simulate(path, what, jobs, cut=cut, set_by=set_by)
        return read(path, verify=True).rows


@often
@given(searches(), seeds, seeds)
def test_charges_slots_and_attempts_stay_within_their_limits_and_every_search_ends(
    what: Search, seed: int, cut: int
) -> None:
    rows = log_of(what, scripts(seed), cuts(cut), steps(seed))
    state = begin(rows[0])
    for row in rows[1:]:
        state = evolve(state, row)
        hold(state)
    assert isinstance(rows[-1].event, SearchFinished)
    finished = [row.event.trial for row in rows if isinstance(row.event, TrialFinished)]
    assert sorted(finished) == list(range(len(state.trials)))


def hold(state: State) -> None:
    most = budget.limit(state)
    if most is not None:
        running = sum(budget.charge(state, a) for t in state.active.values() for a in t.attempts if a.charge is None)
        assert state.totals.charged + running <= most
        assert state.totals.charged + budget.reserved(state) <= most
    live = [a for t in state.trials for a in t.attempts if a.live]
    back = [a for a in live if a.returned]
    assert len(live) - len(back) <= state.limits.num_concurrent_workers
    slots = [a.slot for a in live if not a.returned]
    assert len(set(slots)) == len(slots)
    assert all(0 <= slot < state.limits.num_concurrent_workers for slot in slots)
    for trial in state.trials:
        assert sum(a.live and not a.returned for a in trial.attempts) <= 1


@often
@given(searches(), seeds, seeds)
def test_every_log_is_decided_again_alike(what: Search, seed: int, cut: int) -> None:
    assert [c.divergence for c in check_prefixes(log_of(what, scripts(seed), cuts(cut))) if c.divergence] == []


@often
@given(searches(), seeds, st.floats(0, 1))
def test_folding_in_two_parts_is_folding_at_once(what: Search, seed: int, part: float) -> None:
    rows = log_of(what, scripts(seed), cuts(seed))
    at = 1 + int(part * (len(rows) - 1))
    assert repr(fold(rows[at:], fold(rows[:at]))) == repr(fold(rows))


@often
@given(searches(), seeds, st.integers(0, 9))
def test_the_top_is_what_sorting_by_hand_gives(what: Search, seed: int, k: int) -> None:
    state = fold(log_of(what, scripts(seed), cuts(seed)))
    by_hand: list[tuple[int, float, int]] = []
    for trial in state.trials:
        if trial.finished is not None and trial.finished.state in ("completed", "pruned"):
            by_hand.append((*cost(state, trial), trial.number))
    assert [t.number for t in rank.top(state, k)] == [number for *_, number in sorted(by_hand)][:k]


def cost(state: State, trial: Trial) -> tuple[int, float]:
    assert trial.last is not None
    value = meaning(state.search.objectives[0], trial.last.curves[0].values)
    if value is None:
        return 2, 0.0
    return (1, 0.0) if math.isnan(value) else (0, value)


def decisions(rows: Sequence[Recorded]) -> list[object]:
    found: list[object] = []
    for row in rows:
        match row.event:
            case TrialSuggested(trial=trial, params=params):
                found.append((trial, params))
            case JobPruned(trial=trial, attempt=attempt, judged=judged):
                found.append(("pruned", trial, attempt, judged))
            case TrialFinished(trial=trial, state=state, values=values):
                found.append((trial, state, values))
            case BudgetUpdated(trial=trial, attempt=attempt, iterations=iterations):
                found.append(("charged", trial, attempt, iterations))
    return found


@often
@given(searches(workers=st.just(1)), seeds)
def test_with_one_worker_neither_the_cut_into_polls_nor_a_slow_stop_changes_a_decision(what: Search, seed: int) -> None:
    from msgspec.structs import replace

    timeless = replace(what, limits=replace(what.limits, time_limit_per_job=None, compute_time_limit=None))
    jobs = scripts(seed, tame=True)

    def slower(trial: int, attempt: int, params: dict[str, object]) -> object:
        script = jobs(trial, attempt, params)  # type: ignore[arg-type]
        return replace(script, overrun=script.overrun + 2)

    runs = [
        decisions(log_of(timeless, jobs, lambda trial, attempt, cursor: 1)),
        decisions(log_of(timeless, jobs, lambda trial, attempt, cursor: 5)),
        decisions(log_of(timeless, jobs, cuts(seed))),
        decisions(log_of(timeless, slower, cuts(seed))),  # type: ignore[arg-type]
    ]
    assert all(run == runs[0] for run in runs)


def test_the_search_for_more_than_is_allowed_would_be_seen(tmp_path: Path) -> None:
    """Negative control: a state with one charge too many does not hold."""
    from eventhpo.testing.searches import search

    state = simulate(tmp_path / "s.db", search(max_iteration_per_job=3), scripts(1, tame=True))
    hold(state)
    state.totals.charged = 19
    with pytest.raises(AssertionError):
        hold(state)
