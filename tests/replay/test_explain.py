"""Explanations come to what logs record, for every sampler, pruner and rule; a number that was altered is seen."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventhpo.core.fold.event_parts import AdoptedCurve, Attr
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    Event,
    JobAdopted,
    JobCreated,
    JobPruned,
    JobsContinued,
    MetricObserved,
    Recorded,
    SearchCreated,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.fold.evolve import begin, evolve, fold
from eventhpo.core.scheduler.actions import Suggest
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import ComponentConfig, DiscreteParameterRange
from eventhpo.errors import Usage
from eventhpo.log.reader import read
from eventhpo.optuna_adapter import adapter
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import Script
from replay import explain as of_log
from replay.explain import pruner_rules
from replay.explain import text as telling
from replay.explain.collect import of_rows
from replay.explain.explanation import (
    Charge,
    Explanation,
    Finish,
    Imported,
    JobEndStep,
    JudgedPoint,
    LaunchStep,
    Prune,
    Settled,
    Stretch,
    Suggestion,
    TooLate,
)
from tests.crash.scenarios import SCENARIOS, Scenario, curve
from tests.memory import MEMORY
from tests.optuna_adapter import samples
from tests.replay.elsewhere import may_flip, rounds_otherwise
from tests.replay.forging import changed, forged

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs"
Rows = list[Recorded]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def explained(rows: Rows) -> list[Explanation]:
    return [of_rows(rows, number) for number in range(len(fold(rows).trials))]


def steps(found: Explanation, kind: type[Any]) -> list[Any]:
    return [step for step in found.steps if isinstance(step, kind)]


def points(found: Explanation) -> list[JudgedPoint]:
    stretches = [point for step in steps(found, Stretch) for point in step.points]
    return stretches + [step.point for step in found.steps if isinstance(step, Prune | TooLate)]


def lines(found: Explanation) -> list[str]:
    return list(telling.text(found))


def line(found: Explanation, word: str) -> str:
    """Return the one line of a word."""
    [shown] = [text for text in lines(found) if text[8:].startswith(f"{word} ")]
    return shown


# ---------------------------------------------------------------- what is recorded is what the rules come to


def of_pruner(name: str, **more: Any) -> Scenario:
    return samples.scenario(samples.RANDOM, samples.PRUNERS[name], jobs=14, asks=samples.ABORT, **more)


def judged(rows: Rows) -> int:
    """Return how many points have a verdict, counted on the log alone."""
    count, so_far = 0, dict[tuple[int, int], int]()
    state = begin(rows[0])
    for row in rows[1:]:
        if isinstance(row.event, JobsContinued | JobPruned):
            verdicts = row.event.verdicts if isinstance(row.event, JobsContinued) else (row.event,)
            for verdict in verdicts:
                name = verdict.trial, verdict.attempt
                before = max(so_far.get(name, 0), state.attempt(*name).judged)
                count += verdict.judged - before
                so_far[name] = verdict.judged
        state = evolve(state, row)
    return count


@pytest.mark.parametrize("name", samples.PRUNERS)
@pytest.mark.parametrize(
    "more",
    [{"seed": 31}, {"seed": 28, "objectives": (samples.ACCURACY,), "min_iteration_per_job": 2}],
    ids=["least", "best value, from the second"],
)
def test_every_verdict_of_every_pruner_is_come_to_again_from_the_curves(
    name: str, more: dict[str, Any], folder: Path
) -> None:
    rows = samples.log_of(folder, of_pruner(name, **more))
    found = explained(rows)
    assert [e.trial for e in found if e.differs] == []
    assert sum(len(points(e)) for e in found) == judged(rows) > 30
    pruned = [e for e in found if e.status == "pruned"]
    assert len(pruned) == sum(isinstance(row.event, JobPruned) for row in rows)
    for one in pruned:
        assert samples.PRUNERS[name].name in line(one, "pruned")
        assert "it needed" in line(one, "to go on")
    asked = {p.asked for e in found for p in points(e)}
    assert asked == ({True, False} if "min_iteration_per_job" in more else {True})


def test_there_is_a_search_here_for_every_pruner_and_every_sampler_of_optuna() -> None:
    import optuna

    of_pruners = {named.name for named in samples.PRUNERS.values()} | {"NopPruner"}
    assert set(optuna.pruners.__all__) - {"BasePruner"} == of_pruners == set(CATALOGUE["pruner"])
    texts = "".join(str(make().search.sampler) for name, make in samples.SAMPLERS.items() if name in OF_SAMPLERS)
    assert [name for name in CATALOGUE["sampler"] if name not in texts] == ["GPSampler"]  # it needs torch


OF_SAMPLERS = [name for name in samples.SAMPLERS if "nsga2 with" not in name and name != "gaussian process"]


@pytest.mark.parametrize("name", OF_SAMPLERS)
def test_every_suggestion_and_what_follows_from_it_is_come_to_again(name: str, folder: Path) -> None:
    rows = samples.log_of(folder, samples.SAMPLERS[name]())
    for found in explained(rows):
        [suggestion] = steps(found, Suggestion)
        assert found.differs == (), lines(found)
        assert suggestion.again == "same"
        assert suggestion.tries == 1 or "  tries" in line(found, "tries")
        start_up(suggestion, rows)


def start_up(suggestion: Suggestion, rows: Rows) -> None:
    """Check the rule of the first trials against the traces that a sampler leaves where it is over."""
    event = rows[suggestion.seq - 1].event
    assert isinstance(event, TrialSuggested)
    if suggestion.source != "sampler" or suggestion.start_up is None:
        return
    assert suggestion.start_up.in_it == (suggestion.start_up.there < suggestion.start_up.needed)
    assert not (suggestion.start_up.in_it and traces(event))


def traces(event: TrialSuggested) -> list[str]:
    """Return what TPE and CMA-ES write on a trial, and their start-up does not."""
    return [name for name in event.attrs if name == "tpe:relative_params:0" or name.endswith("cma:generation")]


@pytest.mark.parametrize("name", ["tpe", "tpe, its other arguments", "cma-es", "cma-es, separable"])
def test_a_sampler_leaves_its_trace_exactly_where_its_start_up_is_over(name: str, folder: Path) -> None:
    rows = samples.log_of(folder, samples.SAMPLERS[name]())
    first = 0
    for found in explained(rows):
        [suggestion] = steps(found, Suggestion)
        if suggestion.source == "sampler":
            event = rows[suggestion.seq - 1].event
            assert isinstance(event, TrialSuggested)
            assert suggestion.start_up.in_it == (not traces(event)), found.trial
            first += suggestion.start_up.in_it
    assert first > 1


@pytest.mark.parametrize(
    "name", ["tpe", "tpe, one by one", "tpe in groups, told of what runs", "tpe, two objectives", "fixed, over tpe"]
)
def test_the_split_is_the_one_that_optuna_works_on(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search's own question is asked again, and Optuna's function overheard."""
    from optuna.samplers._tpe import sampler as tpe

    heard: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    split = tpe._split_trials

    def overheard(*args: Any) -> Any:
        better, worse = split(*args)
        heard.append((tuple(t.number for t in better), tuple(t.number for t in worse)))
        return better, worse

    rows = samples.log_of(folder, samples.SAMPLERS[name]())
    mine = {s.seq: s for found in explained(rows) for s in steps(found, Suggestion)}
    monkeypatch.setattr(tpe, "_split_trials", overheard)
    state, compared, running = begin(rows[0]), 0, 0
    for row in rows[1:]:
        if isinstance(row.event, TrialSuggested) and isinstance(next_action(state), Suggest):
            heard.clear()
            adapter.decided(state, Suggest())
            found = mine[row.seq].split
            assert (found is None) == (heard == []), row.seq
            if found is not None:
                assert {(found.better, found.worse)} == set(heard), row.seq
                assert found.constant_liar or not found.running
                running += len(found.running)
                compared += 1
        state = evolve(state, row)
    assert compared > 8
    assert (running > 0) == (name != "tpe, one by one")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_rule_of_a_search_is_come_to_again(name: str, folder: Path) -> None:
    rows = samples.log_of(folder, SCENARIOS[name]())
    for found in explained(rows):
        assert found.differs == (), lines(found)
        assert all("None" not in text for text in lines(found)), lines(found)
    if name == "stopped before it starts":
        with pytest.raises(Usage, match="0 trials"):
            of_rows(rows, 0)


