"""Each method of the class on a ClearML server: what it answers, and what the server has then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from clearml import Task
from clearml.automation.job import ClearmlJob
from clearml.automation.optimization import MultiObjective

from eventhpo.core.fold.events import EffectFailed, OptimizerTaskSet, SearchFinished, TrialFinished, TrialSuggested
from eventhpo.errors import Usage
from tests.clearml.users import METRIC, SPACE, Place, Program, falling, value_of
from tests.clearml_server import Script, hyperparam
from tests.optimizer.harness import Thread
from tests.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK reads its configuration by such calls

SCRIPTS = Path(__file__).parent / "scripts"


def forever(task: Any) -> Script:
    """Report once, and run until told to stop."""
    return falling(task, 1, end=None)


def best_lr(place: Place) -> str:
    return min((value_of(task, "lr") for task in place.tasks()), key=float)


# ---------------------------------------------------------------- answers


def test_the_best_are_tasks_of_the_server_the_best_first(place: Place) -> None:
    optimizer = place.optimizer()
    assert optimizer.get_top_experiments(3) == []
    optimizer.start()
    found = optimizer.get_top_experiments(3)
    assert [type(task) for task in found] == [Task] * 3
    assert found[0].get_parameters()["General/lr"] == best_lr(place)
    assert found[0].get_parameters()["Args/data"] == "/sets/a"
    assert [t.id for t in found] == [i for i, _ in optimizer.get_top_experiments_id_metrics_pair(3)]


def test_a_task_that_was_deleted_at_the_server_is_none_of_the_best_and_the_next_one_is(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """As of ClearML's own class, which asks the server for the best."""
    optimizer = place.done()
    first, second, third, fourth = (task.id for task in optimizer.get_top_experiments(4))
    place.server.user.delete(first)
    place.server.user.delete(third)
    optimizer = place.optimizer()
    optimizer.start()
    assert [task.id for task in optimizer.get_top_experiments(1)] == [second]
    assert [task.id for task in optimizer.get_top_experiments(3)] == [second, fourth]
    assert f"the task {first} of trial" in caplog.text
    gone = optimizer.get_created_jobs_tasks()[first]
    assert (gone.get_console_output(), gone.worker()) == ([], None)


def test_details_have_the_keys_that_clearml_gives_a_metric(place: Place) -> None:
    """Eleven of them were recorded from a server; x_axis_label is from the server's source."""

    def two_series(task: Any) -> Script:
        loss = falling(task).points
        return Script([*loss, *((at, "train", "loss", (5.0, 1.0, 3.0)[at - 1]) for at, *_ in loss)], step=3)

    place.jobs(two_series)
    (found,) = place.done().get_top_experiments_details(1, all_metrics=True)
    stored = place.server.task(found["task_id"])["last_metrics"].values()
    theirs = {f"{m['metric']}/{m['variant']}": m for variants in stored for m in variants.values()}
    assert set(found["metrics"]) == set(theirs) == {"validation/loss", "train/loss"}
    for name, metric in found["metrics"].items():
        assert set(metric) == {*theirs[name], "x_axis_label"}
        assert len(metric) == 12
        told = {key: metric[key] for key in theirs[name] if key != "mean_value"}
        assert told == {key: value for key, value in theirs[name].items() if key != "mean_value"}
        assert metric["mean_value"] == pytest.approx(theirs[name]["mean_value"], abs=0.005)  # theirs is rounded


def test_what_only_the_server_knows_of_a_job_is_asked_of_it(place: Place) -> None:
    (job,) = place.done(total_max_jobs=1).get_created_jobs_tasks().values()
    lines = {"type": "log", "task": job.task_id(), "level": "info", "worker": "w", "msg": "hello from the job"}
    place.server.call("events.add_batch", lines=[lines])
    assert job.worker() == place.tasks()[0]["last_worker"]
    assert [text.strip() for text in job.get_console_output()] == ["hello from the job"]


