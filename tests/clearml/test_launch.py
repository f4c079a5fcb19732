"""What a job is on the server, and that there is never a second one in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.events import EffectFailed, JobBound, JobCreated, JobEnded, JobQueued, OptimizerTaskSet
from eventhpo.core.search.spec import Scalar, UniformParameterRange
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.clearml.launch import Labels
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.protocol import Bound, DraftRequest, Refused
from eventhpo.log.create import create
from eventhpo.testing.simulated import START
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
    run,
    search,
    unhurried,
)
from tests.clearml_server import ClearmlServer, Script
from tests.clearml_server.failing import Fault, How

KEY = "eventhpo:abababababab:17-89abcdef:0.0"
LOST: list[How] = ["500", "502", "503", "reset", "half", "no_meta", "not_json"]


def backend(server: ClearmlServer, base: str, *names: str, labels: Labels | None = None) -> ClearmlBackend:
    """The backend of a search of those parameters."""
    space = tuple(UniformParameterRange(name=n, min_value=0.0, max_value=1.0) for n in names or ("General/lr",))
    found, _ = ClearmlChoice().described(search(base, space=space))
    return ClearmlBackend(Server("test"), found.jobs, lambda: labels or Labels())  # type: ignore[arg-type]


def draft(trial: int = 0, look: bool = False, before: str | None = None, **params: Scalar) -> DraftRequest:
    """An intent."""
    key = f"{KEY[:-3]}{trial}.{0 if before is None else 1}"
    named = {name.replace("__", "/"): value for name, value in params.items()} or {"General/lr": 0.25}
    return DraftRequest(trial=trial, attempt=0, key=key, params=named, slot=0, before=before, look=look, failures=0)


def made(server: ClearmlServer, jobs: ClearmlBackend, what: DraftRequest) -> dict[str, Any]:
    """The task of an intent."""
    [answer] = jobs.draft([what])
    assert isinstance(answer, Bound)
    return server.task(answer.job_id)


# ---------------------------------------------------------------- what a job is


def test_a_job_has_the_name_comment_parent_and_tags_of_the_page(server: ClearmlServer) -> None:
    base = base_task(server)
    task = made(server, backend(server, base), draft(General__width=4, General__lr=0.5))
    assert task["name"] == "base: General/lr=0.5 General/width=4"
    assert task["comment"] == "General/lr=0.5\nGeneral/width=4"
    assert task["parent"] == base
    assert set(task["tags"]) == {"mine", "optimization", "opt", "eventhpo:abababababab", KEY}
    assert task["project"] == server.task(base)["project"]
    assert task["status"] == "created"


def test_under_an_optimizer_task_it_is_its_child_and_says_so(server: ClearmlServer) -> None:
    parent = server.make_task("optimizer")
    labels = Labels(parent=parent, project_name="elsewhere", name=lambda base, params: "own name")
    task = made(server, backend(server, base_task(server), labels=labels), draft())
    assert (task["parent"], task["name"]) == (parent, "own name")
    assert f"opt: {parent}" in task["tags"]
    assert server.state.projects[task["project"]]["name"] == "elsewhere"


def test_the_optimizers_task_of_the_log_is_the_parent_and_the_project_asked_for_stays(
    server: ClearmlServer, path: Path
) -> None:
    parent = server.make_task("optimizer")
    server.script(falling(server))
    place = ClearmlChoice(labels=lambda: Labels(project_name="elsewhere"))
    found, _ = place.described(search(base_task(server)))
    from eventhpo.core.fold.events import SearchCreated
    from eventhpo.core.search.spec import POLICY

    first = SearchCreated(search_id="ab" * 16, search=found, policy=POLICY, fingerprint={})
    create(path, first, START, [OptimizerTaskSet(task_id=parent)])
    run(path, place)
    assert {task["parent"] for task in our_tasks(server)} == {parent}
    assert {server.state.projects[task["project"]]["name"] for task in our_tasks(server)} == {"elsewhere"}


def test_a_retry_has_the_parent_of_all_jobs_and_a_tag_that_names_the_task_before_it(server: ClearmlServer) -> None:
    """Else the list of the optimizer's children has the failed task, and not the one that completed."""
    base, parent = base_task(server), server.make_task("optimizer")
    for jobs, expected in (
        (backend(server, base, labels=Labels(parent=parent)), parent),
        (backend(server, base), base),
    ):
        first = made(server, jobs, draft())
        retry = made(server, jobs, draft(before=first["id"]))
        assert (first["parent"], retry["parent"]) == (expected, expected)
        assert [tag for tag in first["tags"] + retry["tags"] if "retry" in tag] == [f"retry of {first['id']}"]


