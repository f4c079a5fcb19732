"""Verdicts are what Optuna's pruners say at every point, asked once each, one pruner for the whole search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
from optuna.pruners import BasePruner

from eventhpo.core.fold.events import JobEnded, JobPruned, JobsContinued, MetricObserved, Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import ComponentConfig, Scalar
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.auto_resource import is_auto
from eventhpo.optuna_adapter.component_factory import build_pruner
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from replay.decide.check_prefixes import check_prefixes
from tests.crash.scenarios import Scenario
from tests.optuna_adapter import samples
from tests.optuna_adapter.oracle import Oracle, verdict_of

Rows = list[Recorded]


def prunes(rows: Rows) -> int:
    return sum(isinstance(row.event, JobPruned) for row in rows)


def latches(rows: Rows) -> list[int]:
    found = (row.event.latched for row in rows if isinstance(row.event, JobsContinued | JobPruned))
    return [latched for latched in found if latched is not None]


@pytest.mark.parametrize("name", samples.PRUNERS)
@pytest.mark.parametrize(
    "more",
    [{"seed": 21}, {"seed": 28, "objectives": (samples.ACCURACY,), "min_iteration_per_job": 2}],
    ids=["least", "best value, from the second"],
)
def test_every_verdict_is_optunas_on_a_storage_of_its_own(name: str, more: dict[str, Any], tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.scenario(samples.RANDOM, samples.PRUNERS[name], jobs=16, **more))
    oracle = verdict_of(rows, ask_samplers=False)
    assert oracle.wrong == []
    assert oracle.asked > 30
    never = "patience" in name and "objectives" in more  # the best so far gets no worse: nothing to lose patience with
    assert (prunes(rows) > 0) != never


def test_a_prune_at_the_limit_or_behind_the_end_is_recorded_as_too_late_and_prunes_nothing(tmp_path: Path) -> None:
    late = 0
    for seed in (21, 22):
        what = samples.scenario(samples.RANDOM, samples.HALVING, seed=seed, jobs=16, max_iteration_per_job=4)
        ended: set[tuple[int, int]] = set()
        for row in samples.log_of(tmp_path, what):
            match row.event:
                case JobEnded(trial=trial, attempt=attempt):
                    ended.add((trial, attempt))
                case JobPruned(trial=trial, attempt=attempt, iteration=iteration):
                    assert iteration < 4
                    assert (trial, attempt) not in ended
                case JobsContinued(verdicts=verdicts):
                    for verdict in (v for v in verdicts if v.too_late):
                        assert verdict.iteration >= 4 or (verdict.trial, verdict.attempt) in ended
                        late += verdict.iteration >= 4 and (verdict.trial, verdict.attempt) not in ended
    assert late > 0


# ---------------------------------------------------------------- "auto", settled once

AUTO = ["halving by itself", "hyperband by itself"]


def longer(what: Scenario, times: int) -> Scenario:
    """Return *what* with each iteration that many times as far, so that a hundredth of it is more than one."""

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        found = what.scripts(trial, attempt, params)
        # Later curves are longer: a pruner that guessed anew would guess more.
        points = tuple((i * times * (1 + trial // 6), value) for i, value, *_ in found.points)
        return msgspec.structs.replace(found, points=points, resumes_from=None, returns=())

    return msgspec.structs.replace(what, scripts=script)


def long_search(name: str) -> Scenario:
    # A limit would cut all curves to one length.
    what = samples.scenario(
        samples.RANDOM, samples.PRUNERS[name], seed=29, max_iteration_per_job=None, total_max_jobs=40
    )
    return longer(what, 100)


class GuessedAnew(BasePruner):
    """Asks a new pruner each time, so that "auto" is guessed from all complete trials so far."""

    def __init__(self, named: ComponentConfig) -> None:
        self.named = named

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return build_pruner(self.named).prune(study, trial)


@pytest.mark.parametrize("name", AUTO)
def test_auto_is_what_one_long_lived_pruner_of_optunas_settles_on(name: str, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, long_search(name))
    oracle = verdict_of(rows, ask_samplers=False)
    assert oracle.wrong == []
    settled: Any = oracle.study.pruner
    key = "_min_resource" if name == AUTO[0] else "_max_resource"
    assert latches(rows) == [getattr(settled, key)] == [fold(rows).latched]
    assert latches(rows)[0] > 1
    assert prunes(rows) > 3
    assert [c.divergence for c in check_prefixes(rows) if c.divergence] == []


@pytest.mark.parametrize("name", AUTO)
def test_a_pruner_that_guesses_anew_each_time_differs(name: str, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, long_search(name))
    anew = verdict_of(rows, ask_samplers=False, pruner=GuessedAnew(samples.PRUNERS[name]))
    assert anew.wrong != []


def test_a_resource_that_is_given_is_never_latched(tmp_path: Path) -> None:
    assert not is_auto(samples.HALVING)
    assert latches(samples.log_of(tmp_path, samples.scenario(samples.RANDOM, samples.HALVING))) == []


# ---------------------------------------------------------------- controls: what must be noticed


class Twice(Oracle):
    """Asks at each step twice and goes by the second answer."""

    def _should_prune(self, trial: optuna.trial.Trial) -> bool:
        super()._should_prune(trial)
        return super()._should_prune(trial)


@pytest.mark.parametrize(("name", "differs"), [("halving", True), ("hyperband", True), ("median", False)])
def test_a_rung_pruner_that_is_asked_twice_a_step_differs(name: str, differs: bool, tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.scenario(samples.RANDOM, samples.PRUNERS[name], seed=21, jobs=16))
    assert bool(verdict_of(rows, Twice, ask_samplers=False).wrong) == differs


def without_attrs(row: Recorded) -> Recorded:
    match row.event:
        case JobPruned():
            return msgspec.structs.replace(row, event=msgspec.structs.replace(row.event, attrs=()))
        case JobsContinued(verdicts=verdicts):
            bare = tuple(msgspec.structs.replace(v, attrs=()) for v in verdicts)
            return msgspec.structs.replace(row, event=msgspec.structs.replace(row.event, verdicts=bare))
    return row


def test_a_rung_that_was_lost_is_found_where_it_was_and_changes_what_comes_after(tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.scenario(samples.RANDOM, samples.HALVING, seed=21, jobs=16))
    at = [n for n, row in enumerate(rows) if without_attrs(row) != row]
    one_lost = [*rows[: at[0]], without_attrs(rows[at[0]]), *rows[at[0] + 1 :]]
    found = [c.divergence.seq for c in check_prefixes(one_lost) if c.divergence]
    assert found[0] == rows[at[0]].seq
    assert len(found) > 1
    # A verdict turns too, and not only the attributes beside it.
    parted = [c.divergence for c in check_prefixes(map(without_attrs, rows)) if c.divergence]
    assert any({type(d.decided), type(d.recorded)} == {JobPruned, JobsContinued} for d in parted)


def test_a_value_of_a_judged_point_that_was_changed_is_a_divergence(tmp_path: Path) -> None:
    rows = samples.log_of(tmp_path, samples.scenario(samples.RANDOM, samples.HALVING, seed=21, jobs=16))

    def raised(row: Recorded) -> Recorded:
        assert isinstance(row.event, MetricObserved)
        values = tuple(99.0 for _ in row.event.values)
        return msgspec.structs.replace(row, event=msgspec.structs.replace(row.event, values=values))

    judged = next(v for r in rows if isinstance(r.event, JobsContinued) for v in r.event.verdicts if v.attrs)
    at = next(n for n, r in enumerate(rows) if isinstance(r.event, MetricObserved) and r.event.trial == judged.trial)
    assert any(c.divergence for c in check_prefixes([*rows[:at], raised(rows[at]), *rows[at + 1 :]]))


# ---------------------------------------------------------------- how polls cut a curve


def test_verdicts_of_one_worker_do_not_depend_on_how_polls_cut_a_curve(tmp_path: Path) -> None:
    what = samples.scenario(samples.RANDOM, samples.HALVING, seed=24, jobs=16, num_concurrent_workers=1)

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        points = what.scripts(trial, 0, params).points
        return Script(points=points, hangs=True, overrun=2)

    def judged(cut: Callable[[int, int, int], int]) -> list[tuple[int, int, bool]]:
        rows = samples.log_of(tmp_path, msgspec.structs.replace(what, scripts=script, cut=cut))
        attempts = [t.last for t in fold(rows).trials]
        return [(a.trial, a.judged, a.fate == "pruned") for a in attempts if a is not None]

    one, many = judged(lambda trial, attempt, cursor: 1), judged(lambda trial, attempt, cursor: 5)
    assert one == many
    assert any(pruned for _, _, pruned in one)


def test_an_answer_ends_after_a_hundred_verdicts_so_that_a_signal_never_waits_for_a_whole_poll(tmp_path: Path) -> None:
    what = search(total_max_jobs=1)
    points = tuple((i, 1 / i) for i in range(1, 251))
    simulate(tmp_path / "s.db", what, lambda *_: Script(points=points), cut=lambda *_: 250)
    rows = read(tmp_path / "s.db").rows
    judged = [row.event.verdicts[-1].judged for row in rows if isinstance(row.event, JobsContinued)]
    assert judged == [100, 200, 250]
    assert [c.divergence for c in check_prefixes(rows) if c.divergence] == []
