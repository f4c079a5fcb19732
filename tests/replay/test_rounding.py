"""Equal up to rounding: another platform's last bits are no divergence, and on one's own every bit is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventhpo.core.fold.event_parts import Attr
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    Event,
    JobPruned,
    Recorded,
    SearchCreated,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.fingerprint import fingerprint
from replay import redecide
from replay.decide import render, rounding
from replay.decide.report import Report
from replay.explain.collect import of_rows
from tests.cli.harness import data, invoke
from tests.replay.elsewhere import replayed, surroundings
from tests.replay.failing import GOLDEN, rewritten

RUNGS, CMAES, TPE = (GOLDEN / f"{name}.db" for name in ("rungs", "cmaes", "tpe"))
ANOTHER = dict.fromkeys(rounding.ROUNDS, "another")


def last_bit(value: float) -> float:
    return math.nextafter(value, math.inf)


def params_changed(**new: Any) -> Callable[[TrialSuggested], TrialSuggested]:
    def change(event: TrialSuggested) -> TrialSuggested:
        params = {name: new[name[8:]](value) if name[8:] in new else value for name, value in event.params.items()}
        return msgspec.structs.replace(event, params=params)

    return change


def elsewhere(
    target: Path, change: Callable[[Any], Event], trial: int = 5, *, start: bool = True, **platform: str
) -> Path:
    """Write the log of rungs as recorded where the fingerprint is ours but for *platform*, one suggestion changed."""
    here = fingerprint()

    def changed(row: Recorded) -> Event:
        event = row.event
        if isinstance(event, SearchCreated | (ControllerStarted if start else SearchCreated)):
            return msgspec.structs.replace(event, fingerprint=here | platform)
        if isinstance(event, ControllerStarted):
            return msgspec.structs.replace(event, fingerprint=here)
        return change(event) if isinstance(event, TrialSuggested) and event.trial == trial else event

    return rewritten(target, RUNGS, changed)


def decided(log: Path) -> Report:
    return redecide(log, raise_on_divergence=False, all=True)


# ---------------------------------------------------------------- when it opens


@pytest.mark.parametrize("name", rounding.ROUNDS)
def test_a_last_bit_is_rounding_where_what_rounds_differs(tmp_path: Path, name: str) -> None:
    if name not in fingerprint():
        pytest.skip(f"{name} is not installed: it rounds nothing here")
    report = redecide(elsewhere(tmp_path / "log.db", params_changed(x=last_bit), **{name: "another"}))
    assert report.verdict == "rounded"
    (one,) = report.rounded
    assert [because.name for because in one.because] == [name]
    assert 0 < one.apart.distance < 1e-15
    assert one.apart.path == "params.General/x"


@pytest.mark.parametrize("name", ["eventhpo", "policy", "optuna", "python", "system", None])
def test_it_is_a_divergence_where_nothing_differs_that_rounds(tmp_path: Path, name: str | None) -> None:
    platform = {} if name is None else {name: "another"}
    report = decided(elsewhere(tmp_path / "log.db", params_changed(x=last_bit), **platform))
    assert (report.verdict, report.rounded) == ("diverged", ())
    assert report.divergences[0].rounds == ()


def test_a_fingerprint_that_lacks_an_entry_and_a_package_that_is_missing_excuse_nothing() -> None:
    here = fingerprint()
    assert rounding.because({}, here) == ()
    assert rounding.because({name: text for name, text in here.items() if name != "scipy"}, here) == ()
    assert rounding.because(here | {"torch": "1.0"}, {n: t for n, t in here.items() if n != "torch"}) == ()
    assert [one.name for one in rounding.because(here | {"simd": "none"}, here)] == ["simd"]


def test_the_controller_that_wrote_the_row_counts_and_not_who_began_the_search(tmp_path: Path) -> None:
    log = elsewhere(tmp_path / "log.db", params_changed(x=last_bit), start=False, simd="another")
    assert decided(log).verdict == "diverged"


# ---------------------------------------------------------------- what it excuses


@pytest.mark.parametrize(
    "change",
    [
        params_changed(x=lambda x: x * (1 + 1e-6)),
        params_changed(kind=lambda kind: "a" if kind != "a" else "b"),
        lambda event: msgspec.structs.replace(event, tries=event.tries + 1),
        lambda event: msgspec.structs.replace(event, duplicate=True),
        lambda event: msgspec.structs.replace(event, attrs={"one": 1}),
    ],
    ids=["too far", "choice", "integer", "flag", "attribute"],
)
def test_another_decision_is_a_divergence_on_any_platform(tmp_path: Path, change: Callable[[Any], Event]) -> None:
    report = decided(elsewhere(tmp_path / "log.db", change, **ANOTHER))
    assert report.verdict == "diverged"
    assert {one.name for one in report.divergences[0].rounds} == {n for n in rounding.ROUNDS if n in fingerprint()}


def test_what_our_own_rules_compute_is_equal_to_the_bit_on_any_platform(tmp_path: Path) -> None:
    """A value that a trial is told is copied, and no sum of a library's."""

    def changed(row: Recorded) -> Event:
        match row.event:
            case SearchCreated() | ControllerStarted() as event:
                return msgspec.structs.replace(event, fingerprint=fingerprint() | ANOTHER)
            case TrialFinished(trial=0, values=(float(value),)) as event:
                return msgspec.structs.replace(event, values=(last_bit(value),))
        return row.event

    report = decided(rewritten(tmp_path / "log.db", RUNGS, changed))
    assert report.verdict == "diverged"
    assert {type(one.recorded) for one in report.divergences} == {TrialFinished}


