"""verify against what lies next to a log, and a history that somebody wrote anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    Event,
    Head,
    JobEnded,
    JobStarted,
    MetricObserved,
    Recorded,
    SearchCreated,
    TrialFinished,
)
from eventhpo.jobs.local.compare_reports import compare
from eventhpo.log import head, paths
from eventhpo.log.chain import row_of
from eventhpo.log.create import write_log
from eventhpo.log.reader import read
from tests.cli.harness import Place, data, invoke
from tests.replay.forging import changed, forged

SHORT = """
import json, os
from eventhpo import job
params = job.connect({"lr": 0.1, "kind": "a"})
for i in range(1, 4):
    job.report_scalar("validation", "accuracy", params["lr"] * i, i)
    job.report_scalar("train", "loss", 1.0 / i, i)
if os.environ["EVENTHPO_TRIAL"] == "2":
    with open(os.environ["EVENTHPO_REPORTS"], "a") as file:
        file.write("no report\\n")
job.report_scalar("validation", "accuracy", float("nan"), 4)
job.report_scalar("validation", "accuracy", params["lr"], 5)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a finished search on real jobs, with its folder of jobs; nobody may change it."""
    place = Place(tmp_path_factory.mktemp("finished"))
    place.script(SHORT)
    place.describe(jobs=3)
    assert place.run("--quiet").returncode == 0
    return place.log


@pytest.fixture
def log(finished: Path, tmp_path: Path) -> Path:
    """A copy of that search which a test may change."""
    folder = tmp_path / "mine"
    shutil.copytree(finished.parent, folder)
    return folder / finished.name


def checks(log: Path, *words: str) -> dict[str, tuple[bool, str]]:
    """Return what `verify` finds, by the name of the check."""
    found = json.loads(invoke("verify", log, "--json", *words).stdout)
    return {check["name"]: (check["ok"], check["detail"]) for check in found["checks"]}


def rewritten(log: Path, seq: int, change: Callable[[Event], Event], *, keys: bool = False) -> None:
    """Change one event of *log* and make chain and head file anew, with *keys* the keys too."""
    rows = read(log).rows
    log.unlink()
    if keys:
        forged(log, rows, seq, change)
    else:
        end, kept = GENESIS, []
        for row in rows:
            event = change(row.event) if row.seq == seq else row.event
            kept.append(row_of(event, end, row.at, row.epoch, row.cause))
            end = Head(kept[-1][0], kept[-1][7])
        write_log(log, kept, max(row.epoch for row in rows))
    rows = read(log, verify=False).rows
    first = rows[0].event
    assert isinstance(first, SearchCreated)
    head.write(log, first.search_id, Head(rows[-1].seq, rows[-1].hash))


def first_of(log: Path, kind: type[Event]) -> Recorded:
    return next(row for row in read(log).rows if isinstance(row.event, kind))


def test_a_whole_search_passes_and_the_points_are_compared(log: Path) -> None:
    result = invoke("verify", log)
    assert result.exit_code == 0, result.output
    assert checks(log)["reports"] == (True, "15 points of 3 attempts, as their files have them")
    assert checks(log)["keys"] == (True, "each of 3 intents names the row before it")


FORGERIES: list[tuple[type[Event], dict[str, object]]] = [
    (SearchCreated, {"fingerprint": {"machine": "another"}}),
    (ControllerStarted, {"host": "another"}),
    (MetricObserved, {"values": (0.999,)}),
    (JobStarted, {"started_at": 1}),
    (JobEnded, {"finished_at": 1}),
    (BudgetUpdated, {"compute_time": 1}),
    (TrialFinished, {"why": "another"}),
]


@pytest.mark.parametrize(("kind", "fields"), FORGERIES, ids=[kind.__name__ for kind, _ in FORGERIES])
def test_a_history_that_was_rewritten_with_chain_and_head_is_found_by_the_keys(
    log: Path, kind: type[Event], fields: dict[str, object]
) -> None:
    row = first_of(log, kind)
    if isinstance(row.event, MetricObserved):
        fields = {"values": (0.999,) * len(row.event.values)}
    rewritten(log, row.seq, lambda event: changed(event, **fields))
    result = invoke("verify", log)
    assert result.exit_code == 3, result.output
    assert not checks(log)["keys"][0]
    for words in (("status",), ("top",), ("resume",), ("enqueue", "General/lr=0.1")):
        result = invoke(words[0], log, *words[1:])
        assert result.exit_code == 3, result.output
        assert "rewritten" in result.output


def test_a_history_that_was_rewritten_with_the_keys_too_is_found_by_the_job_folders(log: Path) -> None:
    row = first_of(log, ControllerStarted)
    rewritten(log, row.seq, lambda event: changed(event, host="another"), keys=True)
    assert invoke("verify", log).exit_code == 3
    assert not checks(log)["jobs"][0]


def test_a_point_after_the_last_intent_is_found_by_the_report_files(log: Path) -> None:
    row = next(row for row in reversed(read(log).rows) if isinstance(row.event, MetricObserved))
    assert isinstance(row.event, MetricObserved)
    values = (0.999, *row.event.values[1:])
    rewritten(log, row.seq, lambda event: changed(event, values=values))
    result = invoke("verify", log)
    assert result.exit_code == 1, result.output
    ok, detail = checks(log)["reports"]
    assert not ok
    assert f"seq {row.seq}" in detail
    assert result.stdout.splitlines()[-1].startswith("verdict   failed")


@pytest.mark.parametrize("drop", [0, -1])
def test_a_point_that_was_left_out_of_the_log_is_found_by_the_report_files(log: Path, drop: int) -> None:
    """Whoever makes all rows fit that, verdicts and budget too, still has the report files against him."""
    rows = read(log).rows
    row = next(row for row in rows if isinstance(row.event, MetricObserved) and not row.event.bad)
    assert isinstance(row.event, MetricObserved)
    kept = [i for i in range(len(row.event.values)) if i != drop % len(row.event.values)]
    event = msgspec.structs.replace(
        row.event,
        values=tuple(row.event.values[i] for i in kept),
        iterations=tuple(row.event.iterations[i] for i in kept),
    )
    assert compare(rows, paths.jobs(log)).wrong is None
    rows[row.seq - 1] = msgspec.structs.replace(row, event=event)
    assert compare(rows, paths.jobs(log)).wrong is not None


def test_the_verdict_says_what_was_not_checked(log: Path) -> None:
    found = data("verify", log)
    assert [what.split(":")[0] for what in found["unchecked"]] == ["expected", "decisions"]
    end = found["head"]
    asked = data("verify", log, "--decide", "--head", f"{end['seq']}:{end['hash']}")
    assert asked["unchecked"] == []

    shutil.rmtree(paths.jobs(log))
    paths.head(log).unlink()
    found = data("verify", log)
    assert [what.split(":")[0] for what in found["unchecked"]] == ["points", "tail", "expected", "decisions"]
    assert "reports" not in checks(log)
    lines = invoke("verify", log).stdout.splitlines()
    assert [line.split()[0] for line in lines[-5:]] == ["unchecked"] * 4 + ["verdict"]


@pytest.mark.parametrize("cut", [True, False])
def test_a_report_file_that_is_gone_or_shorter_than_what_was_read_is_said_not_to_be_compared(
    log: Path, cut: bool
) -> None:
    file = next(iter(sorted(paths.jobs(log).glob("*/reports.jsonl"))))
    if cut:
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.unlink()
    found = data("verify", log)
    assert found["unchecked"][0].startswith("points of 1 attempt: the report file ")
    assert checks(log)["reports"] == (True, "10 points of 2 attempts, as their files have them")


def test_a_bare_copy_is_a_finding_for_verify_and_no_truth_for_those_who_read(log: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(log)
    assert db.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    db.close()
    bare = tmp_path / "bare" / "search.db"
    bare.parent.mkdir()
    shutil.copy(log, bare)

    result = invoke("verify", bare)
    assert result.exit_code == 1, result.output
    assert result.stdout.splitlines()[-1].startswith("verdict   failed")
    for words in (("status",), ("top",), ("events",)):
        result = invoke(words[0], bare, *words[1:])
        assert result.exit_code == 1, result.output
        assert "may be a copy that lacks its last rows" in result.stderr
    for words in (("resume",), ("stop",), ("enqueue", "General/lr=0.1"), ("seal",), ("backup", tmp_path / "copy.db")):
        result = invoke(words[0], bare, *words[1:])
        assert result.exit_code == 2, result.output
        assert "may be a copy that lacks its last rows" in result.stderr
    assert [one.name for one in bare.parent.iterdir()] == ["search.db"]