def test_all_hyper_parameters_are_those_of_the_ended_task_and_answered_without_the_server(place: Place) -> None:
    def finding(task: Any) -> Script:
        task["hyperparams"]["General"]["found"] = hyperparam("General", "found", 7)  # what a job sets when it runs
        return falling(task)

    place.server.script(finding)
    optimizer = place.done(total_max_jobs=1)
    place.server.down()
    (searched,) = optimizer.get_top_experiments_details(1)
    (found,) = optimizer.get_top_experiments_details(1, all_hyper_parameters=True)
    place.server.up()
    (task,) = place.tasks()
    had = {f"{section}/{name}": p["value"] for section, ps in task["hyperparams"].items() for name, p in ps.items()}
    assert found["hyper_parameters"] == had
    assert had["General/found"] == "7"
    assert {"General/kind", "General/lr"} == set(searched["hyper_parameters"]) < set(had)


def test_jobs_are_clearml_jobs_that_ask_the_server_nothing(place: Place) -> None:
    optimizer = place.done(total_max_jobs=2)
    asked = place.server.count()
    jobs = list(optimizer.get_created_jobs_tasks().values())
    assert [isinstance(job, ClearmlJob) for job in jobs] == [True, True]
    assert [job.task_id() for job in jobs] == [task["id"] for task in place.tasks()]
    assert [(j.status(), j.iterations(), j.is_completed()) for j in jobs] == [("completed", 3, True)] * 2
    assert [job.task.name for job in jobs] == [task["name"] for task in place.tasks()]
    lr = float(value_of(place.tasks()[0], "lr"))
    assert jobs[0].get_metric(*METRIC) == pytest.approx((lr + 1 / 3, lr + 1, lr + 1 / 3))
    assert jobs[0].elapsed() >= 0
    assert place.server.count() == asked


def test_metrics_and_parameters_of_the_best_come_from_the_log_when_the_server_is_gone(place: Place) -> None:
    def two_series(task: Any) -> Script:
        loss = falling(task).points
        return Script([*loss, *((at, "train", "loss", 2.0 * at) for at, *_ in loss)])

    place.jobs(two_series)
    optimizer = place.done()
    asked = place.server.count()
    place.server.down()
    (found,) = optimizer.get_top_experiments_details(1, all_metrics=True, all_hyper_parameters=True)
    assert set(found["metrics"]) == {"validation/loss", "train/loss"}
    train = {k: v for k, v in found["metrics"]["train/loss"].items() if k.endswith("value")}
    assert train == {"value": 6.0, "min_value": 2.0, "max_value": 6.0, "first_value": 2.0, "mean_value": 4.0}
    assert found["hyper_parameters"]["Args/data"] == "/sets/a"
    assert found["hyper_parameters"]["General/lr"] == best_lr(place)
    (less,) = optimizer.get_top_experiments_details(1)
    assert set(less["metrics"]) == {"validation/loss"}
    assert optimizer.budget.to_dict()["iterations"] == {"limit": 12, "used": 1.0}  # all of it
    assert place.server.count() == asked


def test_several_objectives_are_ranked_by_fronts(place: Place) -> None:
    def two(task: Any) -> Script:
        lr = float(value_of(task, "lr"))
        return Script([(1, "a", "x", lr), (1, "a", "y", 1 - lr), (1, "b", "z", 5.0)])

    place.jobs(two)
    objective = MultiObjective(title=["a", "a"], series=["x", "y"], order=["min", "min"], extremum=[False, False])
    optimizer = place.done(objective_metric=objective, optuna_pruner=None, max_iteration_per_job=None)
    assert optimizer.get_objective_metric() == [("a", "x"), ("a", "y")]
    assert [t.id for t in optimizer.get_top_experiments(9)] == [task["id"] for task in place.tasks()]
    assert all(set(row["metrics"]) == {"a/x", "a/y"} for row in optimizer.get_top_experiments_details(9))


# ---------------------------------------------------------------- by hand


