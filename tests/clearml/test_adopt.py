"""A log that lost its tail: refused, or its jobs are taken up again; and two copies, of which one goes on."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from eventhpo.cli.read.log_checks import adoptions, verified
from eventhpo.core.fold.events import JobAdopted, JobCreated, JobEnded, PointEnqueued, TasksLeft
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.job_key import AttemptKey, read_key
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    ParameterChoice,
    ParameterSet,
    Search,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.errors import DamagedLog
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.log import paths
from eventhpo.log.backup import backup
from eventhpo.log.create import write_log
from eventhpo.log.salvage import salvage
from replay.decide.check_prefixes import check_prefixes
from tests.clearml.harness import (
    METRIC,
    Hours,
    base_task,
    begin,
    falling,
    launches,
    of,
    our_tasks,
    outcomes,
    rows,
    run,
    unhurried,
)
from tests.clearml.test_launch import Late, NoSweep
from tests.clearml_server import ClearmlServer, Script
from tests.clearml_server.state import Document
from tests.clearml_server.state import State as Stored

NAME = (METRIC.title, METRIC.series)
Play = Callable[[Document], Script | None]


# ---------------------------------------------------------------- logs that are cut


def cut(path: Path, seq: int, to: Path) -> Path:
    """A copy of the log at *path* that ends behind row *seq*, as a backup of then would."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        asked = "SELECT seq, at, epoch, cause, type, v, body, hash FROM event WHERE seq <= ? ORDER BY seq"
        found = db.execute(asked, [seq]).fetchall()
    write_log(to, found, found[-1][2])
    return to


class Kept:
    """The server as it was, to be gone back to."""

    def __init__(self, server: ClearmlServer) -> None:
        self._server, self._state = server, server.state.to_json()

    def back(self) -> None:
        self._server.api.state = Stored.from_json(self._state)
        self._server.requests.clear()
        if self._server.scripted is not None:
            self._server.scripted.jobs.clear()


def told(state: State) -> list[tuple[str, tuple[Any, ...] | None]]:
    return [(t.finished.state, t.finished.values) for t in state.trials if t.finished is not None]


def agrees(path: Path) -> None:
    """Today's code comes to every decision of the log again, from its adoptions on too."""
    assert [c.divergence for c in check_prefixes(rows(path)) if c.divergence] == []


def lr(task: Mapping[str, Any]) -> float:
    return float(task["hyperparams"]["General"]["lr"]["value"])


def pruned_some(task: Document) -> Script:
    """One in two goes too high at its second point, and is pruned there."""
    high = lr(task) > 0.5
    return Script.curve(*NAME, [0.5, 2.0 if high else 0.25, 0.125], end=None if high else "completed")


def fails_first(task: Document) -> Script:
    """Each trial fails once, and its second attempt goes on behind its first point."""
    if any(tag.endswith(".0") for tag in task["tags"]):
        return Script.curve(*NAME, [0.5, 0.25], end="failed")
    return Script([(1, "eventhpo", "resume_from", 1.0), (2, *NAME, 0.25), (3, *NAME, lr(task))])


def overruns(task: Document) -> Script:
    return Script.curve(*NAME, [lr(task) + 1 / i for i in range(1, 9)], end=None)


THRESHOLD = ComponentConfig("ThresholdPruner", {"upper": 1.0})
SEARCHES: dict[str, tuple[Play | None, dict[str, Any]]] = {
    "completed": (None, {}),
    "pruned": (pruned_some, {"pruner": THRESHOLD}),
    "failed and retried": (fails_first, {"total_max_jobs": 6}),
    "limited": (overruns, {}),
    "one after the other": (None, {"workers": 1, "total_max_jobs": 3}),
    "by TPE and the median": (None, {"sampler": ComponentConfig("TPESampler", {"n_startup_trials": 2}),
                                     "pruner": ComponentConfig("MedianPruner", {"n_startup_trials": 1})}),
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHES)
def test_a_log_cut_at_any_row_is_refused_or_goes_on_and_nothing_is_lost_or_runs_twice(
    server: ClearmlServer, tmp_path: Path, name: str
) -> None:
    play, changes = SEARCHES[name]
    server.script(play or falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server), **changes))
    first = told(run(whole, clock=Hours(server)))
    end, kept, made = len(rows(whole)), Kept(server), our_tasks(server)
    attempts = {key(task) for task in made}
    for seq in range(1, end):
        kept.back()
        path = cut(whole, seq, tmp_path / f"{seq}.db")
        known = {e.key for e in of(path, JobCreated)}
        lost = [task for task in made if key(task) not in known]
        if lost:
            with pytest.raises(DamagedLog, match="lost its tail") as refused:
                run(path, clock=Hours(server))
            assert refused.value.code == 3
            assert len(rows(path)) == seq, "it is left as it was"
        state = run(path, ClearmlChoice(adopt=True), clock=Hours(server))
        assert state.finished is not None, seq
        assert [e.job_id for e in of(path, JobAdopted)] == [t["id"] for t in sorted(lost, key=numbers)], seq
        if name == "by TPE and the median":  # which judges by what it knows of the others, and that is lost
            assert all(a == b or a[0] == "aborted" for a, b in zip(told(state), first, strict=False)), seq
        else:
            assert told(state)[: len(first)] == first, seq
        ran_once(server, {t["id"] for t in made})
        assert {key(task) for task in our_tasks(server)} >= attempts
        agrees(path)