@pytest.mark.parametrize("log", sorted(GOLDEN.glob("*.db")), ids=lambda p: p.stem)
def test_the_golden_logs_are_explained(log: Path, folder: Path) -> None:
    copy = Path(shutil.copy(log, folder))
    rows = list(read(copy).rows)
    imported = {trial.number for trial in fold(rows).trials if trial.imported is not None}
    for found in explained(rows):
        assert found == of_log(copy, found.trial)
        if found.differs and may_flip(log, rows):
            assert isinstance(found.steps[0], Suggestion)
            assert found.differs == (found.steps[0].seq,), "its point alone, which a last bit can choose"
            assert found.notes[-1].startswith("decided on another platform")
            continue
        assert found.differs == ()
        rounded = any(isinstance(step, Suggestion) and step.again == "rounded" for step in found.steps)
        said = "each as recorded, its point up to rounding" if rounded else "each as recorded"
        assert lines(found)[-1].endswith("nothing was decided about it" if found.trial in imported else said)
        assert rounds_otherwise(rows) or not rounded


# ---------------------------------------------------------------- a number that was altered


MEDIAN = samples.scenario(
    samples.RANDOM, ComponentConfig("MedianPruner", {"n_startup_trials": 1}), seed=31, jobs=9, space=samples.NUMBERS
)
RUNGS = samples.scenario(samples.RANDOM, samples.HALVING, seed=31, jobs=9, space=samples.NUMBERS)