def test_a_clone_has_all_parameters_of_the_base_task_and_those_of_the_search_in_them(server: ClearmlServer) -> None:
    """The server replaces what the base task has by what it is given; it does not merge."""
    base = server.make_task(
        "base",
        hyperparams={"General": {"lr": 0.1, "width": 8}, "Args": {"data": "/sets/a", "layers": [1, 2], "none": None}},
    )
    server.state.tasks[base]["hyperparams"]["Args"]["data"]["description"] = "where it lies"
    task = made(server, backend(server, base), draft())
    expected = server.task(base)["hyperparams"]
    expected["General"]["lr"]["value"] = "0.25"
    have = {s: {n: {**p, "type": p.get("type", "")} for n, p in ps.items()} for s, ps in task["hyperparams"].items()}
    want = {s: {n: {**p, "type": p.get("type", "")} for n, p in ps.items()} for s, ps in expected.items()}
    assert have == want


def test_a_parameter_in_the_section_of_the_command_line_is_set_there(server: ClearmlServer, path: Path) -> None:
    base = server.make_task("base", hyperparams={"Args": {"lr": 0.1, "epochs": 3}})
    space = (UniformParameterRange(name="Args/lr", min_value=0.0, max_value=1.0),)
    server.script(
        lambda task: Script.curve(METRIC.title, METRIC.series, [float(task["hyperparams"]["Args"]["lr"]["value"])] * 3)
    )
    begin(path, unhurried(base, space=space))
    state = run(path, clock=Hours(server))
    assert {t.finished.state for t in state.trials if t.finished} == {"completed"}
    for task, trial in zip(our_tasks(server), state.trials, strict=True):
        assert float(task["hyperparams"]["Args"]["lr"]["value"]) == trial.params["Args/lr"]
        assert task["hyperparams"]["Args"]["epochs"]["value"] == "3"
        assert "General" not in task["hyperparams"]


def test_where_its_parent_was_deleted_it_is_the_child_of_the_next_one(server: ClearmlServer) -> None:
    """Of the optimizer's task, else of the base task: a server refuses a parent that is gone."""
    base, parent = base_task(server), server.make_task("optimizer")
    jobs = backend(server, base, labels=Labels(parent=parent))
    first = made(server, jobs, draft())
    server.user.delete(first["id"])  # of no concern: a retry is no child of it
    assert made(server, jobs, draft(before=first["id"]))["parent"] == parent
    server.user.delete(parent)
    assert made(server, jobs, draft(trial=1, before=first["id"]))["parent"] == base


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        (None, "", ""),
        (True, "True", "bool"),
        (3, "3", "int"),
        (1e-05, "1e-05", "float"),
        (0.1 + 0.2, "0.30000000000000004", "float"),
        ("adam w", "adam w", "str"),
    ],
)
def test_values_become_text_as_the_sdk_makes_them(server: ClearmlServer, value: Scalar, text: str, kind: str) -> None:
    task = made(server, backend(server, base_task(server)), draft(General__new=value))
    have = task["hyperparams"]["General"]["new"]
    assert (have["value"], have["type"]) == (text, kind)


@pytest.mark.parametrize(("value", "kind"), [(None, ""), ("", "str")], ids=["None", "an empty text"])
@pytest.mark.parametrize("default", ["adam", 3])
def test_the_type_of_an_empty_text_says_whether_it_is_none(
    server: ClearmlServer, default: Scalar, value: Scalar, kind: str
) -> None:
    """Whatever the base task has there."""
    task = made(server, backend(server, base_task(server, opt=default)), draft(General__opt=value))
    have = task["hyperparams"]["General"]["opt"]
    assert (have["value"], have["type"]) == ("", kind)


def test_a_name_without_a_section_stands_in_general(server: ClearmlServer) -> None:
    task = made(server, backend(server, base_task(server)), draft(lr=0.5, other=1))
    assert task["hyperparams"]["General"]["lr"]["value"] == "0.5"
    assert task["hyperparams"]["General"]["other"]["value"] == "1"


# ---------------------------------------------------------------- requests of a launch