def test_a_job_made_by_hand_is_a_draft_until_it_is_launched(place: Place) -> None:
    optimizer = place.optimizer()
    job = optimizer.create_job()
    assert job is not None
    assert place.server.task(job.task_id())["status"] == "created"
    assert optimizer.get_running_jobs() == []
    assert job.launch("a queue that is not asked for")
    assert place.server.task(job.task_id())["execution"]["queue"] == place.server.queue("hpo")
    assert [j.task_id() for j in optimizer.get_running_jobs()] == [job.task_id()]
    eventually(lambda: not optimizer.monitor_job(job), "the end of the job")
    assert (job.status(), job.iterations(), optimizer.update_budget_per_job(job)) == ("completed", 3, False)


def test_steps_decide_what_start_decides(place: Place) -> None:
    place.done()
    first = [e.params for e in place.of(TrialSuggested)]
    place.log = place.folder / "steps.db"
    optimizer = place.optimizer()
    while optimizer.process_step():
        pass
    assert [e.params for e in place.of(TrialSuggested)] == first
    assert len(first) == 4


def test_a_job_of_ones_own_carries_what_was_overridden_before_it_is_queued(place: Place) -> None:
    optimizer = place.optimizer()
    job = optimizer.helper_create_job(
        place.base,
        parameter_override={"General/lr": 0.25, "Args/data": "/sets/b"},
        task_overrides={"script.branch": "fix", "script.version_num": None, "container.image": "cuda"},
        tags=["of a user"],
        parent=place.base,
        configuration_overrides={"net": {"layers": 3}, "text": "as it is"},
        target_project="elsewhere/new",
    )
    assert job is not None
    assert job.launch()
    task = place.server.task(job.task_id())
    assert (value_of(task, "lr"), value_of(task, "data", "Args"), value_of(task, "kind")) == ("0.25", "/sets/b", "a")
    script = task["script"]
    assert (script["branch"], script["version_num"], script["entry_point"]) == ("fix", None, "train.py")
    assert task["container"]["image"] == "cuda"
    assert json.loads(task["configuration"]["net"]["value"]) == {"layers": 3}
    assert task["configuration"]["text"]["value"] == "as it is"
    assert {"of a user", "mine", "optimization", f"opt: {place.base}"} <= set(task["tags"])
    projects = {p["id"]: p["name"] for p in place.server.state.projects.values()}
    assert (task["parent"], projects[task["project"]]) == (place.base, "elsewhere/new")
    assert place.server.task(place.base)["script"]["branch"] == "main"


@pytest.mark.parametrize("there", [None, "numpy", {"conda": "a"}], ids=["null", "a text", "a table"])
def test_what_is_overridden_may_lie_in_what_the_base_task_does_not_have(place: Place, there: Any) -> None:
    place.server.state.tasks[place.base]["script"]["requirements"] = there
    optimizer = place.optimizer()
    job = optimizer.helper_create_job(
        place.base, parameter_override={"General/lr": 0.25}, task_overrides={"script.requirements.pip": "optuna"}
    )
    assert job is not None
    assert job.launch()
    had = there if isinstance(there, dict) else {}
    assert place.server.task(job.task_id())["script"]["requirements"] == {**had, "pip": "optuna"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"allow_caching": True}, "allow_caching=True is not accepted"),
        ({"disable_clone_task": True}, "disable_clone_task=True is not accepted"),
        ({"target_projekt": "x"}, "did you mean 'target_project'"),
        ({"configuration_overrides": ["net"]}, r"configuration_overrides=\['net'\] is not accepted: expected a table"),
        ({"task_overrides": {"scirpt.branch": "x"}}, "cannot be overridden; there are script, "),
    ],
)
def test_what_a_job_cannot_honour_is_refused_and_nothing_is_made(
    place: Place, given: dict[str, Any], says: str
) -> None:
    optimizer = place.optimizer()
    with pytest.raises(Usage, match=says):
        optimizer.helper_create_job(place.base, parameter_override={"General/lr": 0.25}, **given)
    assert place.tasks() == []