def first(rows: Rows, kind: type[Event], where: Callable[[Any], bool] = lambda event: True) -> Recorded:
    return next(row for row in rows if isinstance(row.event, kind) and where(row.event))


def value_of_the_pruned_one(rows: Rows) -> tuple[int, int, int, Callable[[Any], Event]]:
    """Give the point that was pruned a value that no rule prunes; return the trial, where to look, and the change."""
    prune = first(rows, JobPruned, lambda e: e.judged == 1)
    seen = first(rows, MetricObserved, lambda e: e.trial == prune.event.trial and e.attempt == prune.event.attempt)  # type: ignore[union-attr]
    return prune.event.trial, prune.seq, seen.seq, lambda e: changed(e, values=(-1e6, *e.values[1:]))  # type: ignore[union-attr]


def value_of_one_that_went_on(rows: Rows) -> tuple[int, int, int, Callable[[Any], Event]]:
    """Give a first point that was compared and went on a value that no rule lets go on."""
    number, point = next(
        (found.trial, p)
        for found in explained(rows)
        for p in points(found)
        if p.position == 1 and p.recorded == "go on" and p.found is not None and p.found.margin is not None
    )
    seen = first(rows, MetricObserved, lambda e: e.trial == number and e.iterations[0] == point.iteration)
    return number, point.seq, seen.seq, lambda e: changed(e, values=(1e6, *e.values[1:]))


def of_decision(
    kind: type[Event], change: Callable[[Any], Event], where: Callable[[Any], bool] = lambda e: True
) -> Any:
    def altered(rows: Rows) -> tuple[int, int, int, Callable[[Any], Event]]:
        row = first(rows, kind, where)
        return row.event.trial, row.seq, row.seq, change  # type: ignore[union-attr]

    return altered


def rung_of(event: JobPruned) -> Event:
    [attr] = event.attrs
    return changed(event, attrs=(msgspec.structs.replace(attr, value=attr.value + 1.0),))


def params_of(event: TrialSuggested) -> Event:
    return changed(event, params=event.params | {"Args/a": 0.125})