SPACE = (
    UniformParameterRange(name="linear", min_value=-1.0, max_value=1.0),
    UniformParameterRange(name="stepped", min_value=0.0, max_value=1.0, step_size=0.1),
    LogUniformParameterRange(name="log", min_value=-5.0, max_value=0.0),
    DiscreteParameterRange(name="listed", values=(0.1, 0.5)),
    UniformIntegerParameterRange(name="whole", min_value=1, max_value=9),
)


@pytest.mark.parametrize(
    ("name", "value", "other", "same"),
    [
        ("linear", 0.5, last_bit(0.5), True),
        ("linear", 1e-12, 1.1e-12, True),  # a sum of what is as large as its range: the last bits of 1
        ("linear", 0.5, 0.5 + 1e-6, False),
        ("log", 1e-5, last_bit(1e-5), True),
        ("log", 1e-5, 1.000001e-5, False),  # of a small value, a small part
        ("stepped", 0.3, last_bit(0.3), False),
        ("listed", 0.1, last_bit(0.1), False),
        ("whole", 1, 2, False),
        ("whole", 1, 1.0, False),
        ("linear", 0.0, -0.0, True),
    ],
)
def test_a_float_of_a_range_may_round_and_a_choice_may_not(name: str, value: Any, other: Any, same: bool) -> None:
    sides = [TrialSuggested(trial=0, params={name: one}) for one in (value, other)]
    assert (rounding.apart(*sides, SPACE) is not None) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((1.0).hex(), last_bit(1.0).hex(), True),
        ((1.0).hex(), (1.1).hex(), False),
        ([0.0, 1.0], [1e-17, 1.0], True),  # one array: its numbers are sums of one another
        ([0.0, 1.0], [1e-5, 1.0], False),
        ([1.0], [1.0, 2.0], False),
        ("a", "b", False),
        ("nan", "inf", False),
    ],
)
def test_what_a_sampler_or_pruner_wrote_may_round_too(one: Any, other: Any, same: bool) -> None:
    suggested = [TrialSuggested(trial=0, params={}, attrs={"state": {"data": side}}) for side in (one, other)]
    pruned = [
        JobPruned(trial=0, attempt=0, judged=1, iteration=1, attrs=(Attr(1, "name", side),)) for side in (one, other)
    ]
    for sides in (suggested, pruned):
        assert (rounding.apart(*sides, SPACE) is not None) == same


def test_a_text_that_optuna_cut_in_pieces_is_compared_as_what_it_says() -> None:
    def cut(value: float, at: int) -> TrialSuggested:
        text = json.dumps({"linear": value, "listed": 0.1})
        attrs = {"tpe:relative_params:0": text[:at], "tpe:relative_params:1": text[at:]}
        return TrialSuggested(trial=0, params={}, attrs=attrs)

    assert rounding.apart(cut(0.5, 14), cut(last_bit(0.5), 14), SPACE) is not None
    assert rounding.apart(cut(0.5, 14), cut(0.6, 14), SPACE) is None


def test_two_types_are_no_rounding() -> None:
    charge = BudgetUpdated(trial=0, attempt=0, iterations=1, late=0, compute_time=0, used=1, reserved=0)
    assert rounding.apart(charge, TrialFinished(trial=0, state="failed"), SPACE) is None


# ---------------------------------------------------------------- how it is said