def test_jobs_are_launched_by_a_clone_and_an_enqueue_each_and_one_reading_between(
    server: ClearmlServer, path: Path
) -> None:
    begin(path, unhurried(base_task(server), 4))
    server.requests.clear()
    clock = Hours(server, then=lambda waits: clock.stop())
    run(path, clock=clock)
    asked = [r.endpoint for r in server.requests.kept]
    assert asked == ["auth.login", "tasks.get_all", *["tasks.clone"] * 4, "tasks.get_all", *["tasks.enqueue"] * 4]


def test_nothing_is_looked_for_that_was_not_in_doubt(server: ClearmlServer) -> None:
    jobs = backend(server, base_task(server))
    server.requests.clear()
    jobs.draft([draft(0), draft(1)])
    assert [r.endpoint for r in server.requests.kept] == ["auth.login", "tasks.clone", "tasks.clone"]


def test_one_look_is_for_a_hundred_keys(server: ClearmlServer) -> None:
    jobs = backend(server, base_task(server))
    server.requests.clear()
    jobs.draft([draft(trial, look=True) for trial in range(101)])
    assert server.count("tasks.get_all") == 2
    assert server.count("tasks.clone") == 101


def test_one_that_does_not_answer_spares_the_others_its_time_out(server: ClearmlServer) -> None:
    jobs = backend(server, base_task(server))
    fault = server.fail("tasks.clone", "reset", times=None)
    answers = jobs.draft([draft(trial) for trial in range(5)])
    assert fault.hits == 1
    assert [isinstance(a, Refused) and a.in_doubt for a in answers] == [True, False, False, False, False]


# ---------------------------------------------------------------- answers that are lost


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("endpoint", ["tasks.clone", "tasks.enqueue"])
def test_an_effect_whose_answer_is_lost_took_place_once(
    server: ClearmlServer, path: Path, endpoint: str, how: How
) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    fault = server.fail(endpoint, how, effect="after", times=2)
    clock = Hours(server)
    state = run(path, clock=clock)
    assert fault.hits == 2
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4
    assert len(our_tasks(server)) == 4
    assert set(launches(server).values()) == {1}
    assert any(event.in_doubt and event.effect in ("draft", "launch") for event in of(path, EffectFailed))


@pytest.mark.parametrize("endpoint", ["tasks.clone", "tasks.enqueue"])
def test_an_effect_that_did_not_take_place_is_tried_again(server: ClearmlServer, path: Path, endpoint: str) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    server.fail(endpoint, "reset", effect="before", times=3)
    state = run(path, clock=Hours(server))
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4
    assert len(our_tasks(server)) == 4


def test_a_clone_that_shows_itself_after_another_was_made_is_deleted_at_the_end_of_the_run(
    server: ClearmlServer, path: Path
) -> None:
    """It never ran."""
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    late = Late(server)
    state = run(path, clock=Hours(server))
    assert late.task is not None
    assert len(our_tasks(server)) == 4
    assert late.task["id"] not in server.state.tasks
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4


