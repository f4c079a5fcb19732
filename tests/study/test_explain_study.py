"""`explain` of a study's trial: who suggested what after seeing which trials, and each verdict by the pruner's rule."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.study_events import PointJudged
from eventhpo.log.reader import read
from replay import explain
from replay.explain.collect import of_all, of_rows
from replay.explain.explanation import StudyStep

LOGS = sorted((Path(__file__).parents[2] / "fixtures" / "studies").glob("*.db"))
DECIDED = next(log for log in LOGS if log.stem == "decided")


def words(log: Path, trial: int) -> list[tuple[str, str]]:
    return [(step.word, step.said) for step in explain(log, trial).steps if isinstance(step, StudyStep)]


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_every_verdict_comes_out_as_recorded(log: Path) -> None:
    rows = read(log).rows
    explained = of_all(rows)
    assert all(item.differs == () for item in explained)
    judged = sum(isinstance(row.event, PointJudged) and row.event.prune is not None for row in rows)
    assert sum(item.decisions for item in explained) == judged


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