def key(task: Mapping[str, Any]) -> str:
    return next(str(tag) for tag in task["tags"] if tag.count(":") == 3)


def numbers(task: Mapping[str, Any]) -> list[int]:
    return [int(n) for n in key(task).rpartition(":")[2].split(".")]


def ran_once(server: ClearmlServer, before: set[str]) -> None:
    """No task was put into a queue that had been in one, no attempt has two tasks."""
    queued = Counter(r.body["task"] for r in server.requests.kept if r.endpoint == "tasks.enqueue")
    assert set(queued.values()) <= {1}
    assert not before & set(queued)
    assert max(Counter(map(key, our_tasks(server))).values()) == 1


def test_jobs_that_run_wait_or_are_drafts_are_taken_up_and_go_on(server: ClearmlServer, tmp_path: Path) -> None:
    """A run that was left in the middle, with a task of each kind."""
    server.script(falling(server, 3), slots=1)
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server), 3))
    fault = server.fail(lambda r: r.endpoint == "tasks.enqueue" and len(enqueued(server)) == 2, "reset", times=None)
    clock = Hours(server, then=lambda waits: clock.stop() if waits == 2 else None)
    run(whole, clock=clock)
    assert sorted(task["status"] for task in our_tasks(server)) == ["created", "in_progress", "queued"]
    server.heal()
    assert fault.hits
    kept, made = Kept(server), our_tasks(server)
    for seq in range(1, len(rows(whole))):
        kept.back()
        path = cut(whole, seq, tmp_path / f"{seq}.db")
        for task in our_tasks(server):
            if task["status"] == "in_progress":
                server.scripted.jobs[task["id"]] = running(falling(server, 3)(task))  # type: ignore[union-attr]
        state = run(path, ClearmlChoice(adopt=True), clock=Hours(server))
        assert [s for s, _ in told(state)] == ["completed"] * 4, seq
        ran_once(server, {t["id"] for t in made if t["status"] != "created"})
        assert {t["id"] for t in made} <= {t["id"] for t in our_tasks(server)}
        agrees(path)


def enqueued(server: ClearmlServer) -> list[Any]:
    return [task for task in our_tasks(server) if task["status"] != "created"]


def running(script: Script) -> Any:
    from tests.clearml_server.scripted import Running

    return Running(script)


# ---------------------------------------------------------------- what is refused


def test_the_refusal_says_what_was_lost_and_the_next_step(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server)))
    run(whole, clock=Hours(server))
    path = cut(whole, 2, tmp_path / "cut.db")
    with pytest.raises(DamagedLog) as refused:
        run(path)
    said = str(refused.value)
    assert "it ends at event 2" in said
    assert f"task {our_tasks(server)[0]['id']} (trial 0, attempt 0)".removeprefix("task ") in said
    assert "--adopt (adopt=True)" in said


def test_what_is_left_beside_a_head_file_that_knows_better_goes_on_as_a_copy(
    server: ClearmlServer, tmp_path: Path
) -> None:
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server)))
    run(whole, clock=Hours(server))
    path, saved = cut(whole, 20, tmp_path / "cut.db"), tmp_path / "saved.db"
    shutil.copy(paths.head(whole), paths.head(path))
    with pytest.raises(DamagedLog, match=re.escape(f"eventhpo salvage {path} TARGET")):
        run(path, ClearmlChoice(adopt=True))
    assert "lost its tail" in str(salvage(path, saved).why)
    state = run(saved, ClearmlChoice(adopt=True), clock=Hours(server))
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4
    assert len(our_tasks(server)) == 4