def test_or_when_the_search_is_next_looked_over(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    late = Late(server)
    run(path, clock=Hours(server), wrap=NoSweep.of)
    assert late.task is not None
    assert late.task["id"] in server.state.tasks
    assert server.task(late.task["id"])["status"] == "created"
    run(path, clock=Hours(server))
    assert late.task["id"] not in server.state.tasks
    assert len(our_tasks(server)) == 4


def test_a_copy_that_somebody_made_is_left_alone(server: ClearmlServer, path: Path) -> None:
    """It carries the tags of what it is a copy of."""
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    run(path, clock=Hours(server))
    copy = server.call("tasks.clone", task=our_tasks(server)[0]["id"], new_task_name="Clone of it")["id"]
    run(path, clock=Hours(server))
    assert server.task(copy)["status"] == "created"


def test_a_clone_whose_name_the_server_stripped_is_taken(server: ClearmlServer) -> None:
    jobs = backend(server, base_task(server, kind="a"), "General/kind")
    task = made(server, jobs, draft(General__kind="a "))
    server.state.tasks[task["id"]]["name"] = task["name"].strip()
    [answer] = jobs.draft([draft(look=True, General__kind="a ")])
    assert answer == Bound(job_id=task["id"], adopted=True)


def test_a_clone_that_was_made_under_another_naming_scheme_is_taken(server: ClearmlServer) -> None:
    """As by a script with a scheme of its own, whose search is carried on from the command line."""
    base = base_task(server)
    task = made(server, backend(server, base, labels=Labels(name=lambda base, params: "by my scheme")), draft())
    [answer] = backend(server, base).draft([draft(look=True)])
    assert answer == Bound(job_id=task["id"], adopted=True)
    assert server.count("tasks.clone") == 1


def test_a_copy_is_not_taken_before_what_it_is_a_copy_of(server: ClearmlServer) -> None:
    jobs = backend(server, base_task(server))
    task = made(server, jobs, draft())
    server.call("tasks.clone", task=task["id"], new_task_name="Clone of it")
    [answer] = jobs.draft([draft(look=True)])
    assert answer == Bound(job_id=task["id"], adopted=True)


def test_a_task_with_our_key_and_other_parameters_is_not_taken(server: ClearmlServer) -> None:
    """Nor is another made, and the reason names it."""
    jobs = backend(server, base_task(server))
    foreign = made(server, jobs, draft())["id"]
    server.state.tasks[foreign]["hyperparams"]["General"]["lr"]["value"] = "0.75"
    [answer] = jobs.draft([draft(look=True)])
    assert isinstance(answer, Refused)
    assert foreign in answer.error
    assert server.count("tasks.clone") == 1


# ---------------------------------------------------------------- what cannot be launched


def test_a_queue_that_is_gone_holds_launches_until_there_is_one_of_its_name(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    server.user.delete_queue(server.queue("default"))

    def after(waits: int) -> None:
        if waits == 8:
            server.call("queues.create", name="default")

    state = run(path, clock=Hours(server, then=after))
    failures = [event.error for event in of(path, EffectFailed)]
    assert all("the queue default is gone" in error for error in failures)
    assert len(failures) < 20
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4
    assert len(our_tasks(server)) == 4


def test_a_base_task_that_is_gone_is_named(server: ClearmlServer, path: Path) -> None:
    base = base_task(server)
    begin(path, unhurried(base))
    server.user.delete(base)
    clock = Hours(server, then=lambda waits: clock.stop() if waits == 3 else None)
    state = run(path, clock=clock)
    assert not state.finished
    assert {base in event.error and "gone" in event.error for event in of(path, EffectFailed)} == {True}


def test_a_draft_that_was_deleted_before_its_launch_is_lost_and_retried(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    server.fail("tasks.enqueue", "reset", times=1)

    def after(waits: int) -> None:
        if waits == 1:
            server.user.delete(our_tasks(server)[0]["id"])

    state = run(path, clock=Hours(server, then=after))
    [lost] = [e for e in of(path, JobEnded) if e.how == "lost"]
    assert lost.why.startswith("its task was deleted")
    assert [s for s, _ in outcomes(state)] == ["completed"] * 4


def test_every_intent_gets_its_task_and_its_place_in_a_queue_once(server: ClearmlServer, path: Path) -> None:
    server.script(falling(server))
    begin(path, unhurried(base_task(server)))
    run(path, clock=Hours(server))
    names = [(e.trial, e.attempt) for e in of(path, JobCreated)]
    assert (
        names
        == [(e.trial, e.attempt) for e in of(path, JobBound)]
        == [(e.trial, e.attempt) for e in of(path, JobQueued)]
    )
    assert sorted(e.job_id for e in of(path, JobBound)) == sorted(task["id"] for task in our_tasks(server))


def lr_of(task: dict[str, Any], section: str) -> float:
    return float(task["hyperparams"][section]["lr"]["value"])


class Late:
    """Has the first clone fail, and shows it only after another was made."""

    def __init__(self, server: ClearmlServer) -> None:
        self.task: dict[str, Any] | None = None
        self._server = server
        self._fault = server.fail("tasks.clone", "reset", effect="after", times=1)
        self._count = server._count
        server._count = self._counted  # type: ignore[method-assign]

    def _counted(self, request: Any) -> Fault | None:
        """Hide the clone from the look for it; show it when another is on its way."""
        server = self._server
        hidden = next((t for t in our_tasks(server)), None) if self._fault.hits == 1 and self.task is None else None
        if hidden is not None:
            self.task = server.state.tasks.pop(hidden["id"])
        elif self.task is not None and request.endpoint == "tasks.enqueue":
            server.state.tasks.setdefault(self.task["id"], self.task)
            self._server._count = self._count  # type: ignore[method-assign]
        return self._count(request)


class NoSweep(ClearmlBackend):
    """A backend whose process was killed before the end of its run."""

    @classmethod
    def of(cls, jobs: ClearmlBackend) -> ClearmlBackend:
        jobs.close = lambda: None  # type: ignore[method-assign]
        return jobs
