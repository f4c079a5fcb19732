"""A space of sets: what a point is, what its job gets, and how many points there are."""

# ruff: noqa: E501  a case of a table is one line
from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eventhpo.core.fold.codec import decode, encode
from eventhpo.core.fold.events import Event, Recorded, SearchCreated, TrialSuggested
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.search import points as proposing
from eventhpo.core.search import space as spaces
from eventhpo.core.search.ranges import FINITE
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    LogUniformParameterRange,
    Parameter,
    ParameterChoice,
    ParameterSet,
    Range,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.errors import DamagedLog
from eventhpo.optuna_adapter.space_checks import name_mistakes, parameter_mistakes
from eventhpo.testing.searches import created, search


def whole(name: str, low: int, high: int) -> UniformIntegerParameterRange:
    return UniformIntegerParameterRange(name=name, min_value=low, max_value=high)


LR = LogUniformParameterRange(name="General/lr", min_value=-3, max_value=0, step_size=1)
MOMENTUM = UniformParameterRange(name="General/momentum", min_value=0.0, max_value=0.9, step_size=0.3)
WIDTH = whole("General/width", 1, 3)
OPTIMIZER = ParameterSet(
    name="optimizer",
    sets=(
        ParameterChoice(values={"General/optimizer": "sgd"}, ranges=(LR, MOMENTUM)),
        ParameterChoice(values={"General/optimizer": "adam", "General/eps": None}, ranges=(LR,)),
        ParameterChoice(values={"General/optimizer": "none"}),
    ),
)


def put(state: State | None, event: Event) -> State:
    """Return *state* after one more event; the first begins it."""
    row = Recorded(1 if state is None else state.head.seq + 1, 0, 0, None, event, "0" * 32)
    return begin(row) if state is None else evolve(state, row)


def begun(*space: Parameter) -> State:
    return put(None, created(search(space=space)))


def sets(*chosen: ParameterChoice, name: str = "set") -> ParameterSet:
    return ParameterSet(name=name, sets=chosen)


def fixed(**values: Scalar) -> ParameterChoice:
    return ParameterChoice(values={f"General/{name}": value for name, value in values.items()})


def ranges(*found: Range, **values: Scalar) -> ParameterChoice:
    return ParameterChoice(values=fixed(**values).values, ranges=found)


# ---------------------------------------------------------------- dimensions and jobs


def test_a_sampler_is_asked_for_the_choice_and_then_for_what_is_in_the_chosen_set() -> None:
    order: list[str] = []

    def value(name: str) -> Scalar:
        order.append(name)
        return {"optimizer": 0, "optimizer[0].General/lr": -2.0, "optimizer[0].General/momentum": 0.3}.get(name, 2)

    point = spaces.asked((OPTIMIZER, WIDTH), value)
    assert order == ["optimizer", "optimizer[0].General/lr", "optimizer[0].General/momentum", "General/width"]
    assert list(point) == order
    assert spaces.job_params((OPTIMIZER, WIDTH), point) == {
        "General/optimizer": "sgd",
        "General/lr": 0.01,
        "General/momentum": 0.3,
        "General/width": 2,
    }


def test_dimensions_are_named_by_choice_and_position_in_the_order_of_the_space() -> None:
    assert list(spaces.dimensions((WIDTH, OPTIMIZER))) == [
        "General/width",
        "optimizer",
        "optimizer[0].General/lr",
        "optimizer[0].General/momentum",
        "optimizer[1].General/lr",
    ]
    assert spaces.dimensions((OPTIMIZER,))["optimizer"] == DiscreteParameterRange(name="optimizer", values=(0, 1, 2))


def test_names_of_jobs_come_in_one_order_before_and_after_the_log() -> None:
    event = created(search(space=(OPTIMIZER, WIDTH)))
    back = decode("SearchCreated", 1, encode(event))
    assert back == event
    assert encode(back) == encode(event)
    assert isinstance(back, SearchCreated)
    names = ("optimizer", "lr", "momentum", "eps", "width")
    for space in (event.search.space, back.search.space):
        assert spaces.job_names(space) == tuple(f"General/{name}" for name in names)
    unsorted = sets(ParameterChoice(values={"General/b": 1, "General/a": 2}), name="x")
    assert spaces.job_names((unsorted,)) == ("General/a", "General/b")