def forked(server: ClearmlServer, tmp_path: Path) -> tuple[Path, list[Document]]:
    """Return a log of which another copy went on too, and the tasks of that copy."""
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server), 1))
    other = cut(whole, 1, tmp_path / "other.db")
    clock = Hours(server, then=lambda waits: clock.stop() if waits == 2 else None)
    run(other, clock=clock, pid=2)
    kept = our_tasks(server)
    for task in kept:
        server.state.tasks.pop(task["id"])
    run(whole, clock=Hours(server))
    server.state.tasks.update({task["id"]: task for task in kept})
    return whole, kept


def test_a_fork_is_refused_with_a_way_out(server: ClearmlServer, tmp_path: Path) -> None:
    whole, theirs = forked(server, tmp_path)
    before = rows(whole)
    with pytest.raises(DamagedLog, match=r"fork.*resume this one with --adopt \(adopt=True\)") as refused:
        run(whole)
    assert theirs[0]["id"] in str(refused.value)
    assert refused.value.code == 3
    assert rows(whole) == before


@pytest.mark.parametrize("over", [True, False])
def test_the_copy_that_is_to_go_on_leaves_the_tasks_of_the_other_and_is_never_asked_again(
    server: ClearmlServer, tmp_path: Path, over: bool
) -> None:
    whole, theirs = forked(server, tmp_path)
    before = {task["id"]: dict(server.state.tasks[task["id"]]) for task in theirs}
    if not over:
        whole = cut(whole, len(rows(whole)) - 6, tmp_path / "unfinished.db")
    run(whole, ClearmlChoice(adopt=True), clock=Hours(server))
    [note] = of(whole, TasksLeft)
    assert sorted(note.job_ids) == sorted(before)
    assert fold(rows(whole)).left == set(note.keys)
    assert {i: server.state.tasks[i] for i in before} == before, "they stay as they are"
    state = run(whole, clock=Hours(server))
    assert state.finished is not None
    assert not before.keys() & {a.job_id for t in state.trials for a in t.attempts}
    agrees(whole)
    assert any("are its tasks, and not counted here" in note for note in adoptions(rows(whole)))


def test_a_log_with_fewer_rows_than_its_fork_is_no_lost_tail(server: ClearmlServer, tmp_path: Path) -> None:
    """The other copy's keys name rows behind the end of this one; its first trial is another one's number."""
    whole, theirs = forked(server, tmp_path)
    short = cut(whole, 8, tmp_path / "short.db")
    for task in theirs[1:]:
        server.state.tasks.pop(task["id"])
    first = server.state.tasks[theirs[0]["id"]]
    [old] = [tag for tag in first["tags"] if read_key(tag)]
    far = re.sub(r":\d+-", ":4000-", old)
    first["tags"] = [far if tag == old else tag for tag in first["tags"]]
    for task in our_tasks(server):
        if task["id"] != first["id"] and task["id"] not in {a.job_id for a in _attempts(short)}:
            server.state.tasks.pop(task["id"])
    with pytest.raises(DamagedLog, match="this log is a fork"):
        run(short)


def _attempts(path: Path) -> list[Attempt]:
    return [a for t in fold(rows(path)).trials for a in t.attempts]


# ---------------------------------------------------------------- two controllers


@pytest.mark.parametrize("end", ["completed", None])
def test_two_controllers_on_copies_notice_each_other_before_a_second_job_runs(
    server: ClearmlServer, tmp_path: Path, end: str | None
) -> None:
    """The copy is made while both jobs run. One controller goes on, the other one ends before it launches anything."""
    server.script(falling(server, 4, end=end))
    ours, copy = tmp_path / "ours.db", tmp_path / "copy.db"
    begin(ours, unhurried(base_task(server), 2, total_max_jobs=6))
    ran: list[State] = []

    def meanwhile(waits: int) -> None:
        if waits == 1:
            backup(ours, copy)
            other = Hours(server, then=lambda n: other.stop() if n == 6 else None)
            ran.append(run(copy, clock=other, pid=2))

    with pytest.raises(DamagedLog, match="another controller works on a copy of this log") as refused:
        run(ours, clock=Hours(server, then=meanwhile), pid=1)
    assert refused.value.code == 3
    theirs = {a.job_id for t in ran[0].trials for a in t.attempts}
    mine = {a.job_id for t in fold(rows(ours)).trials for a in t.attempts if a.job_id is not None}
    assert len(theirs) > 2, "the other copy went on"
    assert set(launches(server)) <= theirs, "nothing of this one was launched once the other had made a task"
    assert all(server.state.tasks[task]["status"] == "created" for task in mine - theirs)
    agrees(ours)

    with pytest.raises(DamagedLog, match="fork"):
        run(ours)
    server.script(falling(server, 3))
    server.scripted.jobs.clear()  # type: ignore[union-attr]
    for task in our_tasks(server):
        if task["status"] == "in_progress":
            server.user.abort(task["id"])
            server.call("tasks.stopped", task=task["id"], force=True)
    state = run(ours, ClearmlChoice(adopt=True), clock=Hours(server))
    assert state.finished is not None
    agrees(ours)


