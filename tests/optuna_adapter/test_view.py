"""The view shows what Optuna's own storage has if it is told the same events, and is safe to read from a log."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from optuna.trial import TrialState

from eventhpo.core.fold.event_parts import Attr
from eventhpo.core.fold.events import (
    Event,
    InheritanceClaimed,
    JobAdopted,
    JobEnded,
    JobPruned,
    JobsContinued,
    Recorded,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.fold.evolve import begin, evolve, fold
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.actions import Suggest
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import DamagedLog
from eventhpo.optuna_adapter.adapter import decided
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.testing.searches import created, search
from replay.decide.check_prefixes import check_prefixes
from tests.crash.scenarios import Scenario
from tests.optuna_adapter import samples
from tests.optuna_adapter.oracle import fed, shown

Rows = list[Recorded]

SEARCHES: dict[str, Callable[[], Scenario]] = {
    "rungs, resumed": lambda: samples.scenario(samples.RANDOM, samples.HALVING, seed=11, jobs=24),
    "rungs, aborted": lambda: samples.scenario(
        samples.RANDOM, samples.HALVING, seed=12, inputs=samples.PARTIAL, asks=samples.ABORT
    ),
    "median, best value": lambda: samples.scenario(
        pruner=samples.MEDIAN, seed=13, objectives=(samples.LOSS_BEST,), min_iteration_per_job=2
    ),
    "a maximum": lambda: samples.scenario(samples.RANDOM, samples.HALVING, seed=14, objectives=(samples.ACCURACY,)),
    "nan as the worst": lambda: samples.scenario(pruner=samples.MEDIAN, seed=15, jobs=20),
    "two objectives": lambda: samples.scenario(objectives=samples.TWO, seed=16),
    "no iteration limit": lambda: samples.scenario(
        pruner=samples.HALVING, seed=17, max_iteration_per_job=None, total_max_jobs=20
    ),
    "a grid": samples.SAMPLERS["grid"],
    "a sequence": samples.SAMPLERS["halton"],
    "sets": samples.SAMPLERS["sets, tpe"],
    "generations": samples.SAMPLERS["nsga3, two objectives"],
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rows]:
    folder, known = tmp_path_factory.mktemp("logs"), {}

    def log(name: str) -> Rows:
        if name not in known:
            known[name] = samples.log_of(folder, SEARCHES[name]())
        return known[name]

    return log


def seen(state: State) -> list[dict[str, Any]]:
    view = StateView(state)
    view.refresh()
    return shown(view)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_view_shows_at_any_event_what_optunas_storage_has_that_was_fed_them(
    name: str, logs: Callable[[str], Rows]
) -> None:
    rows, kept, told, state = logs(name), None, None, None
    for n, (row, oracle) in enumerate(fed(rows, ask_samplers=False)):
        state = begin(row) if state is None else evolve(state, row)
        kept, told = kept or StateView(state), told or StateView(state)
        told.tell(row.event)
        if n % 6 == 0 or row is rows[-1] or isinstance(row.event, InheritanceClaimed | JobPruned):
            kept.refresh()
            expected = shown(oracle.storage)
            assert seen(state) == expected, row.seq
            assert shown(kept) == expected, row.seq
            told.refresh()
            assert shown(told) == expected, row.seq
            assert kept.get_study_system_attrs(0) == oracle.storage.get_study_system_attrs(0)
            assert kept.get_study_directions(0) == oracle.storage.get_study_directions(0)
    assert sum(row.event.__class__ is TrialSuggested for row in rows) == len(shown(oracle.storage)) > 10


def test_a_view_that_is_told_of_an_adopted_job_shows_the_trials_before_it_that_the_log_lost() -> None:
    state = begin(Recorded(1, 0, 0, None, created(search()), "1" * 32))
    told = StateView(state)
    told.refresh()
    params = {p.name: 0.5 for p in state.search.space}
    adopted = JobAdopted(trial=2, attempt=0, key="key", job_id="job", params=params, slot=0, launched=True)
    state = evolve(state, Recorded(2, 0, 0, None, adopted, "2" * 32))
    told.tell(adopted)
    told.refresh()
    assert [t.state for t in told.get_all_trials(0)] == [TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]
    assert shown(told) == seen(state)


def test_these_searches_have_met_all_that_changes_what_a_sampler_sees(logs: Callable[[str], Rows]) -> None:
    rows = [row for name in SEARCHES for row in logs(name)]
    events: list[Event] = [row.event for row in rows]
    assert {e.state for e in events if isinstance(e, TrialFinished)} == {"completed", "pruned", "failed", "aborted"}
    assert {e.how for e in events if isinstance(e, JobEnded)} >= {"completed", "failed", "lost", "stopped"}
    verdicts = [v for e in events if isinstance(e, JobsContinued) for v in e.verdicts]
    assert any(v.too_late for v in verdicts)
    resumed = {(e.trial, e.attempt) for e in events if isinstance(e, InheritanceClaimed) and e.attempt}
    assert resumed
    assert any(v.attrs and (v.trial, v.attempt) in resumed for v in verdicts)
    assert any("NaN" in e.why and e.state == "failed" for e in events if isinstance(e, TrialFinished))
    assert any("NaN" in e.why and e.state == "completed" for e in events if isinstance(e, TrialFinished))
    assert any(e.point for e in events if isinstance(e, TrialSuggested))


def test_a_storage_that_was_fed_one_point_too_many_differs(logs: Callable[[str], Rows]) -> None:
    state = None
    differing = 0
    for row, oracle in fed(logs("rungs, resumed"), ask_samplers=False):
        state = begin(row) if state is None else evolve(state, row)
        for trial in list(state.active.values()):
            attempt = trial.last
            if attempt is None or trial.finished or attempt.judged >= attempt.curves[0].in_time:
                continue
            iteration = attempt.curves[0].iterations[attempt.judged]  # reported, and without a verdict
            oracle.storage.set_trial_intermediate_value(trial.number, iteration, 0.5)
            assert seen(state) != shown(oracle.storage)
            differing += 1
        if differing:
            return
    raise AssertionError("no point was without a verdict")


def test_a_view_is_in_the_order_of_the_space_though_a_log_is_sorted(logs: Callable[[str], Rows]) -> None:
    rows = logs("nan as the worst")
    first = next(row.event for row in rows if isinstance(row.event, TrialSuggested))
    names = [p.name for p in samples.SPACE]
    assert list(first.params) == sorted(names) != names
    for trial in StateViewOf(rows).get_all_trials(0):
        assert list(trial.params) == list(trial.distributions) == names


def StateViewOf(rows: Rows) -> StateView:  # noqa: N802  reads as the class that it returns
    view = StateView(fold(rows))
    view.refresh()
    return view


# ---------------------------------------------------------------- one question's writing


def test_what_a_question_writes_is_seen_by_it_and_gone_with_the_next(logs: Callable[[str], Rows]) -> None:
    rows = logs("rungs, resumed")
    view = StateViewOf(rows)
    before = shown(view)
    view.set_trial_system_attr(3, "completed_rung_9", 1.5)
    view.set_study_system_attr(0, "qmc:x", 4)
    assert view.get_trial(3).system_attrs["completed_rung_9"] == 1.5
    assert view.get_study_system_attrs(0)["qmc:x"] == 4
    view.refresh()
    assert shown(view) == before
    assert "qmc:x" not in view.get_study_system_attrs(0)


def test_a_list_of_trials_does_not_change_with_what_is_written_later(logs: Callable[[str], Rows]) -> None:
    """Optuna's storage keeps this promise, and its SuccessiveHalvingPruner needs it: it counts its own value itself."""
    view = StateViewOf(logs("rungs, resumed"))
    view.open_curve(3)
    trials = view.get_all_trials(0, deepcopy=False)
    view.set_trial_system_attr(3, "completed_rung_9", 1.5)
    assert "completed_rung_9" not in trials[3].system_attrs
    assert "completed_rung_9" in view.get_all_trials(0, deepcopy=False)[3].system_attrs