@pytest.mark.parametrize(
    "given",
    [
        {"task_overrides": {"script.branch": object()}},
        {"task_overrides": {"script.branch": float("nan")}},
        {"tags": [3]},
        {"parameter_override": {"General/lr": [1, 2]}},
    ],
    ids=["an object", "NaN", "a tag that is no text", "a list"],
)
def test_what_cannot_be_recorded_is_refused_to_who_asked_and_the_search_goes_on(
    place: Place, given: dict[str, Any]
) -> None:
    place.jobs(forever)
    optimizer = place.optimizer(total_max_jobs=2, num_concurrent_workers=2)
    running = Thread(optimizer.start)
    jobs = eventually(lambda: len(optimizer.get_running_jobs()) == 2 and optimizer.get_running_jobs(), "two jobs")
    with pytest.raises(Usage, match="recorded as JSON, and this cannot be"):
        optimizer.helper_create_job(place.base, **{"parameter_override": {"General/lr": 0.25}, **given})
    with pytest.raises(Usage, match="recorded as JSON, and this cannot be"):
        jobs[0].abort(why=7)
    assert len(optimizer.get_running_jobs()) == 2
    optimizer.stop()
    running.ended()


def test_handles_are_launched_and_aborted_from_another_thread(place: Place) -> None:
    place.jobs(forever)
    optimizer = place.optimizer(total_max_jobs=1)
    running = Thread(optimizer.start)
    (job,) = eventually(optimizer.get_running_jobs, "a job")
    eventually(job.started, "its start")
    assert job.launch()
    job.abort(why="it bores me")
    running.ended()
    assert place.server.task(job.task_id())["status"] == "stopped"
    assert place.states() == ["aborted"]
    (ended,) = place.of(TrialFinished)
    assert "it bores me" in ended.why


# ---------------------------------------------------------------- names and places


@pytest.mark.parametrize(
    ("scheme", "named"),
    [
        (lambda base, params: f"{base} at {params['General/lr']:.2f}", lambda lr: f"base at {lr:.2f}"),
        (False, lambda lr: "base"),
        (None, lambda lr: None),
    ],
    ids=["function", "False", "None"],
)
def test_jobs_are_named_by_the_scheme(place: Place, scheme: Any, named: Any) -> None:
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.set_job_naming_scheme(scheme)
    optimizer.start()
    (task,) = place.tasks()
    lr, kind = value_of(task, "lr"), value_of(task, "kind")
    assert task["name"] == (named(float(lr)) or f"base: General/kind={kind} General/lr={lr}")


def test_parent_and_project_of_the_jobs_are_those_that_were_set(place: Place) -> None:
    parent = place.server.make_task("a parent")
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.set_job_default_parent(parent, project_name="sweeps/today")
    optimizer.start()
    (task,) = place.tasks()
    projects = {p["id"]: p["name"] for p in place.server.state.projects.values()}
    assert (task["parent"], projects[task["project"]]) == (parent, "sweeps/today")
    assert f"opt: {parent}" in task["tags"]


def test_without_a_parent_jobs_stand_under_the_base_task_and_in_its_project(place: Place) -> None:
    place.done(total_max_jobs=1)
    (task,) = place.tasks()
    base = place.server.task(place.base)
    assert (task["parent"], task["project"]) == (place.base, base["project"])
    assert "opt" in task["tags"]


class Stand:
    """What the class needs of a task that is another process's."""

    def __init__(self, place: Place, name: str) -> None:
        self.id = place.server.make_task(name, project="controllers")
        self.name = name
        self.project = place.server.task(self.id)["project"]


