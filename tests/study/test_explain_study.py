"""`explain` of a study's trial: who suggested what after seeing which trials, and each verdict by the pruner's rule."""

from __future__ import annotations

from pathlib import Path

import msgspec
import optuna
import pytest

import eventhpo
from eventhpo.core.fold.study_events import ParameterSuggested, PointJudged
from eventhpo.log.reader import read
from replay import explain
from replay.decide.check_study import check_study
from replay.decide.checked import WHOLE
from replay.explain.collect import of_all, of_rows
from replay.explain.explanation import StudyStep
from tests.cli.harness import data, invoke
from tests.study.scripts import run

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "studies").glob("*.db"))
DECIDED = next(log for log in LOGS if log.stem == "decided")


def words(log: Path, trial: int) -> list[tuple[str, str]]:
    return [(step.word, step.said) for step in explain(log, trial).steps if isinstance(step, StudyStep)]


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_every_verdict_comes_out_as_recorded(log: Path) -> None:
    rows = read(log).rows
    explained = of_all(rows)
    assert all(item.differs == () for item in explained)
    asked = sum(check.skipped is None for check in check_study(rows, None, None, WHOLE))
    assert sum(item.decisions for item in explained) == asked
    judged = sum(isinstance(row.event, PointJudged) and row.event.prune is not None for row in rows)
    assert judged <= asked


def test_a_verdict_that_the_rule_does_not_give_is_seen() -> None:
    """Negative control."""
    rows = list(read(DECIDED).rows)
    index = next(n for n, row in enumerate(rows) if isinstance(row.event, PointJudged) and row.event.prune)
    forged = msgspec.structs.replace(rows[index].event, prune=False)
    rows[index] = msgspec.structs.replace(rows[index], event=forged)
    assert of_rows(rows, forged.trial).differs == (rows[index].seq,)  # type: ignore[union-attr]


def test_a_lost_attempt_a_late_call_and_an_enqueued_value_are_told() -> None:
    lost = [word for trial in range(6) for word, _ in words(DECIDED, trial)]
    assert {"lost", "late", "asked", "suggested", "judged", "told"} <= set(lost)
    assert any("as it was enqueued" in said for _, said in words(DECIDED, 0))


def test_what_a_storage_alone_does_not_know_is_said_so() -> None:
    log = next(log for log in LOGS if log.stem == "of_storage")
    assert any("a sampler that the log does not know" in said for _, said in words(log, 1))


def test_the_sampler_and_the_pruner_are_asked_again() -> None:
    for trial in range(24):
        explained = explain(DECIDED, trial)
        assert explained.differs == ()
        suggested = [s for s in explained.steps if isinstance(s, StudyStep) and s.word == "suggested"]
        by_sampler = [s for s in suggested if "as it was enqueued" not in s.said and "the one value" not in s.said]
        assert all(s.said.endswith("asked again: the same") for s in by_sampler if "alone" in s.said)


def test_a_suggestion_that_the_sampler_does_not_give_is_seen() -> None:
    """Negative control."""
    rows = list(read(DECIDED).rows)
    for index, row in enumerate(rows):
        event = row.event
        if isinstance(event, ParameterSuggested) and event.source == "independent" and event.parameter is not None:
            forged = msgspec.structs.replace(event.parameter, value=0.125, internal=0.125)
            rows[index] = msgspec.structs.replace(row, event=msgspec.structs.replace(event, parameter=forged))
            explained = of_rows(rows, event.trial)
            assert row.seq in explained.differs
            (step,) = [s for s in explained.steps if s.seq == row.seq]
            assert step.differs is not None
            assert step.differs.startswith(f"asked again, the answer is {event.parameter.name}=")
            return
    raise AssertionError("no suggestion was forged")


def test_a_study_that_nobody_runs_is_idle_and_ended_well(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    study = eventhpo.create_study(log, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    assert data("status", log)["state"] == "running"
    study.close()
    assert data("status", log)["state"] == "idle"
    report = invoke("postmortem", log).stdout
    assert "no trial runs, and a study has no end of its own" in report
    assert "just stops" not in report
    assert "left no trial running" in report
    assert "improving   last with trial" in report
    assert "next        ask for trial 5" in report


def test_a_study_that_was_killed_in_a_trial_says_so_and_what_comes_next(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    run(log, sampler="random", kill_at=16)
    assert data("status", log)["state"] == "interrupted"
    report = invoke("postmortem", log).stdout
    assert "just stops" in report
    cut_off = sum(type(row.event).__name__ == "TrialAsked" for row in read(log).rows) - 1
    assert f"next        ask for trial {cut_off} again, with the parameters that it has" in report