def test_a_controller_that_makes_nothing_notices_within_five_minutes(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server, 1, end=None))
    path = tmp_path / "ours.db"
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2))
    at: dict[str, float] = {}

    def meanwhile(waits: int) -> None:
        at["now"] = server.clock.now().timestamp()
        if waits == 4:
            at["made"] = at["now"]
            foreign = "eventhpo:abababababab:17-89abcdef:0.1"
            server.make_task("other", tags=["eventhpo:abababababab", foreign, "optimization"])

    with pytest.raises(DamagedLog, match=r"it made task [0-9a-f]{32} \(trial 0, attempt 1\)"):
        run(path, clock=Hours(server, then=meanwhile))
    assert at["now"] - at["made"] < 300 + 2 * 120


def test_a_job_that_another_controller_stopped_ends_this_one(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server, 1, end=None))
    path = tmp_path / "ours.db"
    begin(path, unhurried(base_task(server), 1, total_max_jobs=2))

    def meanwhile(waits: int) -> None:
        if waits == 3:
            [task] = our_tasks(server)
            server.call("tasks.stopped", task=task["id"], status_reason="eventhpo", status_message="pruned 1")

    with pytest.raises(DamagedLog, match=r"it stopped task [0-9a-f]{32}"):
        run(path, clock=Hours(server, then=meanwhile))
    assert of(path, JobEnded) == []


def test_tasks_that_people_make_of_ours_are_no_rivals(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server))
    path = tmp_path / "ours.db"
    begin(path, unhurried(base_task(server), 1, total_max_jobs=4))

    def meanwhile(waits: int) -> None:
        for task in our_tasks(server)[:1]:
            server.call("tasks.clone", task=task["id"], new_task_name=f"mine {waits}")

    state = run(path, clock=Hours(server, then=meanwhile))
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4


def test_tasks_of_another_search_are_nobodys_loss(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    run(path, clock=Hours(server))
    task = our_tasks(server)[0]
    server.user.tag(task["id"], [key(task).replace("abababababab", "cdcdcdcdcdcd"), "eventhpo:cdcdcdcdcdcd"])
    run(path, clock=Hours(server))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (
            "eventhpo:abababababab:17-89abcdef:3.1",
            AttemptKey("eventhpo:abababababab:17-89abcdef:3.1", "eventhpo:abababababab", 17, "89abcdef", 3, 1),
        ),
        ("eventhpo:cdcdcdcdcdcd:17-89abcdef:3.1", None),
        ("eventhpo:abababababab", None),
        ("eventhpo:abababababab:17-89abcdef:3.1 ", None),
        ("optimization", None),
    ],
)
def test_a_tag_is_a_key_of_this_search_or_none(tag: str, expected: AttemptKey | None) -> None:
    assert read_key(tag, "eventhpo:abababababab") == expected


# ---------------------------------------------------------------- which task it is


def test_of_two_clones_the_one_that_ran_is_taken_and_the_other_deleted(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server)))
    late = Late(server)
    run(whole, clock=Hours(server), wrap=NoSweep.of)
    assert late.task is not None
    made = [t["id"] for t in our_tasks(server) if t["id"] != late.task["id"]]
    path = cut(whole, 2, tmp_path / "cut.db")
    server.requests.clear()
    state = run(path, ClearmlChoice(adopt=True), clock=Hours(server))
    assert sorted(e.job_id for e in of(path, JobAdopted)) == sorted(made)
    assert late.task["id"] not in server.state.tasks
    assert [s for s, _ in told(state)] == ["completed"] * 4
    ran_once(server, set(made))


