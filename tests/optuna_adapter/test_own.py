"""Samplers and pruners of a user's own classes: asked by copies, recorded by what recognises them."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from eventhpo.cli.read.log_checks import decided
from eventhpo.core.fold import codec
from eventhpo.core.fold.events import JobPruned, JobsContinued, PointEnqueued, Recorded, StopAsked, TrialSuggested
from eventhpo.core.fold.evolve import fold
from eventhpo.core.scheduler.actions import Judge
from eventhpo.core.scheduler.decide import next_action
from eventhpo.core.search.spec import ComponentConfig, Scalar, Search
from eventhpo.errors import Usage
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.adapter import decided as decided_by
from eventhpo.optuna_adapter.component_config import ComponentRefused, pruner_of, sampler_of
from eventhpo.optuna_adapter.user_class_record import describe
from eventhpo.optuna_adapter.user_classes import NOTHING, UserClasses, pristine, require_buildable
from eventhpo.testing.crashes import CRASHED, Crashes
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from eventhpo.views.event_lines import describe_event
from replay.decide.check_prefixes import check_prefixes
from tests.crash.scenarios import curve
from tests.optimizer.harness import forked
from tests.optuna_adapter import samples

Rows = list[Recorded]


class Halves(BaseSampler):
    """Without state: half way to the best so far, from a fixed side."""

    def __init__(self, side: float = 0.0) -> None:
        self.side = side

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        best = min((t.value, t.params[param_name]) for t in done)[1] if done else 1.0
        return self.side + (best - self.side) / 2


class Noisy(Halves):
    """With a generator, and a count that grows while it is asked."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.rng = np.random.RandomState(seed)
        self.asked = 0

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        self.asked += 1
        return self.rng.uniform(0.0, 1.0 / self.asked)


class Writing(Halves):
    """Remembers what it did in the study, where the log keeps it."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        count = study._storage.get_study_system_attrs(study._study_id).get("writing:count", 0)
        study._storage.set_study_system_attr(study._study_id, "writing:count", count + 1)
        study._storage.set_trial_system_attr(trial._trial_id, "writing:at", count)
        return (1 + count) / 100


class Derived(TPESampler):
    """One of Optuna's, with a habit of its own."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return super().sample_independent(study, trial, param_name, param_distribution) / 2


class Evolving(NSGAIISampler):
    pass


HIDDEN = {"drawn": 0}


