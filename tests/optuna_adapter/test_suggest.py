"""Suggestions are what Optuna's samplers say, each made for one question; a point is tried once where that can be."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest

from eventhpo.core.fold.events import PointEnqueued, Recorded, TrialFinished, TrialSuggested
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.ranges import FINITE, to_job
from eventhpo.core.search.space import points
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    Parameter,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.optuna_adapter.suggest import TRIES, TRIES_IF_MUCH_IS_TAKEN
from eventhpo.testing.simulated import Script
from replay.decide.check_prefixes import check_prefixes
from tests.crash.scenarios import Scenario, curve
from tests.optuna_adapter import samples
from tests.optuna_adapter.oracle import Oracle, verdict_of

Rows = list[Recorded]
X = UniformParameterRange(name="General/x", min_value=0.0, max_value=1.0)
STEPPED = UniformParameterRange(name="General/x", min_value=0.0, max_value=0.7, step_size=0.1)
COUNT = UniformIntegerParameterRange(name="Args/n", min_value=1, max_value=5)


def suggested(rows: Rows) -> list[TrialSuggested]:
    return [row.event for row in rows if isinstance(row.event, TrialSuggested)]


def keys(rows: Rows) -> list[tuple[Scalar, ...]]:
    return [tuple(event.params.values()) for event in suggested(rows)]


def ending(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=curve(sum(v for v in params.values() if isinstance(v, int | float)), 4))


def quiet(sampler: ComponentConfig, space: tuple[Parameter, ...], **more: Any) -> Scenario:
    """Return a search whose jobs simply end, without any limit but its space unless *more* has one."""
    limits: dict[str, Any] = dict.fromkeys(("max_iteration_per_job", "total_max_jobs", "time_limit_per_job"))
    what = samples.scenario(sampler, space=space, **limits | {"num_concurrent_workers": 2} | more)
    return Scenario(what.search, ending, inputs=what.inputs, asks=what.asks)


def decided_again(rows: Rows) -> None:
    """Check that Optuna, fed by the log, says the same, and so does the walk."""
    assert verdict_of(rows).wrong == []
    assert [c.divergence for c in check_prefixes(rows) if c.divergence] == []


# ---------------------------------------------------------------- the same as Optuna's


@pytest.mark.parametrize("name", samples.SAMPLERS)
def test_every_suggestion_is_optunas_on_a_storage_of_its_own(name: str, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.made(name))
    oracle = verdict_of(rows)
    assert oracle.wrong == []
    assert oracle.suggested >= 15


class LongLived(Oracle):
    """Asks one sampler for all trials, as Optuna is normally used."""

    sampler: optuna.samplers.BaseSampler | None = None

    def _study(self, sampler: Any, pruner: Any, storage: Any = None) -> optuna.Study:
        if storage is not None:
            self.sampler = sampler = self.sampler or sampler
        return super()._study(sampler, pruner, storage)


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2", "fixed, over tpe", "cma-es", "sets, tpe, one by one"])
def test_a_long_lived_sampler_says_something_else_from_the_second_trial_on(name: str, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.made(name))
    wrong = verdict_of(rows, LongLived).wrong
    assert len(wrong) >= 10
    assert not any(text.startswith("trial 0:") for text in wrong)


def test_no_two_trials_share_what_chance_gives_them(tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, quiet(samples.RANDOM, (X,), total_max_jobs=40))
    assert len(set(keys(rows))) == 40


# ---------------------------------------------------------------- duplicates


@pytest.mark.parametrize(
    "sampler",
    [
        samples.RANDOM,
        ComponentConfig("TPESampler", {"n_startup_trials": 5}),
        ComponentConfig("BruteForceSampler"),
        ComponentConfig("QMCSampler", {"scramble": True}),
        ComponentConfig("NSGAIISampler", {"population_size": 4}),
        ComponentConfig("CmaEsSampler", {"n_startup_trials": 4}),
    ],
    ids=lambda s: s.name,
)
def test_a_finite_space_is_tried_once_over_and_ends_the_search(sampler: ComponentConfig, tmp_path: Path) -> None:
    x = UniformParameterRange(name="General/x", min_value=0.1, max_value=0.4, step_size=0.1)
    space = (x, COUNT)
    rows = samples.log_of(tmp_path, quiet(sampler, space))
    every = [(point["Args/n"], to_job(x, point["General/x"])) for point in points(space)]
    assert len(set(every)) == 20
    assert len(keys(rows)) == 20
    assert set(keys(rows)) == set(every)
    state = fold(rows)
    assert state.finished is not None
    assert state.finished.reason == "space"
    assert not any(event.duplicate for event in suggested(rows))
    decided_again(rows)


def test_after_its_tries_a_finite_space_is_enumerated_and_the_seed_picks(tmp_path: Path) -> None:
    def found(seed: int) -> Rows:
        return samples.log_of(tmp_path, quiet(samples.RANDOM, (STEPPED, COUNT), seed=seed))

    enumerated = [event for seed in range(4) for event in suggested(found(seed)) if event.enumerated]
    assert enumerated
    assert {event.tries for event in enumerated} == {TRIES_IF_MUCH_IS_TAKEN} == {2}
    assert all(event.attrs == {} for event in enumerated)
    assert keys(found(1)) == keys(found(1)) != keys(found(2))


def test_an_infinite_space_accepts_the_duplicate_after_fifty_tries(tmp_path: Path) -> None:
    # Children that are exact copies of a parent: duplicates without end in a space without end.
    copying = ComponentConfig(
        "NSGAIISampler", {"population_size": 2, "crossover_prob": 0.0, "mutation_prob": 0.0, "swapping_prob": 0.0}
    )
    rows = samples.log_of(tmp_path, quiet(copying, (STEPPED, X), total_max_jobs=8))
    accepted = [event for event in suggested(rows) if event.duplicate]
    assert accepted
    assert {event.tries for event in accepted} == {50}
    assert not any(event.enumerated for event in suggested(rows))
    assert len(set(keys(rows))) == 8 - len(accepted)
    decided_again(rows)


def test_a_space_too_large_to_be_listed_counts_as_infinite(tmp_path: Path) -> None:
    large = UniformIntegerParameterRange(name="General/big", min_value=0, max_value=FINITE)
    fixed = ComponentConfig(
        "PartialFixedSampler", {"fixed_params": {"big": 5}, "base_sampler": {"name": "RandomSampler"}}
    )
    state = fold(samples.log_of(tmp_path, quiet(samples.RANDOM, (COUNT, large), total_max_jobs=3)))
    assert state.space_size is None
    state = fold(samples.log_of(tmp_path, quiet(fixed, (COUNT, large))))
    assert state.space_size == len(state.trials) == 5  # what is proposed counts


def test_a_trial_that_was_aborted_leaves_its_point_free(tmp_path: Path) -> None:
    rows = samples.log_of(
        tmp_path,
        samples.scenario(
            samples.RANDOM,
            space=(COUNT,),
            asks=[(20, samples.ABORT[0][1])],
            max_iteration_per_job=None,
            total_max_jobs=None,
        ),
    )
    state = fold(rows)
    aborted = [t.params for t in state.trials if t.finished is not None and t.finished.state == "aborted"]
    assert aborted
    assert all(sum(t.params == point for t in state.trials) == 2 for point in aborted)
    assert state.finished is not None
    assert state.finished.reason == "space"
    decided_again(rows)


# ---------------------------------------------------------------- grid, sequence, brute force, fixed


@pytest.mark.parametrize("user", [None, {"Args/n": 3, "General/x": 0.25}, {"Args/n": 2, "General/x": 0.875}])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_grid_in_ranges_without_a_step_never_repeats_and_ends(
    user: dict[str, Scalar] | None, seed: int, tmp_path: Path
) -> None:
    grid = ComponentConfig("GridSampler", {"search_space": {"x": [0.75, 0.25], "Args/n": [5, 3, 4]}})
    inputs = () if user is None else (PointEnqueued(params=user),)
    rows = samples.log_of(tmp_path, quiet(grid, (X, COUNT), seed=seed, inputs=inputs))
    on_grid = {(n, x) for n in (3, 4, 5) for x in (0.25, 0.75)}
    of_user = set() if user is None else {tuple(user.values())}
    assert len(keys(rows)) == len(set(keys(rows)))
    assert set(keys(rows)) == on_grid | of_user
    state = fold(rows)
    assert state.finished is not None
    assert state.finished.reason == "space"
    decided_again(rows)


def test_a_point_of_a_grid_whose_trial_was_aborted_is_tried_again(tmp_path: Path) -> None:
    grid = ComponentConfig("GridSampler", {"search_space": {"x": [0.75, 0.25, 0.5, 0.125], "Args/n": [5, 3]}})
    rows = samples.log_of(tmp_path, quiet(grid, (X, COUNT), asks=[(20, samples.ABORT[0][1])]))
    ended = [row.event for row in rows if isinstance(row.event, TrialFinished)]
    aborted = sum(event.state == "aborted" for event in ended)
    assert aborted > 0
    assert len(keys(rows)) == 8 + aborted
    assert len(set(keys(rows))) == 8
    decided_again(rows)


def test_a_grid_that_repeats_itself_says_nothing_of_it(tmp_path: Path) -> None:
    """It is asked fifty times, and would write as many lines; nor is the verbosity of others changed."""
    said: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record)

    before, listener = optuna.logging.get_verbosity(), Listener()
    grid = ComponentConfig("GridSampler", {"search_space": {"x": [0.75, 0.25, 0.5, 0.125], "Args/n": [5, 3]}})
    logging.getLogger("optuna").addHandler(listener)
    try:
        rows = samples.log_of(tmp_path, quiet(grid, (X, COUNT), asks=[(20, samples.ABORT[0][1])]))
    finally:
        logging.getLogger("optuna").removeHandler(listener)
    assert any(event.enumerated for event in suggested(rows))
    assert said == []
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize("qmc", [{}, {"scramble": True}, {"qmc_type": "halton"}])
def test_a_sequence_keeps_its_counter_over_refused_tries(qmc: dict[str, Any], tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, quiet(ComponentConfig("QMCSampler", qmc), (STEPPED, COUNT), total_max_jobs=30))
    events = [event for event in suggested(rows) if event.study_attrs]
    counters = [next(iter(event.study_attrs.values())) for event in events]
    assert any(event.tries > 1 for event in events)
    steps = [b - a for a, b in pairwise(counters)]
    assert steps == [event.tries for event in events[1:]]  # each try goes one further, accepted or not
    decided_again(rows)


def test_brute_force_ends_with_the_space_and_needs_few_tries(tmp_path: Path) -> None:
    rows = samples.log_of(
        tmp_path, quiet(ComponentConfig("BruteForceSampler"), (STEPPED, COUNT), num_concurrent_workers=4)
    )
    assert len(set(keys(rows))) == len(keys(rows)) == 40
    assert all(event.tries == 1 for event in suggested(rows))


def test_a_fixed_value_in_a_range_without_a_step_leaves_a_finite_space(tmp_path: Path) -> None:
    copying = {"name": "NSGAIISampler", "population_size": 2, "crossover_prob": 0.0, "mutation_prob": 0.0}
    fixed = ComponentConfig("PartialFixedSampler", {"fixed_params": {"x": 0.25}, "base_sampler": copying})
    other = PointEnqueued(params={"General/x": 0.5, "Args/n": 2})
    rows = samples.log_of(tmp_path, quiet(fixed, (X, COUNT), inputs=(other,)))
    assert sorted(keys(rows)) == [(1, 0.25), (2, 0.25), (2, 0.5), (3, 0.25), (4, 0.25), (5, 0.25)]
    assert any(event.enumerated for event in suggested(rows))
    state = fold(rows)
    assert state.finished is not None
    assert state.finished.reason == "space"
    decided_again(rows)


# ---------------------------------------------------------------- points of a user


KIND = DiscreteParameterRange(name="Args/kind", values=("a", "b"))


def test_a_users_points_come_first_and_what_they_leave_out_is_sampled(tmp_path: Path) -> None:
    given: list[dict[str, Scalar]] = [
        {"General/x": 0.3, "Args/n": 2},
        {"Args/n": 5},
        {"General/x": 0.3, "Args/n": 2},
        {"General/x": 0.7},
    ]
    inputs = [PointEnqueued(params=one) for one in given]
    sampler = ComponentConfig("TPESampler", {"n_startup_trials": 2})
    rows = samples.log_of(tmp_path, quiet(sampler, (STEPPED, COUNT), inputs=inputs, total_max_jobs=12))
    events = suggested(rows)
    assert [event.source for event in events] == ["user"] * 4 + ["sampler"] * 8
    for event, params in zip(events, given, strict=False):
        assert params.items() <= event.params.items()
        assert event.params.keys() == {"General/x", "Args/n"}
    assert [event.duplicate for event in events[:3]] == [False, False, True]
    assert [event.tries for event in events[:4]] == [1] * 4
    assert len({tuple(e.params.values()) for e in events[4:]} - {tuple(e.params.values()) for e in events[:4]}) == 8
    assert not any("fixed_params" in event.attrs for event in events)
    decided_again(rows)


@pytest.mark.parametrize("name", ["QMCSampler", "NSGAIISampler", "CmaEsSampler", "BruteForceSampler"])
def test_a_users_partial_point_is_filled_by_any_sampler(name: str, tmp_path: Path) -> None:
    inputs = [PointEnqueued(params={"General/x": 0.3}), PointEnqueued(params={"Args/kind": "b"})]
    space = (STEPPED, COUNT, KIND)
    rows = samples.log_of(tmp_path, quiet(ComponentConfig(name), space, inputs=inputs, total_max_jobs=10))
    assert [event.source for event in suggested(rows)][:3] == ["user", "user", "sampler"]
    decided_again(rows)


# ---------------------------------------------------------------- points and what a job gets


def test_a_point_that_its_job_knows_by_another_value_is_recorded_and_restored(tmp_path: Path) -> None:
    space = (samples.LR, samples.DROP)
    users = [PointEnqueued(params={"General/lr": 10.0**-3.5, "Args/drop": 0.3})]
    rows = samples.log_of(tmp_path, quiet(ComponentConfig("TPESampler"), space, inputs=users, total_max_jobs=25))
    state = fold(rows)
    view = StateView(state)
    view.refresh()
    for event, trial, frozen in zip(suggested(rows), state.trials, view.get_all_trials(0), strict=True):
        assert event.point is not None
        exponent = event.point["General/lr"]
        assert isinstance(exponent, float)
        assert event.params["General/lr"] == 10.0**exponent
        assert event.params["Args/drop"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # without the noise of 3 * 0.1
        assert trial.point == event.point == frozen.params
    assert suggested(rows)[0].point == {"General/lr": -3.5, "Args/drop": 0.3}
    decided_again(rows)


def test_a_point_that_is_what_its_job_gets_is_recorded_once(tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, quiet(samples.RANDOM, (X, COUNT, KIND), total_max_jobs=5))
    assert [event.point for event in suggested(rows)] == [None] * 5
    assert [t.point for t in fold(rows).trials] == [event.params for event in suggested(rows)]


def test_each_try_has_a_seed_of_its_own(tmp_path: Path) -> None:
    """With one seed for all tries the same point would be refused fifty times."""
    rows = samples.log_of(tmp_path, quiet(samples.RANDOM, (STEPPED, COUNT)))
    assert any(1 < event.tries < TRIES for event in suggested(rows))