ALTERED: dict[str, tuple[Scenario, Any, str]] = {
    "the value of a pruned point": (
        MEDIAN,
        value_of_the_pruned_one,
        "the record says pruned; these numbers say go on",
    ),
    "the value of a pruned point, rungs": (
        RUNGS,
        value_of_the_pruned_one,
        "the record says pruned; these numbers say go on",
    ),
    "the value of a point that went on": (
        MEDIAN,
        value_of_one_that_went_on,
        "the record says go on; these numbers say pruned",
    ),
    "the value of a point that went on, rungs": (
        RUNGS,
        value_of_one_that_went_on,
        "the record says go on; these numbers say pruned",
    ),
    "a value at a rung": (RUNGS, of_decision(JobPruned, rung_of), "at its rungs; these numbers say"),
    "the iteration of a prune": (
        MEDIAN,
        of_decision(JobPruned, lambda e: changed(e, iteration=e.iteration + 1)),
        "the record says iteration",
    ),
    "an attribute that the pruner does not write": (
        MEDIAN,
        of_decision(JobPruned, lambda e: changed(e, attrs=(*e.attrs, Attr(e.iteration, "mine", 1.0)))),
        "the record has attributes that the pruner does not write there: mine at iteration",
    ),
    "a rung at another iteration": (
        RUNGS,
        of_decision(JobPruned, lambda e: changed(e, attrs=(*e.attrs, Attr(99, "completed_rung_7", 1.0)))),
        "the record has attributes that the pruner does not write there: completed_rung_7 at iteration 99",
    ),
    "a verdict on no point": (
        MEDIAN,
        of_decision(JobPruned, lambda e: changed(e, judged=e.judged - 1), lambda e: e.judged == 1),
        "the record judges 0 points; there are",
    ),
    "a slot": (MEDIAN, of_decision(JobCreated, lambda e: changed(e, slot=e.slot + 3)), "the record says slot 3"),
    "a charge": (
        MEDIAN,
        of_decision(BudgetUpdated, lambda e: changed(e, iterations=e.iterations + 1)),
        "the record says iterations",
    ),
    "what the sampler was told": (
        MEDIAN,
        of_decision(TrialFinished, lambda e: changed(e, values=(e.values[0] + 0.5,)), lambda e: e.values is not None),
        "the record says values",
    ),
    "a parameter": (MEDIAN, of_decision(TrialSuggested, params_of), "the record says params"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_one_altered_number_is_seen_where_it_stands(name: str, folder: Path) -> None:
    scenario, altered, text = ALTERED[name]
    rows = samples.log_of(folder, scenario)
    trial, where, seq, change = altered(rows)
    assert of_rows(rows, trial).differs == ()
    found = of_log(forged(folder / "forged.db", rows, seq, change), trial)
    assert where in found.differs
    [shown, *_] = [said for said in lines(found) if said.startswith(f"{where:>6}  DIFFERS")]
    assert text in shown
    assert f"recorded at event {', '.join(map(str, found.differs))}" in lines(found)[-1]


def test_a_suggestion_that_differs_on_another_platform_says_so(folder: Path) -> None:
    def platform(log: Path, trial: int) -> list[str]:
        return [note for note in of_log(log, trial).notes if "another platform" in note]

    rows = samples.log_of(folder, MEDIAN)
    row = first(rows, TrialSuggested)
    here = forged(folder / "here.db", rows, row.seq, params_of)
    assert platform(here, 0) == []
    start = first(rows, ControllerStarted)  # the controller that suggested it, wherever the search was born
    there = forged(
        folder / "there.db", read(here).rows, start.seq, lambda e: changed(e, fingerprint={"machine": "other"})
    )
    [note] = platform(there, 0)
    assert note.startswith("decided on another platform than this one (")
    assert platform(there, 1) == []


def test_a_log_that_is_written_anew_unchanged_differs_nowhere(folder: Path) -> None:
    """Negative control of the forger."""
    rows = samples.log_of(folder, MEDIAN)
    path = forged(folder / "forged.db", rows, 5, lambda event: event)
    assert [of_log(path, found.trial) for found in explained(rows)] == explained(rows)


# ---------------------------------------------------------------- single rules, in words


def of_scenario(name: str, folder: Path) -> list[Explanation]:
    return explained(samples.log_of(folder, SCENARIOS[name]()))


def test_a_prune_names_its_numbers_and_what_it_needed(folder: Path) -> None:
    found = of_log(GOLDEN / "rungs.db", 3)
    assert line(found, "pruned").endswith(
        "at iteration 1, point 1: SuccessiveHalvingPruner: value 1.31115 at iteration 1 is rank 4 of 4 at rung 0 "
        "(iteration 1); one in 2 goes on, here the best 2, with 1.21999 or less"
    )
    assert line(found, "to go on").endswith("it needed 1.21999 or less at rung 0 (iteration 1)")
    assert "late       attempt 0: 1 point at iteration 2" in line(found, "late")


def test_a_stretch_names_the_point_that_came_closest_to_a_prune() -> None:
    every = (s for found in explained(read(GOLDEN / "rungs.db").rows) for s in steps(found, Stretch))
    stretch = next(s for s in every if s.closest is not None and len(s.points) > 1)
    margins = [float(p.found.margin) for p in stretch.points if p.found is not None and p.found.margin is not None]
    closest = stretch.points[stretch.closest]
    assert float(closest.found.margin) == min(margins)


def test_a_launch_names_its_slot_and_the_budget_before_and_after() -> None:
    [launch] = steps(of_log(GOLDEN / "rungs.db", 3), LaunchStep)
    assert (launch.slot, [busy.slot for busy in launch.busy], launch.workers) == (0, [2], 3)
    assert launch.budget is not None
    assert (launch.budget.used, launch.budget.reserved, launch.budget.reserves, launch.budget.limit) == (15, 6, 6, 42)
    assert line(of_log(GOLDEN / "rungs.db", 3), "budget").endswith(
        "before: 15 used, 6 reserved, 21 free of 42; it reserves 6; after: 15 free"
    )


@pytest.mark.parametrize(
    ("scenario", "trial", "outcome", "limit"),
    [
        ("failures and retries", 1, "failed", "max_failures_per_trial"),
        ("lost and back", 1, "lost", "max_lost_per_trial"),
    ],
)
def test_a_retry_names_the_end_before_it_and_the_limit(
    scenario: str, trial: int, outcome: str, limit: str, folder: Path
) -> None:
    found = of_scenario(scenario, folder)[trial]
    [_, second] = steps(found, LaunchStep)
    assert (second.retry.outcome, second.retry.limit, second.retry.count) == (outcome, limit, 1)
    assert f"{limit} = {second.retry.allowed} allows another" in line(found, "retried")


def test_a_failed_trial_says_why_it_has_no_other_attempt(folder: Path) -> None:
    said = [line(found, "finished") for found in of_scenario("all fail", folder)]
    assert all("not retried: failed 2 times, max_failures_per_trial = 1" in text for text in said)
    no_value = [line(f, "finished") for f in of_scenario("time limit", folder) if f.status == "failed"]
    assert all("not retried: only a job that failed or was lost is" in text for text in no_value)
    assert no_value


def test_a_failure_names_its_output_and_its_reason(folder: Path) -> None:
    rows = samples.log_of(folder, SCENARIOS["all fail"]())
    row = next(row for row in rows if type(row.event).__name__ == "JobEnded")
    path = forged(folder / "f.db", rows, row.seq, lambda e: changed(e, code=3, output="jobs/0.0/output.log"))
    found = of_log(path, row.event.trial)  # type: ignore[union-attr]
    assert any("failed, exit code 3" in text for text in lines(found))
    assert line(found, "output").endswith("jobs/0.0/output.log")


def test_a_prune_that_came_too_late_says_why_it_changed_nothing(folder: Path) -> None:
    late: list[TooLate] = []
    for seed in (21, 22):
        what = samples.scenario(samples.RANDOM, samples.HALVING, seed=seed, jobs=16, max_iteration_per_job=4)
        late += [s for found in explained(samples.log_of(folder, what)) for s in steps(found, TooLate)]
    assert {step.why for step in late} == {"ended", "limit"}
    assert all(step.point.found is not None and step.point.found.prune for step in late)


def test_what_users_and_callers_asked_for_is_said_with_its_event(folder: Path) -> None:
    user = line(of_scenario("a user's points", folder)[1], "suggested")
    assert user.endswith("a point that a user enqueued (event 3); General/x was left to TPESampler(n_startup_trials=3)")
    caller = of_scenario("by hand", folder)[1]
    assert line(caller, "suggested").endswith("a caller's own parameters, requested at event 6; no sampler was asked")
    assert any("the end of this job was asked for" in step.why for step in steps(caller, Settled))


def test_an_imported_trial_says_where_it_is_from(folder: Path) -> None:
    found = of_scenario("imported", folder)[0]
    assert steps(found, Imported)
    assert "its trial 0: completed with 0, 2 points" in line(found, "imported")
    assert line(found, "checked").endswith("nothing was decided about it")


def test_nan_policy_is_named(folder: Path) -> None:
    worst = [s for f in of_scenario("nan told as worst", folder) for s in steps(f, Finish) if s.nan_policy]
    fails = [s for f in of_scenario("nan fails", folder) for s in steps(f, Finish) if s.nan_policy]
    assert {s.nan_policy for s in worst} == {"worst"}
    assert {(s.nan_policy, s.state) for s in fails} == {("fail", "failed")}


SMALL = (DiscreteParameterRange(name="General/x", values=tuple(n / 10 for n in range(1, 25))),)


def test_duplicates_and_enumerated_points_are_said_with_their_tries(folder: Path) -> None:
    def plain(trial: int, attempt: int, params: Any) -> Script:
        return Script(points=curve(0.5, 2))

    small = explained(samples.log_of(folder, Scenario(search(space=SMALL, total_max_jobs=None), plain)))
    assert max(s.tries for found in small for s in steps(found, Suggestion)) > 1
    assert any("belonged to other trials, at the cost of no job" in text for found in small for text in lines(found))
    grid = explained(samples.log_of(folder, samples.SAMPLERS["grid"]()))
    enumerated = [found for found in grid for s in steps(found, Suggestion) if s.enumerated]
    assert enumerated
    assert all("the seed picked this one" in line(found, "tries") for found in enumerated)
    assert line(grid[1], "duplicate").endswith("trial 0 holds the same point, which a user may try again")


def test_a_duplicate_that_an_infinite_space_accepts_names_whose_point_it_is() -> None:
    found = of_log(GOLDEN / "rungs.db", 3)
    [suggestion] = steps(found, Suggestion)
    again = msgspec.structs.replace(suggestion, tries=50, duplicate_of=(1,))
    twice = msgspec.structs.replace(found, steps=(again, *found.steps[1:]))
    assert line(twice, "tries").endswith(
        "50: each gave a point that another trial holds, so that of trial 1 is tried again"
    )


def test_the_rank_is_that_of_top(folder: Path) -> None:
    from eventhpo.core.scheduler import rank

    rows = samples.log_of(folder, MEDIAN)
    order = [trial.number for trial in rank.top(fold(rows))]
    for found in explained(rows):
        assert (found.rank.place - 1 if found.rank else None) == (
            order.index(found.trial) if found.trial in order else None
        )


def test_charges_ends_and_late_points_stand_in_the_explanation(folder: Path) -> None:
    found = of_log(GOLDEN / "rungs.db", 2)
    assert [(c.iterations, c.inherited) for c in steps(found, Charge)] == [(3, 0), (4, 2)]
    assert [(e.how, e.unjudged) for e in steps(found, JobEndStep)] == [("failed", 1), ("completed", 0)]
    assert [(late.attempt, late.points, late.first) for late in found.late] == [(1, 1, 7)]


def test_as_of_an_event_only_what_lies_before_it_is_said() -> None:
    path = GOLDEN / "rungs.db"
    found = of_log(path, 3, at=57)
    assert (found.seq, found.status) == (57, "running")
    assert all(step.seq <= 57 for step in found.steps)
    assert "no outcome yet: attempt 0 is running" in found.notes
    with pytest.raises(Usage, match="as of event 44 the log has 3 trials, 0 to 2"):
        of_log(path, 3, at=44)


# ---------------------------------------------------------------- what cannot be told


def test_of_a_job_that_outlived_the_end_of_its_log_only_that_is_said() -> None:
    rows = list(read(GOLDEN / "stopped.db").rows)[:12]
    count = len(fold(rows).trials)
    adopted = JobAdopted(
        trial=count + 1,
        attempt=0,
        key="eventhpo:x:1-0:1.0",
        job_id="a7",
        params={"General/x": 0.5},
        slot=1,
        launched=True,
        curves=(AdoptedCurve("validation", "loss", (1, 2), (0.5, 0.25)),),
        fate="pruned",
        judged=1,
    )
    rows.append(msgspec.structs.replace(rows[-1], seq=13, cause=None, event=adopted))
    found = of_rows(rows, count + 1)
    assert "job a7 is taken up again with 2 points; it had been told to stop (pruned)" in line(found, "job")
    assert found.differs == ()
    assert "nothing of it but its number is left" in line(of_rows(rows, count), "note")


def renamed(**parts: ComponentConfig) -> Callable[[Any], Event]:
    def change(event: SearchCreated) -> Event:
        return changed(event, search=msgspec.structs.replace(event.search, **parts))

    return change


def test_of_a_class_that_is_not_optunas_only_the_record_is_shown(folder: Path) -> None:
    rows = samples.log_of(folder, MEDIAN)
    change = renamed(sampler=ComponentConfig("mine.Sampler"), pruner=ComponentConfig("mine.Pruner"))
    path = forged(folder / "forged.db", rows, 1, change)
    prune = first(rows, JobPruned)
    found = of_log(path, prune.event.trial)  # type: ignore[union-attr]
    assert found.differs == ()
    assert line(found, "pruned").endswith("no rule is known of mine.Pruner: only what was recorded can be shown")
    assert line(found, "note").endswith(
        "the sampler was not asked again: no rule is known of a class that is not Optuna's"
    )
    assert "by mine.Sampler" in line(found, "suggested")
    assert all(p.found is None or not pruner_rules.is_known(p.found) for p in points(found))


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the sampler can be asked here")
def test_a_sampler_whose_package_is_missing_is_not_asked_again(folder: Path) -> None:
    rows = samples.log_of(folder, MEDIAN)
    path = forged(folder / "forged.db", rows, 1, renamed(sampler=ComponentConfig("GPSampler", {"n_startup_trials": 1})))
    found = of_log(path, len(fold(rows).trials) - 1)
    assert "the sampler was not asked again: a package is missing here" in line(found, "note")
    assert found.differs == ()