class Hidden(Halves):
    """Counts in its module, where no copy gets at it."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        HIDDEN["drawn"] += 1
        return 1 / (1 + HIDDEN["drawn"])


class Above(BasePruner):
    """Prunes what is above a line, and writes where it stood."""

    def __init__(self, line: float) -> None:
        self.line = line
        self.rng = random.Random(1)

    def prune(self, study: Any, trial: Any) -> bool:
        seen = trial.system_attrs.get("above:seen", 0)
        study._storage.set_trial_system_attr(trial._trial_id, "above:seen", seen + 1)
        return bool(seen and trial.intermediate_values[trial.last_step] > self.line + 0.01 * self.rng.random())


class Rungs(SuccessiveHalvingPruner):
    pass


class HiddenPruner(BasePruner):
    def prune(self, study: Any, trial: Any) -> bool:
        HIDDEN["drawn"] += 1
        return HIDDEN["drawn"] % 2 == 0


class Elsewhere(BasePruner):
    def prune(self, study: Any, trial: Any) -> bool:
        study._storage.set_study_system_attr(study._study_id, "elsewhere", 1)
        return False


def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
    return Script(points=curve(float(params["General/x"]), 4))  # type: ignore[arg-type]


def what(sampler: Any = None, pruner: Any = None, **more: Any) -> tuple[Search, UserClasses]:
    """Return a search of these, and what has to be handed over beside its log."""
    found = search(
        sampler=ComponentConfig("RandomSampler") if sampler is None else sampler_of(sampler, (samples.SCALE,)).named,
        pruner=ComponentConfig("NopPruner") if pruner is None else pruner_of(pruner),
        **{"total_max_jobs": 12, "num_concurrent_workers": 2} | more,
    )
    return found, pristine(sampler, pruner)


def rows_of(path: Path, sampler: Any = None, pruner: Any = None, *, inputs: Any = (), **more: Any) -> Rows:
    asked, own = what(sampler, pruner, **more)
    simulate(path, asked, script, own=own, inputs=inputs)
    return list(read(path, verify=True).rows)


def skipped(rows: Rows, **given: Any) -> list[str]:
    """Walk *rows*; return why decisions were skipped, and fail where one comes out otherwise."""
    checks = list(check_prefixes(rows, **given))
    assert [c.divergence for c in checks if c.divergence] == []
    return [c.skipped for c in checks if c.skipped is not None]


def of(rows: Rows, kind: Any) -> list[Any]:
    return [row.event for row in rows if isinstance(row.event, kind)]


SAMPLERS: dict[str, BaseSampler] = {
    "without state": Halves(),
    "with a generator and a count": Noisy(seed=3),
    "that writes on the study": Writing(),
    "derived from one of Optuna's": Derived(n_startup_trials=3),
    "derived from one that writes generations": Evolving(population_size=3),
}
PRUNERS: dict[str, BasePruner] = {"of one's own": Above(0.6), "derived from one of Optuna's": Rungs(min_resource=1)}


# ---------------------------------------------------------------- decided again


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_walk_that_is_given_the_sampler_decides_again_and_one_that_is_not_counts(name: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "one.db", SAMPLERS[name])
    assert not any(event.not_again for event in of(rows, TrialSuggested))
    assert len(of(rows, TrialSuggested)) == 12
    assert skipped(rows, sampler=SAMPLERS[name]) == []
    name_of = f"tests.optuna_adapter.test_own.{type(SAMPLERS[name]).__name__}"
    assert skipped(rows) == [f"{name_of} is not Optuna's own"] * 12
    check = decided(tmp_path / "one.db", rows[-1].seq)
    assert check.ok
    assert f"; 12 not decided again ({name_of} is not Optuna's own)" in check.detail


@pytest.mark.parametrize("name", PRUNERS)
def test_a_walk_that_is_given_the_pruner_judges_again_and_one_that_is_not_counts(name: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "one.db", pruner=PRUNERS[name])
    verdicts = of(rows, JobsContinued | JobPruned)
    assert of(rows, JobPruned)
    assert any(v.attrs for event in of(rows, JobsContinued) for v in event.verdicts)
    assert not any(event.not_again for event in verdicts)
    assert skipped(rows, pruner=PRUNERS[name]) == []
    assert len(skipped(rows)) == len(verdicts)


def test_a_pruner_derived_from_one_of_optunas_judges_as_that_one_does(tmp_path: Path) -> None:
    own = rows_of(tmp_path / "own.db", pruner=Rungs(min_resource=1))
    optunas = rows_of(tmp_path / "optunas.db", pruner=SuccessiveHalvingPruner(min_resource=1))
    assert of(own, JobPruned) == of(optunas, JobPruned)
    assert of(own, JobsContinued) == of(optunas, JobsContinued)


def test_a_sampler_that_was_altered_is_a_divergence_and_one_that_is_not_the_recorded_one_is_refused(
    tmp_path: Path,
) -> None:
    rows = rows_of(tmp_path / "one.db", Halves(0.1))
    with pytest.raises(
        Usage, match=r"sampler: this tests.optuna_adapter.test_own.Halves holds other values.*side \(recorded"
    ):
        list(check_prefixes(rows, sampler=Halves(0.2)))
    with pytest.raises(Usage, match="the log names its sampler, RandomSampler"):
        list(check_prefixes(rows_of(tmp_path / "two.db"), sampler=Halves()))
    at, row = next((k, row) for k, row in enumerate(rows) if isinstance(row.event, TrialSuggested))
    rows[at] = msgspec.structs.replace(row, event=msgspec.structs.replace(row.event, params={"General/x": 0.5}))
    assert next(c.divergence for c in check_prefixes(rows, sampler=Halves(0.1)) if c.divergence).seq == row.seq


def test_what_needs_no_sampler_is_still_checked_without_it(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "one.db", Halves())
    at = next(k for k, row in enumerate(rows) if isinstance(row.event, TrialSuggested))
    without = rows[:at] + rows[at + 1 :]
    assert next(c.divergence for c in check_prefixes(without) if c.divergence).decided is None
    rows[at] = msgspec.structs.replace(rows[at], cause=rows[at].cause - 1)  # type: ignore[operator]
    assert next(c.divergence for c in check_prefixes(rows) if c.divergence).seq == rows[at].seq


@pytest.mark.parametrize(("sampler", "pruner"), [(Hidden(), None), (None, HiddenPruner())], ids=["sampler", "pruner"])
def test_randomness_outside_of_the_instance_is_found_out_and_said(sampler: Any, pruner: Any, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "one.db", sampler, pruner)
    marked = [row for row in rows if getattr(row.event, "not_again", None)]
    assert {row.event.not_again for row in marked} == {"answers differ"}  # type: ignore[union-attr]
    assert all(describe_event(row.event).endswith("[not again: answers differ]") for row in marked)
    given = {"sampler": sampler} if sampler else {"pruner": pruner}
    assert skipped(rows, **given) == [
        f"tests.optuna_adapter.test_own.{type(sampler or pruner).__name__}: answers differ"
    ] * len(marked)
    assert "not decided again" in decided(tmp_path / "one.db", rows[-1].seq).detail


def test_a_point_of_a_user_and_a_finite_space_go_through_it_too(tmp_path: Path) -> None:
    x = samples.UniformParameterRange(name="General/x", min_value=0.0, max_value=0.7, step_size=0.1)
    rows = rows_of(
        tmp_path / "one.db",
        Halves(),
        inputs=[PointEnqueued(params={"General/x": 0.3})],
        space=(x,),
        total_max_jobs=None,
        num_concurrent_workers=1,
    )
    events = of(rows, TrialSuggested)
    assert len(events) == 8
    assert events[0].source == "user"
    assert any(event.enumerated for event in events)
    assert skipped(rows, sampler=Halves()) == []


# ---------------------------------------------------------------- recorded


def test_a_log_holds_hashes_of_it_and_no_value(tmp_path: Path) -> None:
    class_, side = "tests.optuna_adapter.test_own.Halves", 0.123456
    rows = rows_of(tmp_path / "one.db", Halves(side))
    body = json.loads(codec.encode(rows[0].event))
    sampler = body["search"]["sampler"]
    assert sampler["name"] == class_
    assert sampler["args"] == {}
    assert set(sampler["foreign"]) == {"source", "state", "attributes"}
    assert list(sampler["foreign"]["attributes"]) == ["side"]
    assert str(side) not in codec.encode(rows[0].event)


def test_a_search_with_optunas_own_is_recorded_as_it_always_was(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "one.db")
    bodies = [json.loads(codec.encode(row.event)) for row in rows]
    assert bodies[0]["search"]["sampler"] == {"name": "RandomSampler", "args": {}}
    assert not any("not_again" in body for body in bodies)


def test_what_becomes_of_the_instance_afterwards_is_nothing_to_the_search(tmp_path: Path) -> None:
    mine = Noisy(seed=3)
    asked, own = what(mine)
    mine.asked, mine.side = 99, 7.0
    simulate(tmp_path / "one.db", asked, script, own=own)
    rows = list(read(tmp_path / "one.db").rows)
    assert skipped(rows, sampler=Noisy(seed=3)) == []
    assert own.sampler is not mine
    assert vars(own.sampler)["asked"] == 0


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize("at", [7, 20, 33])
def test_a_search_that_crashed_and_is_resumed_with_it_is_the_undisturbed_one(at: int, tmp_path: Path) -> None:
    def run(path: Path, crashes: Crashes | None = None) -> None:
        asked, own = what(Noisy(), Above(0.6), num_concurrent_workers=1)
        simulate(path, asked, script, own=own, crashes=crashes)

    run(tmp_path / "alone.db")
    child = forked(lambda: run(tmp_path / "crashed.db", Crashes(at)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == CRASHED
    run(tmp_path / "crashed.db")
    alone, crashed = (list(read(tmp_path / name, verify=True).rows) for name in ("alone.db", "crashed.db"))
    assert len(of(crashed, TrialSuggested)) > 5
    for kind in (TrialSuggested, JobPruned):
        assert of(crashed, kind) == of(alone, kind)
    assert skipped(crashed, sampler=Noisy(), pruner=Above(0.6)) == []


# ---------------------------------------------------------------- nobody there


def test_a_controller_without_it_is_refused_at_the_first_question_and_the_log_stays_as_it_was(tmp_path: Path) -> None:
    asked, _ = what(Halves())
    with pytest.raises(Usage, match="nothing that a log names is imported; run the script"):
        simulate(tmp_path / "one.db", asked, script, own=NOTHING)
    with pytest.raises(
        Usage, match=r"the sampler of this search cannot be built from its log: tests.optuna_adapter.test_own.Halves"
    ):
        require_buildable(asked)
    assert of(list(read(tmp_path / "one.db", verify=True).rows), TrialSuggested) == []


def test_a_stop_without_the_pruner_goes_on_and_says_that_it_was_not_asked(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "one.db", pruner=Above(0.6))
    at = next(k for k, row in enumerate(rows) if isinstance(row.event, JobsContinued))
    cut = rows[:at]  # as `salvage` may leave a log: points without their verdicts
    assert next_action(fold(cut)) == Judge()
    with pytest.raises(Usage, match="the pruner of this search cannot be built from its log"):
        decided_by(fold(cut), Judge())
    asked = StopAsked(scope="search", why="a person")
    cut.append(Recorded(cut[-1].seq + 1, 0, 1, None, asked, "0" * 32))
    (event,) = decided_by(fold(cut), Judge())
    assert isinstance(event, JobsContinued)
    assert event.not_again == "not asked"
    cut.append(Recorded(cut[-1].seq + 1, 0, 1, cut[-1].seq, event, "0" * 32))
    assert skipped(cut, pruner=Above(0.6)) == ["tests.optuna_adapter.test_own.Above: not asked"]


# ---------------------------------------------------------------- refused


class Follows(Halves):
    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        pass


class Opens(Halves):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = path.open()


def test_what_would_go_unnoticed_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ComponentRefused, match=r"Follows.after_trial.*which is never called: read finished trials"):
        sampler_of(Follows(), (samples.SCALE,))
    constrained = Derived()
    constrained._constraints_func = lambda trial: (0.0,)
    with pytest.raises(ComponentRefused, match="constraints are told by after_trial"):
        sampler_of(constrained, (samples.SCALE,))
    path = tmp_path / "notes"
    path.touch()
    opened = Opens(path)
    with pytest.raises(Usage, match=r"test_own.Opens cannot be recorded: file: it holds a _io.TextIOWrapper"):
        sampler_of(opened, (samples.SCALE,))
    opened.file.close()


class Meddling(Halves):
    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if trial.number:
            study._storage.set_trial_system_attr(0, "meddled", True)
        return super().sample_independent(study, trial, param_name, param_distribution)


def test_a_sampler_that_writes_on_another_trial_is_told(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"test_own.Meddling wrote meddled on another trial"):
        rows_of(tmp_path / "one.db", Meddling())


def test_a_pruner_that_writes_where_no_verdict_records_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"test_own.Elsewhere wrote elsewhere on the study or on another trial"):
        rows_of(tmp_path / "one.db", pruner=Elsewhere())


def test_optunas_own_are_still_built_from_their_arguments() -> None:
    assert pristine(TPESampler(), MedianPruner()) == NOTHING
    assert not pruner_of(PercentilePruner(25.0)).is_foreign
    assert not sampler_of(RandomSampler(), (samples.SCALE,)).named.is_foreign
    assert describe(Halves()).is_foreign