def test_optuna_cannot_change_a_search_through_its_storage(logs: Callable[[str], Rows]) -> None:
    view = StateViewOf(logs("two objectives"))
    refused: list[Callable[[], object]] = [
        lambda: view.create_new_study([]),
        lambda: view.delete_study(0),
        lambda: view.set_study_user_attr(0, "a", 1),
        lambda: view.create_new_trial(0),
        lambda: view.set_trial_state_values(0, TrialState.COMPLETE, [1.0]),
        lambda: view.set_trial_intermediate_value(0, 1, 1.0),
        lambda: view.set_trial_user_attr(0, "a", 1),
    ]
    for write in refused:
        with pytest.raises(PermissionError, match="by its events only"):
            write()


# ---------------------------------------------------------------- forged logs


class Bomb:
    """A pickle of this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def in_a_suggestion(event: Event, attrs: dict[str, Any]) -> Event | None:
    return msgspec.structs.replace(event, attrs=attrs) if isinstance(event, TrialSuggested) else None


def in_the_study(event: Event, attrs: dict[str, Any]) -> Event | None:
    return msgspec.structs.replace(event, study_attrs=attrs) if isinstance(event, TrialSuggested) else None


def in_a_verdict(event: Event, attrs: dict[str, Any]) -> Event | None:
    if not isinstance(event, JobsContinued):
        return None
    written = tuple(Attr(1, name, value) for name, value in attrs.items())
    return msgspec.structs.replace(
        event, verdicts=tuple(msgspec.structs.replace(v, attrs=written) for v in event.verdicts)
    )


CMA = {
    "cma": ComponentConfig("CmaEsSampler", {"n_startup_trials": 1, "popsize": 4}),
    "sepcma": ComponentConfig("CmaEsSampler", {"n_startup_trials": 1, "use_separable_cma": True}),
    "cmawm": ComponentConfig("CmaEsSampler", {"n_startup_trials": 1, "with_margin": True}),
}


@pytest.mark.parametrize("prefix", CMA)
@pytest.mark.parametrize("plant", [in_a_suggestion, in_a_verdict, in_the_study])
def test_a_pickle_in_a_log_is_never_run(prefix: str, plant: Callable[..., Event | None], tmp_path: Path) -> None:
    pytest.importorskip("cmaes", reason="CMA-ES needs the extra cmaes")
    rows = samples.log_of(tmp_path, samples.scenario(CMA[prefix], samples.HALVING, space=samples.NUMBERS, jobs=6))
    trap = tmp_path / "sprung"
    attrs = {f"{prefix}:optimizer:0": pickle.dumps(Bomb(trap)).hex(), f"{prefix}:generation": 0}
    forged = [
        msgspec.structs.replace(r, event=event) if (event := plant(r.event, attrs)) is not None else r for r in rows
    ]
    assert forged != rows
    for use in (walked, viewed, asked):
        if plant is in_the_study:
            use(forged)
        else:
            with pytest.raises(DamagedLog, match="is a pickle"):
                use(forged)
        assert not trap.exists()
    pickle.loads(bytes.fromhex(str(attrs[f"{prefix}:optimizer:0"])))  # noqa: S301  the control: it does spring
    assert trap.exists()


def walked(rows: Rows) -> None:
    list(check_prefixes(rows))


def viewed(rows: Rows) -> None:
    StateViewOf(rows)


def asked(rows: Rows) -> None:
    decided(fold(rows), Suggest())
