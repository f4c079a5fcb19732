"""Which point is tried next: a user's, else one that no trial holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest

from eventhpo.core.fold.events import (
    JobCreated,
    LimitsChanged,
    PointEnqueued,
    SearchEnding,
    SearchFinished,
    StopAsked,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import (
    POLICY,
    ComponentConfig,
    DiscreteParameterRange,
    LimitChanges,
    Scalar,
    Search,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.optuna_adapter.adapter import decided
from eventhpo.optuna_adapter.component_factory import build_sampler
from eventhpo.optuna_adapter.distributions import distributions
from eventhpo.optuna_adapter.seeds import derived_seed
from eventhpo.testing.searches import X, search
from eventhpo.testing.simulated import Script
from tests.core.rules import Hand, Log, each, ended, line, observed, run

GOOD = each(Script(points=line(0.5, 0.4)))
THREE = (UniformIntegerParameterRange(name="General/x", min_value=1, max_value=3),)
FOUR = (
    DiscreteParameterRange(name="General/x", values=(1, 2)),
    DiscreteParameterRange(name="General/kind", values=("a", "b")),
)
LARGE = (UniformIntegerParameterRange(name="General/x", min_value=1, max_value=2000),)


def points_of(log: Log) -> list[Scalar]:
    return [e.params["General/x"] for e in log.of(TrialSuggested)]


def proposed(what: Search, trial: int, attempt_try: int) -> Scalar:
    """Return what a sampler that needs no history proposes in one try."""
    seed = derived_seed(what.seed, "suggest", trial, attempt_try)
    sampler = build_sampler(what.sampler, space=what.space, seed=seed, search_seed=what.seed)
    asked = optuna.create_study(sampler=sampler).ask(distributions(what.space))
    value: Scalar = asked.params["General/x"]
    return value


def holding(what: Search, held: Sequence[Scalar]) -> Hand:
    """Return a search in which trials hold these points, beside that of its first."""
    hand = Hand(what)
    for value in held:
        trial = len(hand.state.trials)
        hand.record(TrialSuggested(trial=trial, params={"General/x": value}), hand.state.last_input)
    return hand


# ---------------------------------------------------------------- duplicates


def test_a_duplicate_costs_no_job_and_the_next_try_has_its_number_in_the_seed(tmp_path: Path) -> None:
    what = search(space=THREE, total_max_jobs=None)
    log = run(tmp_path / "s.db", what, GOOD)
    taken: set[Scalar] = set()
    for event in log.of(TrialSuggested):
        most = 2 if taken else 50  # one of three is more than a quarter
        tries = [(n, proposed(what, event.trial, n)) for n in range(1, most + 1)]
        number, point = next(((n, p) for n, p in tries if p not in taken), (most, event.params["General/x"]))
        assert (event.tries, event.params["General/x"], event.duplicate) == (number, point, False)
        assert event.enumerated == all(p in taken for _, p in tries)
        assert point not in taken
        taken.add(point)
    assert max(e.tries for e in log.of(TrialSuggested)) > 1
    assert taken == {1, 2, 3}
    assert len(log.of(JobCreated)) == 3


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_the_point_of_a_running_a_finished_or_a_failed_trial_is_taken(tmp_path: Path, how: str) -> None:
    what = search(space=FOUR, total_max_jobs=None, num_concurrent_workers=3, max_failures_per_trial=0)
    scripts = each(Script(points=line(0.5), how=how), Script(points=line(0.5)))  # type: ignore[arg-type]
    log = run(tmp_path / "s.db", what, scripts)
    points = [(e.params["General/x"], e.params["General/kind"]) for e in log.of(TrialSuggested)]
    assert sorted(points) == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_the_point_of_an_aborted_trial_is_free_again() -> None:
    hand = Hand(search(space=THREE, total_max_jobs=None, num_concurrent_workers=3))
    assert len(hand.state.taken) == 3
    first = hand.state.trials[0].params
    assert hand.poll(ended(0, how="stopped")) == [
        "BudgetUpdated 0.0",
        "TrialFinished 0 aborted",
        "TrialSuggested 3",
        "JobCreated 3.0 slot 0",
        "Draft 3.0",
        "Launch 3.0",
    ]
    assert hand.state.trials[3].params == first
    hand.log()


def test_a_point_is_taken_while_another_trial_holds_it_though_one_of_two_was_aborted() -> None:
    user = PointEnqueued(params={"General/x": 1})
    hand = Hand(search(space=THREE, total_max_jobs=9, num_concurrent_workers=2), user, user)
    assert hand.state.taken == {(1,): 2}
    hand.poll(ended(0, how="stopped"))
    assert hand.state.taken[(1,)] == 1
    assert hand.state.trials[2].params != {"General/x": 1}
    hand.log()


def test_true_and_one_are_two_points() -> None:
    state = Hand(search(space=THREE)).state
    assert state.point_key({"General/x": True}) != state.point_key({"General/x": 1})


# ---------------------------------------------------------------- fifty tries


def all_but(*left: int) -> list[Scalar]:
    return [n for n in range(1, 2001) if n not in left]


def asked(what: Search, held: Sequence[Scalar], policy: int = POLICY) -> TrialSuggested:
    """Return what is suggested by the rules of *policy* when trials hold these points."""
    hand = holding(what, held)
    hand.state.policy = policy
    (event,) = decided(hand.state, actions.Suggest())
    assert isinstance(event, TrialSuggested)
    return event


@pytest.mark.parametrize(("policy", "tries"), [(1, 50), (2, 2)])
def test_after_its_tries_a_finite_space_is_enumerated_and_the_seed_picks_an_untried_point(
    policy: int, tries: int
) -> None:
    left = (7, 700, 1777)
    what = search(space=LARGE, total_max_jobs=None)
    first = Hand(what).state.trials[0].params["General/x"]
    event = asked(what, [n for n in all_but(*left) if n != first], policy)
    assert (event.trial, event.tries, event.enumerated, event.duplicate) == (1997, tries, True, False)
    pick = derived_seed(what.seed, "enumerate", 1997, 0) % 3
    assert event.params == {"General/x": left[pick]}
    assert not {proposed(what, 1997, n) for n in range(1, 51)} & set(left)


@pytest.mark.parametrize(("held", "tries"), [(499, 50), (500, 2)])
def test_a_sampler_is_asked_fifty_times_until_a_quarter_of_the_space_is_taken_and_then_twice(
    held: int, tries: int
) -> None:
    what = search(space=LARGE, total_max_jobs=None)
    first = Hand(what).state.trials[0].params["General/x"]
    would_be = {proposed(what, held, n) for n in range(1, 51)} - {first}
    others = [n for n in all_but() if n not in would_be and n != first]
    event = asked(what, [*would_be, *others][: held - 1])
    assert (event.trial, event.tries, event.enumerated) == (held, tries, True)


def test_a_point_that_the_fiftieth_try_finds_is_not_enumerated() -> None:
    what = search(space=LARGE, total_max_jobs=None)
    first = Hand(what).state.trials[0].params["General/x"]
    tried = [proposed(what, 1999, n) for n in range(1, 51)]
    free = next(p for p in reversed(tried) if tried.count(p) == 1 and p != first)
    number = tried.index(free) + 1
    event = asked(what, [n for n in all_but(int(free)) if n != first], policy=1)  # type: ignore[arg-type]
    assert (event.trial, event.params["General/x"], event.tries, event.enumerated) == (1999, free, number, False)
    assert number == 50


def test_an_infinite_space_accepts_a_duplicate_after_fifty_tries() -> None:
    low = 0.5
    two_values = (UniformParameterRange(name="General/x", min_value=low, max_value=math.nextafter(low, 1.0)),)
    event = asked(search(space=two_values), [low, math.nextafter(low, 1.0)])
    assert (event.tries, event.enumerated, event.duplicate) == (50, False, True)


def test_a_space_of_more_than_a_hundred_thousand_points_counts_as_infinite() -> None:
    def size(most: int) -> int | None:
        space = (UniformIntegerParameterRange(name="General/x", min_value=1, max_value=most),)
        return Hand(search(space=space)).state.space_size

    assert (size(100_000), size(100_001)) == (100_000, None)


# ---------------------------------------------------------------- samplers with a sequence of their own


def test_a_grid_takes_no_try_in_its_seed_and_visits_each_of_its_points_once(tmp_path: Path) -> None:
    grid = ComponentConfig("GridSampler", {"search_space": {"General/x": [3, 1]}})
    log = run(tmp_path / "s.db", search(space=THREE, sampler=grid, total_max_jobs=None), GOOD)
    assert sorted(points_of(log)) == [1, 3]  # type: ignore[type-var]
    assert log.one(SearchEnding) == SearchEnding(reason="space", at_once=False, detail="all 2 points were tried")


def counter(event: TrialSuggested) -> int:
    (value,) = (v for name, v in event.study_attrs.items() if name.startswith("qmc:"))
    return int(value)


def test_a_quasi_random_sequence_goes_on_over_refused_tries(tmp_path: Path) -> None:
    what = search(space=THREE, sampler=ComponentConfig("QMCSampler", {"scramble": False}), total_max_jobs=None)
    log = run(tmp_path / "s.db", what, GOOD)
    assert sorted(points_of(log)) == [1, 2, 3]  # type: ignore[type-var]
    counted = [(e.tries, counter(e)) for e in log.of(TrialSuggested) if e.study_attrs]
    assert any(tries > 1 for tries, _ in counted)
    at = -1  # the counter names the last point of the sequence that was looked at
    for tries, value in counted:
        at += tries
        assert value == at


@pytest.mark.parametrize(
    ("sampler", "wrote"),
    [
        (
            ComponentConfig("CmaEsSampler", {"n_startup_trials": 1, "warn_independent_sampling": False}),
            "cma:generation",
        ),
        (ComponentConfig("NSGAIISampler", {"population_size": 2}), "NSGAIISampler:generation"),
    ],
)
def test_what_a_sampler_wrote_in_a_refused_try_is_dropped(tmp_path: Path, sampler: ComponentConfig, wrote: str) -> None:
    space = (
        UniformIntegerParameterRange(name="General/x", min_value=1, max_value=5),
        UniformIntegerParameterRange(name="General/a", min_value=1, max_value=3),
    )
    scripts = each(*(Script(points=line(0.5 + n % 4)) for n in range(15)))
    log = run(tmp_path / "s.db", search(space=space, sampler=sampler, total_max_jobs=None), scripts)
    picked = [e for e in log.of(TrialSuggested) if e.enumerated]
    assert picked
    assert {e.tries for e in picked} == {2}
    assert all((e.attrs, e.study_attrs) == ({}, {}) for e in picked)
    assert all(wrote in e.attrs for e in log.of(TrialSuggested)[1:] if not e.enumerated)


# ---------------------------------------------------------------- a user's points


def test_a_users_points_come_first_in_their_order_and_are_trials_like_others(tmp_path: Path) -> None:
    inputs = [PointEnqueued(params={"General/x": x}) for x in (0.75, 0.25)]
    what = search(total_max_jobs=3, max_iteration_per_job=2)
    log = run(tmp_path / "s.db", what, GOOD, inputs=inputs)
    found = [(e.source, e.params["General/x"]) for e in log.of(TrialSuggested)]
    assert found[:2] == [("user", 0.75), ("user", 0.25)]
    assert [source for source, _ in found] == ["user", "user", "sampler"]
    assert log.ends() == [("completed", (0.4,))] * 3
    assert log.state.waiting == []


def test_a_point_enqueued_while_a_search_runs_is_the_next_to_be_tried(tmp_path: Path) -> None:
    asks = [(12, PointEnqueued(params={"General/x": 0.125}, request="r1"))]
    log = run(tmp_path / "s.db", search(total_max_jobs=4), GOOD, asks=asks)
    after = [e for e in log.of(TrialSuggested) if log.rows_of(TrialSuggested, e.trial)[0].seq > log.seq(PointEnqueued)]
    assert [(e.source, e.params["General/x"]) for e in after][:1] == [("user", 0.125)]
    assert all(e.source == "sampler" for e in after[1:])


def test_what_a_users_point_leaves_out_is_sampled(tmp_path: Path) -> None:
    log = run(
        tmp_path / "s.db",
        search(space=(X, FOUR[1]), total_max_jobs=1),
        GOOD,
        inputs=[PointEnqueued(params={"General/kind": "b"})],
    )
    params = log.one(TrialSuggested).params
    assert params["General/kind"] == "b"
    assert isinstance(params["General/x"], float)


def test_a_users_point_is_tried_again_if_asked_for_again_and_says_that_it_is_a_duplicate(tmp_path: Path) -> None:
    inputs = [PointEnqueued(params={"General/x": 0.75})] * 2
    log = run(tmp_path / "s.db", search(total_max_jobs=2), GOOD, inputs=inputs)
    assert [(e.tries, e.duplicate) for e in log.of(TrialSuggested)] == [(1, False), (1, True)]


def test_a_users_point_is_no_point_for_the_sampler_any_more(tmp_path: Path) -> None:
    inputs = [PointEnqueued(params={"General/x": 2})]
    log = run(tmp_path / "s.db", search(space=THREE, total_max_jobs=None), GOOD, inputs=inputs)
    assert points_of(log)[0] == 2
    assert sorted(points_of(log)) == [1, 2, 3]  # type: ignore[type-var]


# ---------------------------------------------------------------- used up, or not yet


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_a_finite_search_ends_when_no_point_is_left_and_nothing_runs_and_says_so(tmp_path: Path, workers: int) -> None:
    log = run(tmp_path / "s.db", search(space=FOUR, total_max_jobs=None, num_concurrent_workers=workers), GOOD)
    assert len(log.of(TrialSuggested)) == 4
    assert log.one(SearchEnding) == SearchEnding(reason="space", at_once=False, detail="all 4 points were tried")
    assert log.one(SearchFinished) == SearchFinished(state="finished", reason="space")
    assert all(r.seq < log.seq(SearchEnding) for r in log.rows_of(TrialFinished))


def test_a_space_is_not_used_up_while_a_running_trial_may_still_free_its_point() -> None:
    hand = Hand(search(space=THREE, total_max_jobs=None, num_concurrent_workers=4))
    assert hand.poll(observed(0, 0, line(0.5)), ended(0))[-1] == "TrialFinished 0 completed"
    assert hand.state.ending is None
    hand.poll(observed(1, 0, line(0.5)), ended(1))
    assert hand.poll(observed(2, 0, line(0.5)), ended(2))[-2:] == ["SearchEnding space", "SearchFinished space"]
    hand.log()


def test_a_users_point_is_tried_though_the_space_is_used_up() -> None:
    hand = Hand(search(space=THREE, total_max_jobs=None, num_concurrent_workers=3))
    hand.record(PointEnqueued(params={"General/x": 1}), None)
    assert hand.poll(observed(0, 0, line(0.5)), ended(0))[-4] == "TrialSuggested 3"
    assert (hand.state.trials[3].source, hand.state.trials[3].params) == ("user", {"General/x": 1})
    hand.log()


def next_is_suggest(state: State) -> bool:
    return isinstance(next_action(state), actions.Suggest)


def test_a_suggestion_waits_for_a_worker_and_for_budget() -> None:
    hand = Hand(search(total_max_jobs=2, max_iteration_per_job=4))
    assert not next_is_suggest(hand.state)
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=2)), None)
    assert next_is_suggest(hand.state)
    hand.carry_on()
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=3)), None)
    assert not next_is_suggest(hand.state)  # a third reservation does not fit
    hand.record(LimitsChanged(changes=LimitChanges(total_max_jobs=3)), None)
    assert next_is_suggest(hand.state)
    hand.carry_on()
    hand.log()


def test_no_point_is_suggested_while_a_suggested_trial_still_waits_for_its_job() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=9))
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=3)), None)
    hand.step(hand.action())
    hand.record(LimitsChanged(changes=LimitChanges(num_concurrent_workers=2)), None)
    assert hand.carry_on() == []  # trial 2 has no worker
    assert hand.poll(ended(0, how="stopped"))[2] == "JobCreated 2.0 slot 0"
    assert hand.log().rows_of(TrialSuggested, 3) == []


def test_nothing_is_suggested_once_the_search_is_to_stop() -> None:
    hand = Hand(search(num_concurrent_workers=2, total_max_jobs=9), StopAsked(scope="search"))
    assert hand.said == ["SearchEnding stop", "SearchFinished stop"]
    hand.log()
