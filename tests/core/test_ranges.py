"""The space: which values there are, for a sampler and for a job."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eventhpo.core.search.ranges import from_job, snap, to_job
from eventhpo.core.search.space import points, size
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.optuna_adapter.component_factory import build_sampler
from eventhpo.optuna_adapter.distributions import distribution, distributions
from eventhpo.optuna_adapter.space_checks import parameter_mistakes
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from tests.core.rules import run

NAME = "General/x"


def uniform(low: float, high: float, step: float | None = None, last: bool = True) -> UniformParameterRange:
    return UniformParameterRange(name=NAME, min_value=low, max_value=high, step_size=step, include_max_value=last)


def log(
    low: float, high: float, step: float | None = None, last: bool = True, base: float = 10.0
) -> LogUniformParameterRange:
    return LogUniformParameterRange(
        name=NAME, min_value=low, max_value=high, base=base, step_size=step, include_max_value=last
    )


def integer(low: int, high: int, step: int = 1, last: bool = True) -> UniformIntegerParameterRange:
    return UniformIntegerParameterRange(
        name=NAME, min_value=low, max_value=high, step_size=step, include_max_value=last
    )


def discrete(*values: Scalar) -> DiscreteParameterRange:
    return DiscreteParameterRange(name=NAME, values=values)


def jobs_get(p: Parameter) -> list[Scalar]:
    return [to_job(p, point[NAME]) for point in points((p,))]


GRIDS: dict[str, tuple[Parameter, list[Scalar]]] = {
    "a step that divides the range": (uniform(0, 0.5, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    "without its maximum": (uniform(0, 0.5, 0.1, last=False), [0.0, 0.1, 0.2, 0.3, 0.4]),
    "a step that does not divide it": (uniform(0, 1, 0.3), [0.0, 0.3, 0.6, 0.9]),
    "the same without its maximum": (uniform(0, 1, 0.3, last=False), [0.0, 0.3, 0.6, 0.9]),
    "from below zero": (uniform(-0.3, 0.3, 0.3), [-0.3, 0.0, 0.3]),
    "one value": (uniform(2, 2), [2.0]),
    "exponents": (log(-3, 0, 1), [0.001, 0.01, 0.1, 1.0]),
    "exponents without the last": (log(-3, 0, 1, last=False), [0.001, 0.01, 0.1]),
    "half exponents": (log(0, 1, 0.5), [1.0, 10.0**0.5, 10.0]),
    "powers of two": (log(3, 6, 1, base=2), [8.0, 16.0, 32.0, 64.0]),
    "one power": (log(2, 2), [100.0]),
    "integers": (integer(4, 16, 4), [4, 8, 12, 16]),
    "integers without the last": (integer(4, 16, 4, last=False), [4, 8, 12]),
    "integers that miss the maximum": (integer(1, 10, 4), [1, 5, 9]),
    "integers that miss it, without it": (integer(1, 10, 4, last=False), [1, 5, 9]),
    "one integer": (integer(3, 3), [3]),
    "values": (discrete("a", 2, 0.5, True, None), ["a", 2, 0.5, True, None]),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_has_exactly_these_values_and_types(name: str) -> None:
    p, expected = GRIDS[name]
    found = jobs_get(p)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]
    assert size((p,)) == len(expected)


@pytest.mark.parametrize("name", GRIDS)
def test_every_value_of_a_grid_is_found_again_from_what_its_job_gets(name: str) -> None:
    p, _ = GRIDS[name]
    for point in points((p,)):
        assert from_job(p, to_job(p, point[NAME])) == point[NAME]


@pytest.mark.parametrize("name", GRIDS)
def test_every_value_of_a_grid_lies_in_optunas_distribution(name: str) -> None:
    p, expected = GRIDS[name]
    optunas = distribution(p)
    for point in points((p,)):
        assert optunas._contains(optunas.to_internal_repr(point[NAME]))
    assert optunas.single() == (len(expected) == 1)


def test_a_range_without_its_maximum_ends_at_the_last_float_below_it() -> None:
    assert distribution(uniform(0, 1, last=False)) == optuna.distributions.FloatDistribution(
        0.0, math.nextafter(1.0, 0.0)
    )
    assert distribution(log(-5, 0, last=False)) == optuna.distributions.FloatDistribution(
        1e-5, math.nextafter(1.0, 0.0), log=True
    )


def test_a_space_counts_as_finite_up_to_a_hundred_thousand_points() -> None:
    tens = tuple(UniformIntegerParameterRange(name=f"General/{k}", min_value=1, max_value=10) for k in range(6))
    assert size(tens[:5]) == 100_000
    assert size(tens) is None
    assert size((*tens[:1], uniform(0, 1))) is None


def test_points_come_in_one_order_each_once_with_the_last_parameter_turning_fastest() -> None:
    space = (integer(1, 2), DiscreteParameterRange(name="General/y", values=("a", "b")))
    assert list(points(space)) == [
        {NAME: 1, "General/y": "a"},
        {NAME: 1, "General/y": "b"},
        {NAME: 2, "General/y": "a"},
        {NAME: 2, "General/y": "b"},
    ]


def test_points_of_an_infinite_space_are_refused() -> None:
    with pytest.raises(ValueError, match="General/x is a range without a step"):
        next(points((uniform(0, 1),)))


OUTSIDE: list[tuple[Parameter, Any, str]] = [
    (uniform(0, 1), 1.5, "a number from 0.0 to 1.0"),
    (uniform(0, 1), True, "a number from 0.0 to 1.0"),
    (uniform(0, 1), "0.5", "a number from 0.0 to 1.0"),
    (uniform(0, 1), math.nan, "a number from 0.0 to 1.0"),
    (uniform(0, 1, last=False), 1.0, "a number from 0.0 to 0.9999999999999999"),
    (uniform(0, 1, 0.1), 0.55, "in steps of 0.1"),
    (uniform(0, 1, 0.1, last=False), 1.0, "from 0.0 to 0.9 in steps of 0.1"),
    (log(-5, 0), 2, "a number from 1e-05 to 1, on a log scale"),
    (log(-5, 0, 1), 0.02, "in steps of 1 of the exponent of 10.0"),
    (log(-5, 0, 1), -0.1, "in steps of"),
    (log(-5, 0, 1), 0.0, "in steps of"),
    (integer(1, 9, 2), 4, "a whole number from 1 to 9 in steps of 2"),
    (integer(1, 9), 3.0, "a whole number from 1 to 9"),
    (integer(1, 9), True, "a whole number from 1 to 9"),
    (integer(1, 9, last=False), 9, "a whole number from 1 to 8"),
    (discrete("a", 1), True, 'one of ["a", 1]'),
    (discrete("a", True), 1, 'one of ["a", true]'),
    (discrete("a"), "b", 'one of ["a"]'),
]


@pytest.mark.parametrize(("p", "value", "said"), OUTSIDE, ids=range(len(OUTSIDE)))
def test_a_value_outside_is_refused_with_what_is_inside(p: Parameter, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        from_job(p, value)


def test_a_whole_number_is_a_value_of_a_range_of_floats_and_becomes_one() -> None:
    value = from_job(uniform(0, 2), 1)
    assert (value, type(value)) == (1.0, float)
    assert from_job(discrete(0.5, 1.0), 1) == 1.0


def test_the_noise_of_a_sum_of_steps_is_taken_off() -> None:
    p = uniform(0, 1, 0.1)
    assert 3 * 0.1 != 0.3
    assert to_job(p, 3 * 0.1) == 0.3
    assert snap(p, 3 * 0.1) == 0.3
    assert from_job(p, 3 * 0.1) == 0.3


def test_a_range_that_is_not_sound_has_no_distribution() -> None:
    with pytest.raises(ValueError, match=r"General/x: values\[1\]: found true, expected a value that differs from 1"):
        distribution(discrete(1, True))


FLOATS = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda x: float(f"{x:.6g}"))
STEPS = st.none() | st.floats(min_value=1e-3, max_value=1e3).map(lambda x: float(f"{x:.4g}"))


@st.composite
def parameters(draw: st.DrawFn) -> Parameter:
    """Draw a sound range of any type."""
    last = draw(st.booleans())
    kind = draw(st.sampled_from(["uniform", "log", "integer", "discrete"]))
    p: Parameter
    if kind == "integer":
        low, width, step = draw(st.integers(-1000, 1000)), draw(st.integers(0, 1000)), draw(st.integers(1, 50))
        p = integer(low, low + width, step, last)
    elif kind == "discrete":
        values = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3)
        p = discrete(*draw(st.lists(values, min_size=1, max_size=6)))
    elif kind == "uniform":
        low, high = sorted((draw(FLOATS), draw(FLOATS)))
        p = uniform(low, high, draw(STEPS), last)
    else:
        low, high = sorted(round(draw(st.floats(-30, 30)), 3) for _ in range(2))
        p = log(low, high, draw(STEPS), last, draw(st.sampled_from([2.0, math.e, 10.0])))
    assume(not parameter_mistakes(p))
    return p


def assert_in_range(p: Parameter, value: Scalar) -> None:
    match p:
        case DiscreteParameterRange():
            assert any(value is one or (value == one and type(value) is type(one)) for one in p.values)
        case UniformIntegerParameterRange():
            assert type(value) is int
            assert p.min_value <= value <= p.max_value
            assert (value - p.min_value) % p.step_size == 0
            assert p.include_max_value or value < p.max_value
        case UniformParameterRange():
            assert type(value) is float
            assert p.min_value <= value <= p.max_value
            assert p.include_max_value or value < p.max_value
        case LogUniformParameterRange():
            assert type(value) is float
            assert p.base**p.min_value <= value <= p.base**p.max_value
            assert p.include_max_value or value < p.base**p.max_value


@settings(deadline=None, max_examples=150)
@given(p=parameters(), seed=st.integers(0, 2**32 - 1), sampler=st.sampled_from(["RandomSampler", "TPESampler"]))
def test_what_a_sampler_suggests_is_in_range_and_found_again(p: Parameter, seed: int, sampler: str) -> None:
    optunas = distributions((p,))
    made = build_sampler(ComponentConfig(sampler, {}), space=(p,), seed=seed, search_seed=seed)
    study = optuna.create_study(sampler=made)
    for _ in range(4):
        suggested = study.ask(optunas).params[NAME]
        value = to_job(p, suggested)
        assert_in_range(p, value)
        assert from_job(p, value) == snap(p, suggested)


@settings(deadline=None)
@given(p=parameters())
def test_the_ends_of_a_range_are_in_it_as_jobs_get_them(p: Parameter) -> None:
    if not isinstance(p, DiscreteParameterRange):
        optunas: Any = distribution(p)
        for point in (optunas.low, optunas.high):
            assert_in_range(p, to_job(p, point))


@settings(deadline=None, max_examples=30)
@given(p=parameters())
def test_the_number_of_points_is_the_number_of_different_points(p: Parameter) -> None:
    count = size((p,))
    assume(count is not None and count <= 2000)
    found = [to_job(p, point[NAME]) for point in points((p,))]
    assert len(found) == count
    assert all(a != b or type(a) is not type(b) for a, b in itertools.pairwise(found))
    for value in found:
        assert_in_range(p, value)


# ---------------------------------------------------------------- a step that does not divide the range

RAGGED = uniform(0.022943223880069138, 0.4588644776013828, 0.001)


def test_bounds_that_a_step_does_not_divide_end_where_optuna_ends_them() -> None:
    assert parameter_mistakes(RAGGED) == []
    with pytest.warns(UserWarning, match="not divisible"):
        stock = optuna.distributions.FloatDistribution(RAGGED.min_value, RAGGED.max_value, step=0.001)
    assert distribution(RAGGED) == stock
    assert jobs_get(RAGGED)[-1] == stock.high
    assert len(jobs_get(RAGGED)) == 436


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "QMCSampler", "CmaEsSampler", "BruteForceSampler"])
def test_every_sampler_keeps_to_such_a_grid_and_may_take_its_last_value(tmp_path: Path, sampler: str) -> None:
    ragged = uniform(0.022943223880069138, 0.0258, 0.001)
    log = run(tmp_path / "s.db", search(space=(ragged,), sampler=ComponentConfig(sampler), total_max_jobs=9), lines)
    found = [trial.params[NAME] for trial in log.state.trials]
    assert sorted(found) == jobs_get(ragged)  # three values, then the space is used up
    assert log.state.finished is not None
    assert log.state.finished.reason == "space"


def lines(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=((1, float(trial)),))
