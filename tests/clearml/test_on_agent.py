"""A controller on an agent: its folder is thrown away, and its log goes on from the optimizer task's artifact."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.events import JobCreated, TrialFinished
from eventhpo.core.fold.evolve import fold
from eventhpo.hpo_controller.delivered import NAME
from eventhpo.log import reader
from eventhpo.optimizer import log_artifact
from eventhpo.optimizer.task_claim import EPOCH, HOLDER
from tests.clearml.users import Place, Program
from tests.waiting import eventually

SCRIPT = str(Path(__file__).parent / "scripts" / "on_agent.py")
JOBS = 5
pytestmark = pytest.mark.usefixtures("place")


def run(place: Place, folder: Path, task: str | None = None, *own: str, jobs: int = JOBS) -> Program:
    """Start the controller in a new *folder*, as an agent does if *task* is given."""
    folder.mkdir()
    remote: dict[str, str | None] = (
        {}
        if task is None
        else {
            "CLEARML_TASK_ID": task,
            "TRAINS_TASK_ID": task,
            "CLEARML_LOG_TASK_TO_BACKEND": "0",
        }
    )
    return Program([SCRIPT, place.base, place.queue, str(jobs), *own], folder, place.server, **remote)


def artifact(place: Place, task: str) -> dict[str, Any] | None:
    """Return the artifact of the log as the server has it."""
    found = [a for a in place.server.state.tasks[task]["execution"]["artifacts"] if a["key"] == log_artifact.NAME]
    return found[0] if found else None


def copy_of(place: Place, task: str, target: Path) -> Path:
    """Write the newest copy of the log that the server has to *target*."""
    document = artifact(place, task)
    assert document is not None
    path = re.sub(r"^https?://[^/]+/", "", document["uri"])
    content = place.server.state.get_file(path)
    assert content is not None
    target.write_bytes(io.BytesIO(content).read())
    return target


def optimizer_task(place: Place) -> str:
    (task,) = [t for t in place.server.state.tasks.values() if t["type"] == "optimizer"]
    return str(task["id"])


def finished(place: Place, task: str, folder: Path) -> int:
    """Return how many trials the newest copy at the server has finished; 0 before there is one."""
    if artifact(place, task) is None:
        return 0
    rows = reader.read(copy_of(place, task, folder / "look.db")).rows
    return sum(isinstance(row.event, TrialFinished) for row in rows)


@pytest.mark.parametrize(
    ("after", "own"),
    [(0, ("own",)), (1, ()), (2, ("own",)), (3, ()), (4, ("own",))],
    ids=["before a trial, ours", "1, ClearML's", "2, ours", "3, ClearML's", "4, ours"],
)
def test_a_controller_that_lost_its_folder_goes_on_with_the_same_search(
    place: Place, tmp_path: Path, after: int, own: tuple[str, ...]
) -> None:
    first = run(place, tmp_path / "first", None, *own)
    eventually(lambda: any(t["type"] == "optimizer" for t in place.server.state.tasks.values()), "the optimizer task")
    task = optimizer_task(place)
    first.killed_when(lambda: artifact(place, task) is not None and finished(place, task, tmp_path) >= after)
    second = run(place, tmp_path / "second", task, *own)
    code, out, err = second.ended()
    assert code == 0, out + err
    assert f"it was fetched from the task's artifact {log_artifact.NAME}" in out + err
    log = tmp_path / "second" / f"{task}.db"
    rows = reader.read(log).rows
    state = fold(rows)
    assert state.finished is not None
    assert len(state.trials) == JOBS
    assert state.epoch == 2
    jobs = [t for t in place.server.state.tasks.values() if t.get("parent") == task]
    assert len(jobs) == JOBS  # none was made twice, none forgotten
    assert all(sum(isinstance(r.event, JobCreated) and r.event.trial == n for r in rows) <= 1 for n in range(JOBS))
    place.log = log
    place.walked()
    assert finished(place, task, tmp_path) == JOBS  # the copy at the end is the whole log


def delivered(place: Place, task: str) -> set[str]:
    """Return the jobs that were called back, as the server's copy of the list has them."""
    found = [a for a in place.server.state.tasks[task]["execution"]["artifacts"] if a["key"] == NAME]
    if not found:
        return set()
    content = place.server.state.get_file(re.sub(r"^https?://[^/]+/", "", found[0]["uri"]))
    assert content is not None
    return set(re.findall(r"^called (\S+)$", content.decode(), re.M))


def test_what_was_called_back_is_not_called_back_again_in_a_new_folder(place: Place, tmp_path: Path) -> None:
    first = run(place, tmp_path / "first", None, "own")
    eventually(lambda: any(t["type"] == "optimizer" for t in place.server.state.tasks.values()), "the optimizer task")
    task = optimizer_task(place)
    first.killed_when(lambda: artifact(place, task) is not None and len(delivered(place, task)) >= 2)
    known = delivered(place, task)
    code, out, err = run(place, tmp_path / "second", task, "own").ended()
    assert code == 0, out + err
    called = re.findall(r"^callback (\S+)$", out, re.M)
    assert known.isdisjoint(called)
    assert len(called) == len(set(called))
    assert known | {*called} == {child["id"] for child in children(place, task)}
    assert delivered(place, task) == known | {*called}