def test_a_copy_that_somebody_made_and_ran_is_not_taken_for_the_job(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server)))
    run(whole, clock=Hours(server))
    made = our_tasks(server)
    copy = server.call("tasks.clone", task=made[0]["id"], new_task_name="Clone of it")["id"]
    server.call("tasks.enqueue", task=copy, queue=server.queue("default"))
    server.advance(5)
    path = cut(whole, 2, tmp_path / "cut.db")
    run(path, ClearmlChoice(adopt=True), clock=Hours(server))
    assert copy not in {e.job_id for e in of(path, JobAdopted)}
    assert server.task(copy)["status"] == "completed"


def test_parameters_are_taken_up_in_the_types_of_the_space(server: ClearmlServer, tmp_path: Path) -> None:
    defaults = {"x": 0.0, "n": 0, "flag": "text", "kind": "one", "a": 0, "b": 0}
    base = server.make_task("base", hyperparams={"General": defaults})
    sets = (
        ParameterChoice(values={"General/kind": "one", "General/a": None}),
        ParameterChoice(
            values={"General/kind": 2},
            ranges=(UniformIntegerParameterRange(name="General/b", min_value=1, max_value=9),),
        ),
    )
    space = (
        UniformParameterRange(name="General/x", min_value=0.0, max_value=1.0),
        UniformIntegerParameterRange(name="General/n", min_value=1, max_value=99),
        DiscreteParameterRange(name="General/flag", values=(True, False, "", None, 0.5, "text")),
        ParameterSet(name="choice", sets=sets),
    )
    server.script(lambda task: Script.curve(*NAME, [0.5, 0.25, 0.125]))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base, space=space, total_max_jobs=8))
    first = run(whole, clock=Hours(server))
    path = cut(whole, 2, tmp_path / "cut.db")
    state = run(path, ClearmlChoice(adopt=True), clock=Hours(server))
    kinds = [{name: (type(v), v) for name, v in trial.params.items()} for trial in first.trials]
    assert [{name: (type(v), v) for name, v in trial.params.items()} for trial in state.trials] == kinds
    assert [trial.point for trial in state.trials] == [trial.point for trial in first.trials]


def test_a_point_that_somebody_enqueued_and_that_ran_is_not_run_again(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    search = unhurried(base_task(server))
    enqueue(whole, search, PointEnqueued(params={"General/lr": 0.625}))
    run(whole, clock=Hours(server))
    path = cut(whole, 3, tmp_path / "cut.db")
    state = run(path, ClearmlChoice(adopt=True), clock=Hours(server))
    assert [trial.params["General/lr"] for trial in state.trials].count(0.625) == 1
    assert state.waiting == []


def enqueue(path: Path, search: Search, event: PointEnqueued) -> None:
    from eventhpo.core.fold.events import SearchCreated
    from eventhpo.core.search.spec import POLICY
    from eventhpo.log.create import create

    described, _ = ClearmlChoice().described(search)
    create(path, SearchCreated(search_id="ab" * 16, search=described, policy=POLICY, fingerprint={}), 1, [event])


# ---------------------------------------------------------------- what verify says


def test_verify_says_where_replay_starts_anew(server: ClearmlServer, tmp_path: Path) -> None:
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server)))
    run(whole, clock=Hours(server))
    assert not [note for note in verified(whole, None, decide=True).notes if "taken up again" in note]
    path = cut(whole, 12, tmp_path / "cut.db")
    run(path, ClearmlChoice(adopt=True), clock=Hours(server))
    adopted = [row.seq for row in rows(path) if isinstance(row.event, JobAdopted)]
    found = verified(path, None, decide=True)
    assert found.verdict == "ok"
    [note] = [note for note in found.notes if "taken up again" in note]
    assert f"at seq {adopted[0]}: " in note
    assert "replay starts anew" in note


def test_an_adoption_is_written_together_with_the_start_of_its_controller(
    server: ClearmlServer, tmp_path: Path
) -> None:
    """A start alone would be another row where the lost ones were: a fork."""
    server.script(falling(server))
    whole = tmp_path / "whole.db"
    begin(whole, unhurried(base_task(server)))
    run(whole, clock=Hours(server))
    path = cut(whole, 2, tmp_path / "cut.db")
    with pytest.raises(KeyboardInterrupt):
        run(path, ClearmlChoice(adopt=True), wrap=interrupted)
    assert len(of(path, JobAdopted)) == 4
    assert len({row.at for row in rows(path)[2:]}) == 1
    state = run(path, clock=Hours(server))
    assert [s for s, _ in told(state)] == ["completed"] * 4


def interrupted(jobs: Any) -> Any:
    raise KeyboardInterrupt
