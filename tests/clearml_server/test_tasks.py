"""Tasks live as on the real server: what a clone takes over, which status follows which, who stops what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clearml_server import ApiError, ClearmlServer, Script, hyperparam
from tests.clearml_server.lifecycle import FOLLOWS

LR = {"General": {"lr": hyperparam("General", "lr", 0.5)}}


def brought_to(server: ClearmlServer, status: str, base: str) -> str:
    """A clone in that status."""
    task = str(server.call("tasks.clone", task=base)["id"])
    if status == "queued":
        server.call("tasks.enqueue", task=task, queue=server.queue("hpo"))
    elif status != "created":
        server.call("tasks.started", task=task)
    end = {"stopped": "stopped", "failed": "failed", "completed": "completed", "published": "completed"}.get(status)
    if status == "closed":
        server.call("tasks.stopped", task=task)
        server.call("tasks.close", task=task)
    if end:
        server.call(f"tasks.{end}", task=task)
    if status == "published":
        server.call("tasks.publish", task=task)
    return task


def refused(server: ClearmlServer, endpoint: str, /, **body: Any) -> tuple[int, int]:
    with pytest.raises(ApiError) as wrong:
        server.call(endpoint, **body)
    return wrong.value.code, wrong.value.subcode


def test_a_clone_replaces_hyperparams_and_tags_and_takes_over_the_rest(server: ClearmlServer, base: str) -> None:
    made = server.call("tasks.clone", task=base, new_task_hyperparams=LR, new_task_tags=["b", "a"])["id"]
    task = server.task(made)
    assert task["hyperparams"] == LR  # epochs of the base is gone, and its section Args
    assert task["tags"] == ["a", "b"]
    assert (task["status"], task["parent"], task["system_tags"]) == ("created", base, [])
    assert {key: task[key] for key in ("script", "container", "comment")} == {
        key: server.task(base)[key] for key in ("script", "container", "comment")
    }


def test_a_clone_without_them_has_the_hyperparams_and_tags_of_its_base(server: ClearmlServer, base: str) -> None:
    task = server.task(server.call("tasks.clone", task=base, new_task_hyperparams={}, new_task_tags=[])["id"])
    assert (sorted(task["hyperparams"]["General"]), task["tags"]) == (["epochs", "lr"], ["of-base"])


def test_a_clone_of_a_clone_has_the_parent_of_its_base(server: ClearmlServer, base: str) -> None:
    child = server.call("tasks.clone", task=base)["id"]
    grandchild = server.call("tasks.clone", task=child)["id"]
    assert server.task(grandchild)["parent"] == base


def test_a_clone_takes_no_runtime_queue_or_points_with_it(server: ClearmlServer, base: str) -> None:
    run = brought_to(server, "queued", base)
    server.call("tasks.edit", task=run, force=True, runtime={"x": "1"})
    server.call("tasks.started", task=run)
    line = {"type": "training_stats_scalar", "task": run, "iter": 1, "metric": "m", "variant": "v", "value": 1.0}
    server.call("events.add_batch", lines=[line])
    task = server.task(server.call("tasks.clone", task=run)["id"])
    assert (task["runtime"], task["last_metrics"], task["last_iteration"]) == ({}, {}, 0)
    assert "queue" not in task["execution"]


STATUSES = [status for status in FOLLOWS if status != "publishing"]
ENDS = {"in_progress": "started", "stopped": "stopped", "failed": "failed", "completed": "completed"}


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", ENDS)
def test_a_status_follows_only_where_the_server_lets_it(
    server: ClearmlServer, base: str, before: str, after: str
) -> None:
    task = brought_to(server, before, base)
    if after == before or after in FOLLOWS[before]:
        assert server.call(f"tasks.{ENDS[after]}", task=task)["fields"]["status"] == after
    else:
        assert refused(server, f"tasks.{ENDS[after]}", task=task) == (400, 110)
        assert server.call(f"tasks.{ENDS[after]}", task=task, force=True)["fields"]["status"] == after


def test_a_missing_queue_is_701_and_leaves_the_task_as_it_was(server: ClearmlServer, base: str) -> None:
    task = server.call("tasks.clone", task=base)["id"]
    assert refused(server, "tasks.enqueue", task=task, queue="nowhere") == (400, 701)
    assert server.task(task)["status"] == "created"


def test_a_dequeued_task_is_a_draft_again(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "queued", base)
    assert server.call("tasks.dequeue", task=task)["updated"] == 1
    assert server.task(task)["status"] == "created"
    assert server.state.queues[server.queue("hpo")]["entries"] == []
    assert server.call("tasks.dequeue", task=task)["updated"] == 0


def test_the_next_task_of_a_queue_is_the_one_that_came_first(server: ClearmlServer, base: str) -> None:
    first, second = brought_to(server, "queued", base), brought_to(server, "queued", base)
    queue = server.queue("hpo")
    assert server.call("queues.peek_task", queue=queue) == {"task": first}
    taken = [server.call("queues.get_next_task", queue=queue).get("entry", {}).get("task") for _ in range(3)]
    assert taken == [first, second, None]


def test_stop_ends_a_task_that_no_worker_runs_at_once(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "in_progress", base)
    assert server.call("tasks.stop", task=task)["fields"]["status"] == "stopped"


def test_stop_asks_the_worker_of_a_task_and_the_task_runs_on_until_it_hears(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "queued", base)
    server.script(lambda _: Script(end=None), on=None)
    server.advance()
    server.user.abort(task)
    assert (server.task(task)["status"], server.task(task)["status_message"]) == ("in_progress", "stopping")
    server.advance()
    assert server.task(task)["status"] == "stopped"


def test_stop_ends_the_task_of_a_worker_that_was_silent_for_ten_minutes(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "queued", base)
    scripted = server.script(lambda _: Script(end=None), on=None)
    server.advance(2)
    scripted.dead = True
    server.clock.advance(601)
    assert server.call("tasks.stop", task=task)["fields"]["status"] == "stopped"


def test_the_watchdog_stops_what_was_silent_for_two_hours(server: ClearmlServer, base: str) -> None:
    silent = brought_to(server, "in_progress", base)
    server.clock.advance(7201)
    alive = brought_to(server, "in_progress", base)
    assert server.watchdog() == [silent]
    task = server.task(silent)
    assert (task["status"], task["status_message"]) == ("stopped", "Forced stop (non-responsive)")
    assert server.task(alive)["status"] == "in_progress"


def test_a_reset_task_is_a_draft_without_points(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "in_progress", base)
    line = {"type": "training_stats_scalar", "task": task, "iter": 4, "metric": "m", "variant": "v", "value": 1.0}
    server.call("events.add_batch", lines=[line])
    server.user.reset(task)
    assert (server.task(task)["status"], server.task(task)["last_iteration"]) == ("created", 0)
    assert server.call("events.scalar_metrics_iter_histogram", task=task) == {}


def test_a_deleted_task_is_unknown_and_its_children_say_so(server: ClearmlServer, base: str) -> None:
    parent = brought_to(server, "completed", base)
    child = server.call("tasks.clone", task=base, new_task_parent=parent)["id"]
    assert refused(server, "tasks.delete", task=parent) == (400, 123)
    server.user.delete(parent)
    assert refused(server, "tasks.get_by_id", task=parent) == (400, 101)
    assert server.task(child)["parent"] == f"__DELETED__{parent}"


def test_archiving_keeps_other_tags_and_stops_what_runs(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "in_progress", base)
    server.user.archive(task)
    assert (server.task(task)["system_tags"], server.task(task)["status"]) == (["archived"], "stopped")


def test_an_autoscaler_queues_a_task_again_under_its_id(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "in_progress", base)
    server.user.enqueue_again(task, server.queue("hpo"))
    assert server.task(task)["status"] == "queued"
    assert server.call("queues.get_next_task", queue=server.queue("hpo"))["entry"]["task"] == task


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["a"], ["a", "ab"]),
        (["a", "b"], ["a", "ab", "b"]),
        (["__$all", "a", "b"], ["ab"]),
        (["__$and", "a", "b"], ["ab"]),
        (["__$any", "a", "b"], ["a", "ab", "b"]),
        (["__$all", "a", "__$not", "b"], ["a"]),
        (["-a"], ["b", "none"]),
        (["__$not", "a"], ["b", "none"]),
        ([None], ["none"]),
        ([], ["a", "ab", "b", "none"]),
    ],
    ids=str,
)
def test_lists_of_tags_have_the_servers_grammar(server: ClearmlServer, asked: list[Any], names: list[str]) -> None:
    for name, tags in (("a", ["a"]), ("ab", ["a", "b"]), ("b", ["b"]), ("none", [])):
        server.make_task(name, tags=tags)
    found = server.call("tasks.get_all", tags=asked, only_fields=["name"])["tasks"]
    assert sorted(task["name"] for task in found) == names


@pytest.fixture
def three(server: ClearmlServer) -> None:
    """t1, t2 (runs, at iteration 5, with a comment) and t3 (a child of p)."""
    for name in ("t1", "t2", "t3"):
        made = server.make_task(name, comment="said" if name == "t2" else None)
        server.state.tasks[made] |= {"parent": "p"} if name == "t3" else {}
        if name == "t2":
            server.call("tasks.started", task=made)
            server.state.tasks[made]["last_iteration"] = 5


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"name": "^t[12]$"}, ["t1", "t2"]),
        ({"name": "T1"}, []),
        ({"status": ["in_progress"]}, ["t2"]),
        ({"order_by": ["-last_iteration"], "page_size": 1}, ["t2"]),
        ({"order_by": ["started"], "page_size": 1}, ["t2"]),
        ({"page_size": 2, "page": 1}, ["t3"]),
        ({"last_iteration": [1, None]}, ["t2"]),
        ({"last_update": [">=2100-01-01"]}, []),
        ({"parent": ["p"]}, ["t3"]),
        ({"parent": "p"}, ["t3"]),
        ({"_any_": {"fields": ["name", "comment"], "pattern": "T1|said"}}, ["t1", "t2"]),
        ({"_all_": {"fields": ["name", "comment"], "pattern": "t2|said"}}, ["t2"]),
    ],
    ids=str,
)
def test_tasks_are_found_by(server: ClearmlServer, asked: dict[str, Any], names: list[str]) -> None:
    assert [task["name"] for task in server.call("tasks.get_all", **asked)["tasks"]] == names


def test_more_than_500_tasks_come_in_pages_or_by_scroll(server: ClearmlServer) -> None:
    made = [server.make_task(f"task {at}") for at in range(501)]
    pages = [server.call("tasks.get_all", page=page, page_size=1000)["tasks"] for page in range(3)]
    assert [len(page) for page in pages] == [500, 1, 0]
    first = server.call("tasks.get_all", scroll_id=None, size=300, only_fields=["id"])
    second = server.call("tasks.get_all", scroll_id=first["scroll_id"], size=300, only_fields=["id"])
    assert [task["id"] for task in first["tasks"] + second["tasks"]] == made


def test_hidden_tasks_are_found_only_when_asked_for(server: ClearmlServer) -> None:
    hidden = server.make_task("hidden", system_tags=["hidden"])
    assert server.call("tasks.get_all")["tasks"] == []
    assert len(server.call("tasks.get_all", search_hidden=True)["tasks"]) == 1
    assert len(server.call("tasks.get_all", id=[hidden])["tasks"]) == 1


def test_setting_tags_is_no_sign_of_life(server: ClearmlServer, base: str) -> None:
    before = server.task(base)["last_update"]
    server.clock.advance(60)
    server.user.tag(base, ["x"])
    assert server.task(base)["last_update"] == before
    server.call("tasks.ping", task=base)
    assert server.task(base)["last_update"] > before


def test_active_duration_is_the_time_from_start_to_the_last_report(server: ClearmlServer, base: str) -> None:
    task = brought_to(server, "in_progress", base)
    server.clock.advance(30)
    server.call("tasks.ping", task=task)
    server.clock.advance(30)
    server.call("tasks.completed", task=task)
    assert server.task(task)["active_duration"] == 30


def test_a_worker_is_there_while_it_reports(server: ClearmlServer) -> None:
    server.call("workers.register", worker="w", queues=[server.queue("hpo")], timeout=600)
    assert [worker["id"] for worker in server.call("workers.get_all")["workers"]] == ["w"]
    server.clock.advance(601)
    assert server.call("workers.get_all")["workers"] == []
    assert refused(server, "workers.status_report", worker="w", timestamp=1) == (400, 1001)