def test_the_body_of_a_set_is_what_a_search_file_says_of_it() -> None:
    assert msgspec.to_builtins(sets(ranges(WIDTH, a=1))) == {
        "type": "ParameterSet",
        "name": "set",
        "sets": ({"values": {"General/a": 1}, "ranges": (msgspec.to_builtins(WIDTH),)},),
    }


def test_names_that_only_some_jobs_get_are_known() -> None:
    conditional = {"General/lr", "General/momentum", "General/eps"}
    assert spaces.conditional_names((OPTIMIZER, WIDTH)) == conditional
    assert spaces.conditional_names((WIDTH,)) == set()


def test_a_point_is_whole_if_it_names_what_its_own_set_needs() -> None:
    space = (OPTIMIZER, WIDTH)
    assert spaces.is_whole(space, {"optimizer": 2, "General/width": 1})
    assert spaces.is_whole(space, {"optimizer": 1, "optimizer[1].General/lr": -1.0, "General/width": 1})
    assert not spaces.is_whole(space, {"optimizer": 1, "optimizer[0].General/lr": -1.0, "General/width": 1})
    assert not spaces.is_whole(space, {"General/width": 1})


@pytest.mark.parametrize("position", [3, -1, "0", 1.0, True])
def test_a_point_that_names_a_set_which_is_not_there_is_a_damaged_log(position: Scalar) -> None:
    state = begun(OPTIMIZER)
    with pytest.raises(DamagedLog, match="optimizer has no set"):
        put(state, TrialSuggested(trial=0, params={"General/optimizer": "none"}, point={"optimizer": position}))


# ---------------------------------------------------------------- the same point


def test_what_a_job_does_not_get_is_not_what_it_gets_as_none() -> None:
    space = (sets(fixed(a=1, b=None), fixed(a=1)),)
    keys = {spaces.key(space, spaces.job_params(space, {"set": k})) for k in (0, 1)}
    assert len(keys) == spaces.size(space) == 2


def test_true_and_one_are_two_values_in_sets_too() -> None:
    space = (sets(fixed(a=1), fixed(a=True)),)
    assert parameter_mistakes(space[0]) == []
    assert spaces.size(space) == len(list(spaces.points(space))) == 2
    assert spaces.fitting(space[0], {"General/a": True}) == [1]


def test_points_of_two_sets_whose_jobs_get_the_same_are_one_point() -> None:
    state = begun(sets(ranges(whole("General/a", 1, 3)), ranges(whole("General/a", 2, 4))))
    assert state.space_size == 4
    put(state, TrialSuggested(trial=0, params={"General/a": 2}, point={"set": 0, "set[0].General/a": 2}))
    put(state, TrialSuggested(trial=1, params={"General/a": 2}, point={"set": 1, "set[1].General/a": 2}))
    assert state.totals.tried == 1
    put(state, TrialSuggested(trial=2, params={"General/a": 4}, point={"set": 1, "set[1].General/a": 4}))
    assert state.totals.tried == 2


# ---------------------------------------------------------------- how many