def test_it_is_counted_and_listed_apart_and_exits_with_0(tmp_path: Path) -> None:
    log = elsewhere(tmp_path / "log.db", params_changed(x=last_bit), simd="another")
    result = invoke("replay", log)
    assert result.exit_code == 0
    (listed,) = [line for line in result.stdout.splitlines() if line.startswith("rounded ")]
    assert listed.startswith("rounded      seq 64: TrialSuggested, furthest apart by ")
    count = decided(log).decisions
    assert result.stdout.splitlines()[-1] == (
        f"verdict      rounded: {count} decisions, {count - 1} as recorded, 1 equal up to rounding (other simd)"
    )
    (found,) = data("replay", log)["logs"]
    assert (found["verdict"], found["divergences"]) == ("rounded", [])
    (one,) = found["rounded"]
    assert (one["seq"], one["path"], [r["name"] for r in one["rounds"]]) == (64, "params.General/x", ["simd"])
    assert one["recorded"]["body"]["params"]["General/x"] == last_bit(one["decided"]["body"]["params"]["General/x"])
    verified = invoke("verify", log, "--decide")
    assert verified.exit_code == 0
    assert f"{count} decisions, {count - 1} as recorded, 1 equal up to rounding" in verified.stdout


def test_several_processes_come_to_the_same_report(tmp_path: Path) -> None:
    log = elsewhere(tmp_path / "log.db", params_changed(x=last_bit), simd="another")
    assert redecide(log, processes=2) == redecide(log)


def test_a_divergence_comes_before_rounding_in_the_verdict(tmp_path: Path) -> None:
    def change(event: TrialSuggested) -> TrialSuggested:
        return params_changed(x=last_bit if event.trial == 5 else lambda x: x + 0.1)(event)

    def changed(row: Recorded) -> Event:
        if isinstance(row.event, SearchCreated | ControllerStarted):
            return msgspec.structs.replace(row.event, fingerprint=fingerprint() | {"simd": "another"})
        return change(row.event) if isinstance(row.event, TrialSuggested) and row.event.trial in (5, 7) else row.event

    report = decided(rewritten(tmp_path / "log.db", RUNGS, changed))
    assert (report.verdict, len(report.rounded), len(report.divergences)) == ("diverged", 1, 1)
    assert render.worst(["ok", "rounded"]) == "rounded"
    assert render.worst(["diverged", "rounded", "ok"]) == "diverged"


def test_explain_says_that_a_point_is_equal_up_to_rounding(tmp_path: Path) -> None:
    log = elsewhere(tmp_path / "log.db", params_changed(x=last_bit), simd="another")
    found = of_rows(read(log).rows, 5)
    assert found.differs == ()
    said = invoke("explain", log, 5).stdout
    assert "equal up to rounding to what the sampler says here: " in said
    assert "each as recorded, its point up to rounding" in said


def test_a_flipped_candidate_of_tpe_says_how_near_the_two_were(tmp_path: Path) -> None:
    """The recorded point is one that another last bit may have chosen; TPE judges both here."""
    rows = list(read(TPE).rows)
    late = [row.event for row in rows if isinstance(row.event, TrialSuggested)][-1]

    def changed(row: Recorded) -> Event:
        if isinstance(row.event, SearchCreated | ControllerStarted):
            return msgspec.structs.replace(row.event, fingerprint=fingerprint() | {"simd": "another"})
        if row.event != late:
            return row.event
        return msgspec.structs.replace(late, params=late.params | {"General/x": 0.5})

    report = decided(rewritten(tmp_path / "log.db", TPE, changed))
    (found,) = [one for one in report.divergences if getattr(one.recorded, "trial", None) == late.trial]
    assert found.near is not None
    assert float(found.near.decided) >= float(found.near.recorded)  # it takes the larger
    text = list(render.render_divergence(found))
    assert [line for line in text if line.startswith("  rounding   simd ")] != []
    assert [line for line in text if line.startswith("  near       TPE's acquisition function says ")] != []


# ---------------------------------------------------------------- this machine as another one


@pytest.mark.parametrize("kernel", ["Haswell", "Nehalem"])
def test_without_some_of_this_processors_instructions_only_suggestions_come_out_otherwise(kernel: str) -> None:
    """Whatever this processor has: what differs is rounding, or a suggestion that names what rounds otherwise."""
    for log in (CMAES, TPE):
        found = replayed(kernel, log)
        assert {one["recorded"]["type"] for one in found["rounded"] + found["divergences"]} <= {"TrialSuggested"}
        assert all(one["rounds"] for one in found["rounded"] + found["divergences"])
        assert all(one["distance"] < rounding.WITHIN / 1000 for one in found["rounded"])
        assert found["code"] == (found["verdict"] == "diverged")
        if log == TPE:
            assert all(one["near"] is not None for one in found["divergences"])


def test_the_other_surroundings_are_others() -> None:
    """Negative control: numpy takes the words, and would end at one that it does not know."""
    assert surroundings("Nehalem")["OPENBLAS_CORETYPE"] == "Nehalem"
    assert "X86_V2" not in surroundings("Nehalem")["NPY_DISABLE_CPU_FEATURES"].split()