def test_another_optimizer_task_after_a_resume_is_an_event_and_the_jobs_of_before_still_count(place: Place) -> None:
    first, second = Stand(place, "monday"), Stand(place, "tuesday")
    for stand, jobs in ((first, 2), (second, 4)):
        optimizer = place.optimizer(total_max_jobs=jobs)
        optimizer.set_optimizer_task(stand)
        optimizer.start()
    assert [(e.task_id, e.name) for e in place.of(OptimizerTaskSet)] == [(first.id, "monday"), (second.id, "tuesday")]
    assert [task["parent"] for task in place.tasks()] == [first.id] * 2 + [second.id] * 2
    assert {task["project"] for task in place.tasks()} == {first.project}
    assert len(optimizer.get_created_jobs_ids()) == 4
    assert len(optimizer.get_top_experiments(9)) == 4


def test_the_log_is_named_after_the_optimizer_task(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    stand = Stand(place, "monday")
    optimizer = place.optimizer(log=None, total_max_jobs=1)
    optimizer.set_optimizer_task(stand)
    optimizer.start()
    assert optimizer.log == Path(f"{stand.id}.db")
    assert optimizer.log.exists()


LABELS = ("name", "comment", "parent", "project", "type", "tags", "hyperparams", "script", "container", "configuration")


@pytest.mark.parametrize("under", ["an optimizer task", "no task"])
def test_a_job_is_labelled_as_clearml_labels_it(place: Place, under: str) -> None:
    """ClearML's own class makes a job of each point first; this one is given the same points."""
    task = Stand(place, "the optimizer") if under == "an optimizer task" else None
    before = set(place.server.state.tasks)
    arguments = {"base": place.base, "queue": place.queue, "task": task.id if task else None, "jobs": 3}
    code, _, err = Program([str(SCRIPTS / "stock.py"), json.dumps(arguments)], place.folder, place.server).ended()
    assert code == 0, err
    stock = [t for i, t in place.server.state.tasks.items() if i not in before]
    assert [t["status"] for t in stock] == ["completed"] * 3
    optimizer = place.optimizer(total_max_jobs=3)
    if task is not None:  # both, as its controller does
        optimizer.set_optimizer_task(task)
        optimizer.set_job_default_parent(task.id)
    for one in stock:
        optimizer.enqueue_trial({"General/lr": float(value_of(one, "lr")), "General/kind": value_of(one, "kind")})
    optimizer.start()
    for theirs, ours in zip(stock, place.tasks(), strict=True):
        parted = {name: (labels(theirs)[name], labels(ours)[name]) for name in LABELS}
        assert {name: both for name, both in parted.items() if both[0] != both[1]} == {}


def labels(task: dict[str, Any]) -> dict[str, Any]:
    """Return what people see of a task; the tags of this project are its own."""
    found = {name: task.get(name) for name in LABELS}
    found["tags"] = sorted(tag for tag in task["tags"] if not tag.startswith("eventhpo:"))
    found["hyperparams"] = {
        section: {name: p["value"] for name, p in names.items()} for section, names in task["hyperparams"].items()
    }
    return found


# ---------------------------------------------------------------- ends


def test_stop_aborts_the_tasks_that_run(place: Place) -> None:
    place.jobs(forever)
    optimizer = place.optimizer(num_concurrent_workers=2)
    running = Thread(optimizer.start)
    eventually(lambda: sum(job.started() for job in optimizer.get_running_jobs()) == 2, "two jobs that run")
    optimizer.stop()
    running.ended()
    assert optimizer.get_running_jobs() == []
    assert [task["status"] for task in place.tasks()] == ["stopped"] * 2
    assert len(place.tasks()) == 2
    place.jobs(falling)
    place.done()
    assert place.states()[:2] == ["aborted"] * 2


def test_stop_leaves_the_tasks_that_run_and_the_next_run_takes_them_up(place: Place) -> None:
    script = place.server.script(forever)
    limits: dict[str, Any] = {"num_concurrent_workers": 2, "total_max_jobs": 2, "max_iteration_per_job": None}
    optimizer = place.optimizer(on_stop="leave", **limits)
    running = Thread(optimizer.start)
    eventually(lambda: sum(job.started() for job in optimizer.get_running_jobs()) == 2, "two jobs that run")
    optimizer.stop()
    running.ended()
    assert [task["status"] for task in place.tasks()] == ["in_progress"] * 2
    for task in place.tasks():
        place.server.call("tasks.completed", task=task["id"])
        script.jobs.pop(task["id"], None)
    place.done(**limits)
    assert place.states() == ["completed"] * 2
    assert len(place.tasks()) == 2


def test_a_job_beyond_its_time_by_the_servers_clock_is_stopped_and_its_value_counts(place: Place) -> None:
    place.jobs(forever)
    optimizer = place.optimizer(total_max_jobs=1, time_limit_per_job=30, max_iteration_per_job=None)
    running = Thread(optimizer.start)
    eventually(lambda: any(job.iterations() == 1 for job in optimizer.get_running_jobs()), "its point")
    place.server.clock.advance(31 * 60)
    running.ended()
    assert place.states() == ["completed"]
    assert place.tasks()[0]["status"] == "stopped"


def test_the_search_ends_when_all_jobs_together_ran_too_long_by_the_servers_clock(place: Place) -> None:
    place.jobs(forever)
    optimizer = place.optimizer(
        num_concurrent_workers=2, compute_time_limit=100, max_iteration_per_job=None, total_max_jobs=None
    )
    running = Thread(optimizer.start)
    eventually(lambda: sum(job.started() for job in optimizer.get_running_jobs()) == 2, "two jobs that run")
    place.server.clock.advance(51 * 60)
    running.ended()
    (finished,) = place.of(SearchFinished)
    assert finished.reason == "compute_time_limit"
    assert 102 <= optimizer.compute_time < 110
    assert place.states() == ["aborted"] * 2


# ---------------------------------------------------------------- job classes of a user's own


class Marked(ClearmlJob):  # type: ignore[misc]
    """A user's class that adds a tag, and counts what is asked of it."""

    calls: ClassVar[list[str]] = []

    def __init__(self, *arguments: Any, **given: Any) -> None:
        super().__init__(*arguments, **given)
        self.task.add_tags(["marked"])
        self.calls.append("made")

    def launch(self, queue_name: str | None = None) -> bool:
        self.calls.append("launched")
        return bool(super().launch(queue_name))

    def abort(self) -> None:
        self.calls.append("aborted")
        super().abort()


@pytest.fixture
def calls() -> Iterator[list[str]]:
    Marked.calls.clear()
    yield Marked.calls
    Marked.calls.clear()


def test_a_class_of_ones_own_makes_launches_and_aborts_the_jobs(place: Place, calls: list[str]) -> None:
    place.jobs(lambda task: falling(task, 3, end=None))
    optimizer = place.optimizer(total_max_jobs=1, time_limit_per_job=30, max_iteration_per_job=None)
    optimizer.set_job_class(Marked)
    running = Thread(optimizer.start)
    (job,) = eventually(optimizer.get_running_jobs, "a job")
    assert isinstance(job, Marked)
    eventually(lambda: job.iterations() == 3, "its points")
    job.abort()
    running.ended()
    assert calls == ["made", "launched", "aborted"]
    assert "marked" in place.tasks()[0]["tags"]
    assert place.states() == ["aborted"]


def test_a_class_of_ones_own_is_carried_on_by_the_next_run(place: Place, calls: list[str]) -> None:
    script = place.server.script(lambda task: falling(task, 3, end=None))
    optimizer = place.optimizer(total_max_jobs=2, max_iteration_per_job=None, on_stop="leave")
    optimizer.set_job_class(Marked)
    running = Thread(optimizer.start)
    eventually(lambda: any(job.iterations() == 3 for job in optimizer.get_running_jobs()), "its points")
    optimizer.stop()
    running.ended()
    (task,) = place.tasks()
    script.jobs.pop(task["id"])
    place.server.call("tasks.completed", task=task["id"])
    place.jobs(falling)
    again = place.optimizer(total_max_jobs=2, max_iteration_per_job=None)
    again.set_job_class(Marked)
    again.start()
    assert calls == ["made", "launched"] * 2
    assert place.states() == ["completed"] * 2


OWN = """
import sys
from clearml.automation import Objective, UniformParameterRange
from clearml.automation.job import ClearmlJob
from eventhpo import OptimizerOptuna

class Mine(ClearmlJob):
    def __init__(self, *arguments, **given):
        super().__init__(*arguments, **given)
        self.task.add_tags(["marked"])

optimizer = OptimizerOptuna(sys.argv[1], [UniformParameterRange("General/lr", 0.0, 1.0)],
    Objective("validation", "loss", "min"), sys.argv[2], 2, 3, 4, pool_period_min=1e-5, log="search.db",
    optuna_pruner="NopPruner")
optimizer.set_job_class(Mine)
optimizer.start()
"""


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_a_search_with_a_class_of_ones_own_that_is_killed_and_run_again_is_decided_alike(
    place: Place, tasks: int
) -> None:
    """Killed once the server has *tasks* of its jobs; a draft without a key may be left behind, and never ran."""
    words = ["-c", OWN, place.base, place.queue]
    first = Program(words, place.folder, place.server)
    assert first.killed_when(lambda: len(place.server.state.tasks) > tasks)
    code, _, err = Program(words, place.folder, place.server).ended()
    assert code == 0, err
    assert place.states() == ["completed"] * 4
    assert all("marked" in task["tags"] for task in place.tasks() if task["status"] != "created")
    strangers = [
        t for i, t in place.server.state.tasks.items() if i not in {place.base, *(t["id"] for t in place.tasks())}
    ]
    assert {task["status"] for task in strangers} <= {"created"}


class Raising(ClearmlJob):  # type: ignore[misc]
    """A user's class that raises in front of a task, or behind it, the first time."""

    behind = False
    left = 1

    def __init__(self, *arguments: Any, **given: Any) -> None:
        if self.behind:
            super().__init__(*arguments, **given)
        if type(self).left:
            type(self).left -= 1
            raise RuntimeError("no such GPU")
        if not self.behind:
            super().__init__(*arguments, **given)


@pytest.mark.parametrize("behind", [False, True], ids=["before its task is made", "behind it"])
def test_a_constructor_that_raises_is_tried_again_and_makes_no_second_task(place: Place, behind: bool) -> None:
    kind = type("Raising", (Raising,), {"behind": behind, "left": 1})
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.set_job_class(kind)
    optimizer.start()
    assert place.states() == ["completed"]
    assert len(place.tasks()) == 1
    assert any("no such GPU" in event.error for event in place.of(EffectFailed))


class Moody(ClearmlJob):  # type: ignore[misc]
    """A user's class whose `status` raises a few times."""

    left = 3

    def status(self, force: bool = False) -> str:
        if Moody.left:
            Moody.left -= 1
            raise RuntimeError("not in the mood")
        return str(super().status(force))


def test_a_status_that_raises_is_asked_again_and_ends_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moody, "left", 2)
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.set_job_class(Moody)
    optimizer.start()
    assert place.states() == ["completed"]
    assert ["not in the mood" in event.error for event in place.of(EffectFailed)] == [True, True]


def test_the_class_of_a_job_must_be_one_of_clearmls(place: Place) -> None:
    with pytest.raises(Usage, match="is no subclass of"):
        place.optimizer().set_job_class(dict)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_task_id": "0" * 32}, "base_task_id: there is no task 0{32}"),
        ({"execution_queue": "hpp"}, r"execution_queue: there is no queue 'hpp'.*did you mean 'hpo'"),
        ({"execution_queue": ""}, "execution_queue is ''"),
        ({"hyper_parameters": [SPACE[0], type(SPACE[1])("General/knid", ["a"])]}, "did you mean General/kind"),
    ],
    ids=["base task", "queue", "no queue", "parameter"],
)
def test_what_the_server_does_not_have_is_refused_before_there_is_a_log(
    place: Place, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(Usage, match=says):
        place.done(**changes)
    assert not place.log.exists()
    assert len(place.server.state.tasks) == 1