COUNTS: dict[str, tuple[tuple[Parameter, ...], int | None]] = {
    "a sum of products": ((OPTIMIZER,), 4 * 4 + 4 + 1),
    "times the others": ((OPTIMIZER, WIDTH), 21 * 3),
    "two choices": ((OPTIMIZER, sets(fixed(a=1), fixed(a=2))), 21 * 2),
    "one set": ((sets(ranges(WIDTH)),), 3),
    "a range without a step in one set": ((sets(fixed(a=1), ranges(UniformParameterRange(name="General/x", min_value=0, max_value=1))),), None),
    "what sets have in common": ((sets(ranges(WIDTH), ranges(whole("General/width", 2, 5))),), 5),
    "a value in another set's range": ((sets(ranges(WIDTH), fixed(width=3), fixed(width=4)),), 4),
    "the same of a range and of a list": ((sets(ranges(whole("General/a", 1, 2)), ranges(DiscreteParameterRange(name="General/a", values=(2, True)))),), 3),
    "up to the limit": ((sets(ranges(whole("General/a", 1, FINITE - 1)), fixed(b=1)),), FINITE),
    "beyond the limit": ((sets(ranges(whole("General/a", 1, FINITE)), fixed(b=1)),), None),
    "beyond it with others": ((sets(ranges(whole("General/a", 1, 50_000)), fixed(b=1)), WIDTH), None),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_points_are_counted(name: str) -> None:
    space, count = COUNTS[name]
    assert spaces.size(space) == count
    assert begun(*space).space_size == count


def test_points_that_are_fixed_elsewhere_do_not_count() -> None:
    named = ComponentConfig(
        "PartialFixedSampler", {"fixed_params": {"General/width": 2}, "base_sampler": {"name": "TPESampler"}}
    )
    assert proposing.size(search(space=(OPTIMIZER, WIDTH), sampler=named)) == 21


def test_points_come_in_one_order() -> None:
    assert list(spaces.points((sets(ranges(WIDTH), fixed(a=1)), whole("General/b", 1, 2)))) == [
        *({"set": 0, "set[0].General/width": w, "General/b": b} for w in (1, 2, 3) for b in (1, 2)),
        *({"set": 1, "General/b": b} for b in (1, 2)),
    ]


VALUES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b", 0.5, 2.0])
NAMES = st.sampled_from(["General/a", "General/b", "Net/c"])


@st.composite
def finite_ranges(draw: st.DrawFn, name: str) -> Range:
    low = draw(st.integers(0, 3))
    kind = draw(st.sampled_from(["integer", "float", "log", "list"]))
    if kind == "integer":
        return whole(name, low, low + draw(st.integers(0, 3)))
    if kind == "float":
        step = draw(st.sampled_from([0.5, 1.0]))
        return UniformParameterRange(name=name, min_value=float(low), max_value=low + 1.0, step_size=step)
    if kind == "log":
        return LogUniformParameterRange(name=name, min_value=low - 2.0, max_value=float(low), step_size=1.0, base=2.0)
    return DiscreteParameterRange(name=name, values=tuple(draw(st.lists(VALUES, min_size=1, max_size=3))))


@st.composite
def choices(draw: st.DrawFn) -> ParameterChoice:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    in_range = [name for name in names if draw(st.booleans())]
    values = {name: draw(VALUES) for name in names if name not in in_range}
    return ParameterChoice(values=values, ranges=tuple(draw(finite_ranges(name)) for name in in_range))


@st.composite
def set_spaces(draw: st.DrawFn) -> tuple[Parameter, ...]:
    p = ParameterSet(name="set", sets=tuple(draw(st.lists(choices(), min_size=1, max_size=4))))
    space = (p, whole("Other/n", 1, draw(st.integers(1, 3))))
    assume(not parameter_mistakes(p) and not name_mistakes(space))
    return space


def different(tables: list[dict[str, Scalar]]) -> list[list[tuple[str, bool, Any]]]:
    """Return the different ones of *tables*, worked out without keys or hashes; True is not 1."""
    found: list[list[tuple[str, bool, Any]]] = []
    for table in tables:
        plain = sorted((name, isinstance(value, bool), value) for name, value in table.items())  # names differ
        if plain not in found:
            found.append(plain)
    return found


@settings(deadline=None, max_examples=300)
@given(space=set_spaces())
def test_the_count_is_that_of_the_different_jobs_and_each_is_listed_once(space: tuple[Parameter, ...]) -> None:
    every = []
    (p, other) = space
    assert isinstance(p, ParameterSet)
    assert not isinstance(other, ParameterSet)
    for k in range(len(p.sets)):
        inside = spaces.inside(p, k)
        for values in itertools.product(*(spaces.ranges.listed(r) for r in inside.values())):
            for n in spaces.ranges.listed(other):
                point = {"set": k, **dict(zip(inside, values, strict=True)), "Other/n": n}
                every.append(spaces.job_params(space, point))
    listed = [spaces.job_params(space, point) for point in spaces.points(space)]
    assert spaces.size(space) == len(listed) == len(different(listed)) == len(different(every))
    assert len({spaces.key(space, params) for params in every}) == len(listed)


@settings(deadline=None, max_examples=300)
@given(space=set_spaces())
def test_a_point_is_found_again_from_what_its_job_gets(space: tuple[Parameter, ...]) -> None:
    for point in spaces.points(space):
        params = spaces.job_params(space, point)
        found = proposing.known(space, params)
        assert spaces.is_whole(space, found)
        assert spaces.key(space, spaces.job_params(space, found)) == spaces.key(space, params)
        read, wrong = spaces.read_sets(space, params)
        assert wrong == []
        assert {**read, "Other/n": params["Other/n"]} == params


# ---------------------------------------------------------------- from what a job gets


FITS: list[tuple[dict[str, Scalar], list[int]]] = [
    ({}, [0, 1, 2]),
    ({"General/width": 2}, [0, 1, 2]),
    ({"General/optimizer": "sgd"}, [0]),
    ({"General/optimizer": "none"}, [2]),
    ({"General/lr": 0.1}, [0, 1]),
    ({"General/momentum": 0.3}, [0]),
    ({"General/lr": 0.1, "General/eps": None}, [1]),
    ({"General/lr": 0.2}, []),
    ({"General/optimizer": "adam", "General/momentum": 0.3}, []),
    ({"General/optimizer": "lamb"}, []),
]


@pytest.mark.parametrize(("params", "expected"), FITS, ids=range(len(FITS)))
def test_the_sets_that_hold_all_that_is_given_fit(params: dict[str, Scalar], expected: list[int]) -> None:
    assert spaces.fitting(OPTIMIZER, params) == expected


def test_a_set_that_is_named_wholly_goes_before_one_that_holds_more() -> None:
    p = sets(ranges(WIDTH, a=1), fixed(a=1), ranges(whole("General/b", 1, 2), a=1))
    assert spaces.fitting(p, {"General/a": 1}) == [1]
    assert spaces.fitting(p, {"General/b": 1}) == [2]


def test_what_a_caller_tries_is_known_if_a_set_is_named_wholly_and_else_no_part_of_the_point() -> None:
    space = (OPTIMIZER, WIDTH)
    adam: dict[str, Scalar] = {"General/optimizer": "adam", "General/eps": None, "General/lr": 0.01}
    assert proposing.known(space, adam | {"Further/x": 1}) == {"optimizer": 1, "optimizer[1].General/lr": -2.0}
    assert proposing.known(space, {"General/optimizer": "adam", "General/width": 2}) == {"General/width": 2}
    assert proposing.known(space, adam | {"General/lr": 0.02}) == {}
    assert proposing.known(space, adam | {"General/momentum": 0.3}) == {}


# ---------------------------------------------------------------- what is wrong with sets

UNSOUND: dict[str, tuple[ParameterSet, str]] = {
    "no sets": (sets(), "sets: found [], expected at least one set"),
    "a set of nothing": (sets(fixed(a=1), ParameterChoice()), "sets[1]: found {}, expected a value or a range"),
    "a range that is not sound": (sets(ranges(whole("General/a", 3, 1))), 'sets[0]."General/a".min_value: found 3'),
    "a value that is no number": (sets(fixed(a=float("nan"))), 'sets[0]."General/a": found NaN, expected a finite'),
    "a name twice in a set": (sets(ranges(WIDTH, width=3)), 'sets[0]."General/width": found "General/width", expected each'),
    "a range twice in a set": (sets(ranges(WIDTH, WIDTH)), 'sets[0]."General/width": found "General/width", expected each'),
    "a set twice": (sets(fixed(a=1), fixed(b=1), fixed(a=1.0)), "sets[2]: found [\"General/a\"], expected a set that differs from sets[0]"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_a_set_that_cannot_be_searched_is_named(name: str) -> None:
    p, said = UNSOUND[name]
    (found,) = map(str, parameter_mistakes(p))
    assert found.startswith(said)


CLASHES: dict[str, tuple[tuple[Parameter, ...], str]] = {
    "with a parameter": ((WIDTH, sets(fixed(a=1), fixed(width=1))), 'set.sets[1]."General/width": found "General/width", expected a name of its own: "General/width" has it already'),
    "with a later parameter": ((sets(fixed(width=1)), WIDTH), '"General/width": found "General/width", expected a name of its own: set has it already'),
    "of two choices": ((sets(fixed(a=1)), sets(fixed(b=1))), "set: found \"set\", expected a name of its own: set has it already"),
    "in two choices": ((sets(fixed(a=1)), sets(fixed(a=1), name="other")), 'other.sets[0]."General/a": found "General/a", expected a name of its own: set has it already'),
    "of the choice and a parameter": ((WIDTH, sets(fixed(a=1), name="General/width")), '"General/width": found "General/width", expected a name of its own'),
    "of the choice and its own set": ((sets(fixed(a=1), name="General/a"),), '"General/a".sets[0]."General/a": found "General/a"'),
    "of a range in a set": ((sets(ranges(WIDTH)), sets(fixed(a=1), name="set[0].General/width")), '"set[0].General/width": found'),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASHES)
def test_a_name_is_one_parameters(name: str) -> None:
    space, said = CLASHES[name]
    (found,) = map(str, name_mistakes(space))
    assert found.startswith(said)


def test_sets_may_share_names_with_each_other() -> None:
    assert name_mistakes((OPTIMIZER, WIDTH)) == []
    assert parameter_mistakes(OPTIMIZER) == []
