"""Searches over sets: what each sampler makes of them, a person's points, and the end of a finite space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventhpo.core.fold.events import PointEnqueued, Recorded, TrialSuggested
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search import space as spaces
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    Parameter,
    ParameterChoice,
    ParameterSet,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.optuna_adapter.component_checks import check_sampler
from eventhpo.optuna_adapter.distributions import distributions
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.search_file.changed_keys import differences
from eventhpo.views import top
from replay.decide.check_prefixes import check_prefixes
from tests.core.test_parameter_set import set_spaces
from tests.optuna_adapter import samples
from tests.optuna_adapter.oracle import verdict_of
from tests.optuna_adapter.test_suggest import quiet

A = UniformIntegerParameterRange(name="General/a", min_value=1, max_value=4)
B = UniformIntegerParameterRange(name="General/b", min_value=1, max_value=3)
X = UniformParameterRange(name="General/x", min_value=0.0, max_value=1.0)
N = UniformIntegerParameterRange(name="Other/n", min_value=1, max_value=2)
KIND = DiscreteParameterRange(name="General/kind", values=("wide", "x"))
FINITE = ParameterSet(
    name="kind",
    sets=(
        ParameterChoice(values={"General/kind": "deep"}, ranges=(A, B)),
        ParameterChoice(values={"General/kind": "wide"}, ranges=(B,)),
        ParameterChoice(values={"General/kind": "none"}),
        ParameterChoice(values={"General/b": 2}, ranges=(KIND,)),
    ),
)
POINTS = (12 + 3 + 1 + 1) * 2  # wide with b = 2 is in two sets
MOMENTUM = UniformParameterRange(name="General/momentum", min_value=0.0, max_value=0.9)
OPTIMIZER = ParameterSet(
    name="optimizer",
    sets=(
        ParameterChoice(values={"General/optimizer": "sgd"}, ranges=(MOMENTUM,)),
        ParameterChoice(values={"General/optimizer": "nesterov"}, ranges=(MOMENTUM,)),
        ParameterChoice(values={"General/optimizer": "adam"}),
        ParameterChoice(values={"General/optimizer": "none"}),
    ),
)
SAMPLERS = {
    "random": samples.RANDOM,
    "tpe": ComponentConfig("TPESampler", {"n_startup_trials": 5}),
    "tpe in groups": ComponentConfig("TPESampler", {"n_startup_trials": 5, "multivariate": True, "group": True}),
    "sobol": ComponentConfig("QMCSampler", {"scramble": True}),
    "nsga2": ComponentConfig("NSGAIISampler", {"population_size": 4}),
    "nsga3": ComponentConfig("NSGAIIISampler", {"population_size": 4}),
    "brute force": ComponentConfig("BruteForceSampler"),
    "brute force, careful": ComponentConfig("BruteForceSampler", {"avoid_premature_stop": True}),
    "cma-es": ComponentConfig("CmaEsSampler", {"n_startup_trials": 4}),
}
ALL = pytest.mark.parametrize("name", SAMPLERS)


def suggested(rows: list[Recorded]) -> list[TrialSuggested]:
    return [row.event for row in rows if isinstance(row.event, TrialSuggested)]


def decided_again(rows: list[Recorded]) -> None:
    assert verdict_of(rows).wrong == []
    assert [c.divergence for c in check_prefixes(rows) if c.divergence] == []


# ---------------------------------------------------------------- what a trial has


@ALL
def test_a_job_gets_the_names_and_values_of_one_set_and_the_sampler_knows_the_choice(name: str, tmp_path: Path) -> None:
    space: tuple[Parameter, ...] = (N, FINITE) if name.startswith("brute") else (N, OPTIMIZER)
    rows = samples.log_of(tmp_path, quiet(SAMPLERS[name], space, total_max_jobs=25))
    (chosen,) = spaces.parameter_sets(space)
    taken = set()
    for event in suggested(rows):
        assert event.point is not None
        k = event.point[chosen.name]
        assert isinstance(k, int)
        taken.add(k)
        one = chosen.sets[k]
        assert set(event.params) == {"Other/n", *one.values, *(r.name for r in one.ranges)}
        assert one.values.items() <= event.params.items()
        assert set(event.point) == {"Other/n", chosen.name, *(f"{chosen.name}[{k}].{r.name}" for r in one.ranges)}
        for r in one.ranges:
            assert event.params[r.name] == event.point[f"{chosen.name}[{k}].{r.name}"]
    assert taken == {0, 1, 2, 3}
    decided_again(rows)


def test_optuna_sees_a_trial_with_what_its_own_set_has_in_the_order_of_the_space(tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.SAMPLERS["sets, tpe"]())
    state = fold(rows)
    view = StateView(state)
    view.refresh()
    order = list(distributions(state.search.space))
    for trial, frozen in zip(state.trials, view.get_all_trials(0), strict=True):
        assert frozen.params == trial.point
        assert list(frozen.params) == list(frozen.distributions) == [name for name in order if name in trial.point]


def test_tpe_learns_which_set_is_the_best(tmp_path: Path) -> None:
    """Jobs report the sum of their numbers: with none there is nothing below it."""
    space = (OPTIMIZER, UniformParameterRange(name="General/x", min_value=1.0, max_value=2.0))
    sampler = ComponentConfig("TPESampler", {"n_startup_trials": 8, "multivariate": True, "group": True})
    rows = samples.log_of(tmp_path, quiet(sampler, space, total_max_jobs=60))
    late = [event.params["General/optimizer"] for event in suggested(rows)[30:]]
    assert sum(one in ("adam", "none") for one in late) > 20


# ---------------------------------------------------------------- a finite space


@ALL
def test_a_finite_space_of_sets_is_tried_once_over_and_ends_the_search(name: str, tmp_path: Path) -> None:
    space = (FINITE, N)
    rows = samples.log_of(tmp_path, quiet(SAMPLERS[name], space))
    state = fold(rows)
    every = {spaces.key(space, spaces.job_params(space, point)) for point in spaces.points(space)}
    assert state.space_size == len(every) == POINTS
    tried = [state.point_key(event.params) for event in suggested(rows)]
    assert len(tried) == POINTS
    assert set(tried) == every
    assert state.finished is not None
    assert (state.finished.reason, state.totals.tried) == ("space", POINTS)
    assert not any(event.duplicate for event in suggested(rows))
    decided_again(rows)


def test_a_set_without_end_makes_a_space_without_end(tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, quiet(samples.RANDOM, (OPTIMIZER,), total_max_jobs=9))
    state = fold(rows)
    assert state.space_size is None
    assert len(state.trials) == 9
    assert any(event.tries > 1 for event in suggested(rows))  # two of its sets are single points
    decided_again(rows)


def test_brute_force_walks_the_sets_without_help(tmp_path: Path) -> None:
    alone = ParameterSet(name="kind", sets=FINITE.sets[:3])  # nothing in common
    rows = samples.log_of(tmp_path, quiet(ComponentConfig("BruteForceSampler"), (alone, N), num_concurrent_workers=3))
    assert [event.tries for event in suggested(rows)] == [1] * 32


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(space=set_spaces(), name=st.sampled_from(["random", "tpe", "brute force"]), seed=st.integers(0, 99))
def test_any_finite_space_of_sets_is_used_up(
    space: tuple[Parameter, ...], name: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    what = quiet(SAMPLERS[name], space, seed=seed, max_failed_trials=None)
    rows = samples.log_of(tmp_path_factory.mktemp("log"), what)
    state = fold(rows)
    assert state.finished is not None
    assert state.finished.reason == "space"
    assert len(state.trials) == spaces.size(space) == len(state.taken)
    decided_again(rows)


# ---------------------------------------------------------------- points of a person


def with_points(
    tmp_path: Path, sampler: ComponentConfig, *given: dict[str, Scalar], seed: int = 0
) -> list[TrialSuggested]:
    inputs = [PointEnqueued(params=one) for one in given]
    what = quiet(sampler, (OPTIMIZER, X), inputs=inputs, total_max_jobs=len(given) + 2, seed=seed)
    rows = samples.log_of(tmp_path, what)
    decided_again(rows)
    events = suggested(rows)
    assert [event.source for event in events[: len(given)]] == ["user"] * len(given)
    for event, params in zip(events, given, strict=False):
        assert params.items() <= event.params.items()
    return events[: len(given)]


@ALL
def test_a_value_that_decides_the_set_decides_it_and_the_rest_is_sampled(name: str, tmp_path: Path) -> None:
    if name.startswith("brute"):
        pytest.skip("its space has no range without a step")
    points: list[dict[str, Scalar]] = [
        {"General/optimizer": "sgd", "General/momentum": 0.5},
        {"General/optimizer": "adam"},
        {"General/optimizer": "nesterov", "General/x": 0.25},
    ]
    events = with_points(tmp_path, SAMPLERS[name], *points)
    assert [event.point["optimizer"] for event in events if event.point] == [0, 2, 1]
    assert [event.tries for event in events] == [1, 1, 1]
    assert events[0].params.keys() == {"General/optimizer", "General/momentum", "General/x"}
    assert "General/momentum" in events[2].params


def test_a_point_that_leaves_the_set_open_has_it_chosen_by_the_sampler(tmp_path: Path) -> None:
    found = [with_points(tmp_path, samples.RANDOM, {"General/x": 0.25}, seed=seed)[0] for seed in range(12)]
    assert {event.params["General/optimizer"] for event in found} == {"sgd", "nesterov", "adam", "none"}
    assert {event.tries for event in found} == {1}


def test_where_some_sets_fit_the_sampler_chooses_and_the_first_stands_in_for_one_that_does_not(tmp_path: Path) -> None:
    found = [with_points(tmp_path, samples.RANDOM, {"General/momentum": 0.5}, seed=seed)[0] for seed in range(12)]
    once = [event for event in found if event.tries == 1]
    again = [event for event in found if event.tries == 2]
    assert len(once) + len(again) == 12
    assert {event.params["General/optimizer"] for event in once} == {"sgd", "nesterov"}
    assert {event.params["General/optimizer"] for event in again} == {"sgd"}


def test_two_open_choices_are_settled_together(tmp_path: Path) -> None:
    other = ParameterSet(
        name="other",
        sets=tuple(ParameterChoice(values={"Net/kind": k}, ranges=(X,) if k % 2 else ()) for k in range(6)),
    )
    given: dict[str, Scalar] = {"General/momentum": 0.5, "General/x": 0.25}
    for seed in range(12):
        what = quiet(
            samples.RANDOM, (OPTIMIZER, other), inputs=[PointEnqueued(params=given)], total_max_jobs=2, seed=seed
        )
        rows = samples.log_of(tmp_path, what)
        first = suggested(rows)[0]
        assert given.items() <= first.params.items()
        assert first.tries in (1, 2)
        decided_again(rows)


def test_a_point_that_another_set_tried_is_a_duplicate(tmp_path: Path) -> None:
    given: list[dict[str, Scalar]] = [{"General/kind": "wide", "General/b": 2, "Other/n": 1}] * 2
    rows = samples.log_of(tmp_path, quiet(samples.RANDOM, (FINITE, N), inputs=[PointEnqueued(params=g) for g in given]))
    events = suggested(rows)
    assert [event.duplicate for event in events[:2]] == [False, True]
    assert len(events) == POINTS + 1
    decided_again(rows)


# ---------------------------------------------------------------- what samplers cannot do

BASE = {"base_sampler": {"name": "TPESampler"}}
REFUSED: dict[str, tuple[ComponentConfig, tuple[Parameter, ...], str]] = {
    "a grid": (
        ComponentConfig("GridSampler", {"search_space": {"Other/n": [1], "kind": [0]}}),
        (N, FINITE),
        'name: found "GridSampler", expected one that can leave parameters out, as BruteForceSampler, for space.kind',
    ),
    "a fixed value in a set": (
        ComponentConfig("PartialFixedSampler", {"fixed_params": {"General/momentum": 0.5}} | BASE),
        (N, OPTIMIZER),
        'fixed_params."General/momentum": found 0.5, expected nothing: write the value into its ParameterSet',
    ),
    "a fixed choice": (
        ComponentConfig("PartialFixedSampler", {"fixed_params": {"optimizer": 1}} | BASE),
        (N, OPTIMIZER),
        "fixed_params.optimizer: found 1, expected nothing",
    ),
    "brute force over a range without a step": (
        ComponentConfig("BruteForceSampler"),
        (N, OPTIMIZER),
        "a step_size for each range in space.optimizer",
    ),
    "a start of what a set has": (
        ComponentConfig("CmaEsSampler", {"x0": {"Other/n": 1, "General/x": 0.5, "General/momentum": 0.1}}),
        (N, X, OPTIMIZER),
        "x0: found",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_sampler_that_cannot_sample_sets_is_refused_with_what_to_write(name: str) -> None:
    named, space, said = REFUSED[name]
    (found,) = map(str, check_sampler(named, space, 1))
    assert said in found


@pytest.mark.parametrize("named", SAMPLERS.values(), ids=SAMPLERS)
def test_the_others_are_accepted(named: ComponentConfig) -> None:
    assert check_sampler(named, (FINITE, N), 1) == []


def test_cma_es_may_start_anywhere_if_sets_hold_no_range_of_numbers() -> None:
    kinds = ParameterSet(name="kind", sets=(ParameterChoice(values={"General/kind": "a"}),))
    assert (
        check_sampler(ComponentConfig("CmaEsSampler", {"x0": {"Other/n": 1, "General/x": 0.5}}), (N, X, kinds), 1) == []
    )


# ---------------------------------------------------------------- shown


def test_what_is_shown_of_a_trial_is_what_its_job_got(tmp_path: Path) -> None:
    given: dict[str, Scalar] = {"General/optimizer": "adam", "General/x": 0.5}
    inputs = [PointEnqueued(params=given)]
    state = fold(samples.log_of(tmp_path, quiet(samples.RANDOM, (OPTIMIZER, X), inputs=inputs, total_max_jobs=1)))
    (row,) = top.rows(state)
    assert row.hyper_parameters == {"General/optimizer": "adam", "General/x": "0.5"}
    head, line = top.table(state, [row])
    assert head.split()[-3:] == ["General/optimizer", "General/momentum", "General/x"]
    assert line.split()[-3:] == ["adam", "-", "0.5"]
    assert top.describe_trial(state, state.trials[0]).endswith("General/optimizer=adam General/x=0.5")


def changed(**fields: Any) -> list[str]:
    recorded = quiet(samples.RANDOM, (N, OPTIMIZER)).search
    sets = list(OPTIMIZER.sets)
    sets[0] = ParameterChoice(**{"values": OPTIMIZER.sets[0].values, "ranges": OPTIMIZER.sets[0].ranges} | fields)
    return differences(recorded, quiet(samples.RANDOM, (N, ParameterSet(name="optimizer", sets=tuple(sets)))).search)


def test_a_changed_set_is_named_by_what_changed() -> None:
    assert changed() == []
    assert changed(values={"General/optimizer": "SGD"}) == ['space.optimizer.sets[0]."General/optimizer"']
    wider = UniformParameterRange(name="General/momentum", min_value=0.0, max_value=1.0)
    assert changed(ranges=(wider,)) == ['space.optimizer.sets[0]."General/momentum".max_value']
