"""What a new search imports from an earlier one, as a function of two searches: points, batches, reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold import warm_start
from eventhpo.core.fold.event_parts import ImportedTrial
from eventhpo.core.fold.events import TrialsImported
from eventhpo.core.fold.state import State, TrialImport
from eventhpo.core.fold.warm_start import imports_from
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    Objective,
    ParameterChoice,
    ParameterSet,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.testing.searches import LOSS, X, search, simulate
from eventhpo.testing.simulated import Script
from eventhpo.views.imports import joined

ACCURACY = Objective("validation", "accuracy", "max")
STEPS = LogUniformParameterRange(name="General/lr", min_value=-3.0, max_value=0.0, step_size=1.0)
N = UniformIntegerParameterRange(name="General/n", min_value=1, max_value=4)
SETS = ParameterSet(
    name="how",
    sets=(
        ParameterChoice(values={"General/how": "fine"}, ranges=(N,)),
        ParameterChoice(values={"General/how": "plain"}),
    ),
)


def ran(folder: Path, objectives: int = 1, **more: Any) -> State:
    """Return the state of a finished search whose jobs report three points of each objective."""
    points = tuple((i, float(o + i), o) for i in (1, 2, 3) for o in range(objectives))

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        return Script(points=points if objectives > 1 else tuple((i, v) for i, v, _ in points))

    return simulate(folder / "old.db", search(objectives=(LOSS, ACCURACY)[:objectives], **more), script)


def trials(events: list[TrialsImported]) -> list[ImportedTrial]:
    return [trial for event in events for trial in event.trials]


def test_a_point_is_known_to_the_new_space_as_its_own_sampler_would_know_it(tmp_path: Path) -> None:
    """A grid of exponents knows an exponent, a set its position; the job's values are the same."""
    space = (STEPS, SETS)
    old = ran(tmp_path, space=space, total_max_jobs=5)
    told = trials(imports_from(old, "old.db", search(space=space), set()))
    assert [(t.params, t.point) for t in told] == [(t.params, t.point) for t in old.trials]
    assert any("how[0].General/n" in t.point for t in told)


def test_several_objectives_have_values_and_no_curve(tmp_path: Path) -> None:
    old = ran(tmp_path, objectives=2)
    (event,) = imports_from(old, "old.db", search(objectives=(LOSS, ACCURACY)), set())
    assert {(t.values, t.iterations) for t in event.trials} == {((3.0, 4.0), ())}


def test_a_narrower_range_takes_the_trials_that_lie_in_it(tmp_path: Path) -> None:
    old = ran(tmp_path, total_max_jobs=8)
    half = UniformParameterRange(name="General/x", min_value=0.0, max_value=0.5)
    (event,) = imports_from(old, "old.db", search(space=(half,)), set())
    inside = [t.params for t in old.trials if t.params["General/x"] <= 0.5]  # type: ignore[operator]
    assert [t.params for t in event.trials] == inside
    assert 0 < len(inside) < 8
    assert [(part.trials, part.why) for part in event.left_out] == [
        (8 - len(inside), "with a General/x that is not a number from 0.0 to 0.5")
    ]


def test_many_trials_are_several_events_and_one_import_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of a log grows without end."""
    monkeypatch.setattr(warm_start, "MOST_TRIALS", 4)
    monkeypatch.setattr(warm_start, "MOST_POINTS", 7)
    old = ran(tmp_path, total_max_jobs=5)
    events = imports_from(old, "old.db", search(), set())
    assert [len(event.trials) for event in events] == [2, 2, 1], "of three points each"
    assert [part.trials for part in joined(map(TrialImport.of_event, events))] == [5]


def test_more_reasons_than_a_person_reads_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "MOST_REASONS", 1)
    kinds = DiscreteParameterRange(name="General/kind", values=("a", "b"))
    old = ran(tmp_path, space=(X, kinds), total_max_jobs=6)
    narrow = (
        UniformParameterRange(name="General/x", min_value=0.0, max_value=0.5),
        DiscreteParameterRange(name="General/kind", values=("c",)),
    )
    (event,) = imports_from(old, "old.db", search(space=narrow), set())
    assert event.trials == ()
    assert len(event.left_out) == 2
    assert event.left_out[1].why == "for other reasons"
    assert sum(part.trials for part in event.left_out) == 6