def children(place: Place, task: str) -> list[dict[str, Any]]:
    return [each for each in place.server.state.tasks.values() if each.get("parent") == task]


MANY = 400  # jobs: far more than are made before the other one comes


@pytest.mark.parametrize("how", ["another controller", "an abort"])
def test_a_controller_whose_task_is_anothers_or_was_ended_makes_no_job_more(
    place: Place, tmp_path: Path, how: str
) -> None:
    program = run(place, tmp_path / "first", None, "own", jobs=MANY)
    eventually(lambda: any(t["type"] == "optimizer" for t in place.server.state.tasks.values()), "the optimizer task")
    task = optimizer_task(place)
    eventually(lambda: len(children(place, task)) >= 3, "some jobs")
    if how == "an abort":
        place.server.call("tasks.stop", task=task, force=True)
    else:
        runtime = {**place.server.state.tasks[task]["runtime"], EPOCH: "99", HOLDER: "another"}
        place.server.call("tasks.edit", task=task, force=True, runtime=runtime)
    made = len(children(place, task))
    _, out, err = program.ended()
    assert ("another controller has task" if how == "another controller" else "this controller ends") in out + err
    assert len(children(place, task)) <= made + 1  # one may have been on its way
    log = next((tmp_path / "first").glob("*.db"))
    place.log = log
    assert fold(reader.read(log).rows).finished is None


def test_the_epoch_rises_with_each_controller_of_the_task(place: Place, tmp_path: Path) -> None:
    epochs, holders = [], []
    task: str | None = None
    for name in ("first", "second"):
        assert run(place, tmp_path / name, task, "own").ended()[0] == 0
        task = optimizer_task(place)
        runtime = place.server.state.tasks[task]["runtime"]
        epochs.append(int(runtime[EPOCH]))
        holders.append(runtime[HOLDER])
    assert epochs == sorted(set(epochs))
    assert len(set(holders)) == 2


def test_a_clone_of_the_controller_is_a_new_search(place: Place, tmp_path: Path) -> None:
    first = run(place, tmp_path / "first")
    code, out, err = first.ended()
    assert code == 0, out + err
    task = optimizer_task(place)
    clone = place.server.call("tasks.clone", task=task)["id"]
    second = run(place, tmp_path / "second", clone)
    code, out, err = second.ended()
    assert code == 0, out + err
    assert "was fetched" not in out + err
    assert (tmp_path / "second" / f"{clone}.db").exists()
    assert len([t for t in place.server.state.tasks.values() if t.get("parent") == clone]) == JOBS


def test_a_damaged_copy_is_not_taken_up(place: Place, tmp_path: Path) -> None:
    first = run(place, tmp_path / "first")
    assert first.ended()[0] == 0
    task = optimizer_task(place)
    document = artifact(place, task)
    assert document is not None
    path = re.sub(r"^https?://[^/]+/", "", document["uri"])
    content = place.server.state.get_file(path)
    assert content is not None
    place.server.state.put_file(path, content[: len(content) // 2])
    second = run(place, tmp_path / "second", task)
    code, out, err = second.ended()
    assert not list((tmp_path / "second").glob("*.db"))
    assert f"artifact {log_artifact.NAME} of task {task} is damaged" in out + err or code != 0


def test_an_upload_that_fails_ends_no_search(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Task:
        uploads = 0

        def __init__(self) -> None:
            self.id = place.server.make_task("optimizer")

        def upload_artifact(self, *_: Any, **__: Any) -> bool:
            self.uploads += 1
            raise OSError("the file server is away")

    task = Task()
    optimizer = place.optimizer(upload_every=0.001)
    optimizer.set_optimizer_task(task)
    monkeypatch.setattr(log_artifact.LogArtifact, "fetch", lambda _: False)
    optimizer.start()
    assert place.states() == ["completed"] * 4
    assert task.uploads >= 1


def test_on_this_machine_nothing_is_uploaded_unless_it_is_asked_for(place: Place) -> None:
    class Task:
        id = "t"
        running_locally: Callable[[], bool] = staticmethod(lambda: True)  # type: ignore[assignment]

        def upload_artifact(self, *_: Any, **__: Any) -> bool:
            raise AssertionError("nobody asked for an upload")

    optimizer = place.optimizer()
    optimizer.set_optimizer_task(Task())
    optimizer.start()
    assert place.states() == ["completed"] * 4


@pytest.mark.parametrize("value", [0, -1, "often", True])
def test_a_period_that_is_none_is_refused(place: Place, value: object) -> None:
    with pytest.raises(Exception, match="upload_every is"):
        place.optimizer(upload_every=value)
