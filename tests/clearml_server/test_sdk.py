"""The real SDK accepts the server, and what it does when the server fails is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.clearml_server import ClearmlServer, Script
from tests.clearml_server.sdk import LONG, SESSION, sdk
from tests.waiting import eventually


def test_the_sdk_logs_in_again_when_its_token_ended(server: ClearmlServer, base: str) -> None:
    """Its first request is answered with 401 twice: it logs in again, and repeats the request with the old token."""
    script = SESSION + (
        "import urllib.request\n"
        "sys.stdout.write(json.dumps([session.send(tasks.PingRequest(task=base)).meta.result_code]))\n"
        "sys.stdout.flush(); sys.stdin.readline()\n"
        "codes = [session.send(tasks.PingRequest(task=base)).meta.result_code for _ in range(2)]\n"
        "sys.stdout.write(json.dumps(codes))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, base]
    environment = {**os.environ, **server.environment()}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: server.count("tasks.ping") == 1)
        server.expire_tokens()
        out, _ = process.communicate("\n", timeout=LONG)
    assert out == "[200][401, 200]"
    assert server.count("auth.login") == 2


@pytest.mark.parametrize(
    ("how", "clones"),
    [("reset", 1), ("502", 1), ("no_meta", 1), ("not_json", 1), ("half", 2)],
)
def test_what_one_request_of_the_sdk_without_retries_does_when_its_answer_is_lost(
    server: ClearmlServer, base: str, how: Any, clones: int
) -> None:
    """Half an answer is repeated by the session itself, whatever its retries: the clone is made twice."""
    server.fail("tasks.clone", how, effect="after")
    script = SESSION + "try: session.send(tasks.CloneRequest(task=base))\nexcept Exception as wrong: pass\n"
    sdk(server, script, base)
    assert len(server.state.tasks) - 1 == clones


def test_scripted_jobs_are_searched_by_a_controller_with_the_real_sdk(server: ClearmlServer, base: str) -> None:
    server.script(lambda task: Script.curve("validation", "accuracy", [float(task["name"]), 1.0]))
    script = (
        SESSION
        + """
names = [str(at) for at in range(20)]
made = [session.send(tasks.CloneRequest(task=base, new_task_name=name)).response.id for name in names]
for task in made:
    session.send(tasks.EnqueueRequest(task=task, queue=sys.argv[2]))
door = {"X-Eventhpo-Door": "poll"}
for _ in range(9):
    ask = tasks.GetAllRequest(id=made, only_fields=["id", "status"])
    found = session.send(ask, headers=door).response_data["tasks"]
    if all(task["status"] == "completed" for task in found):
        break
asked = events.MultiTaskScalarMetricsIterHistogramRequest(tasks=made)
curves = session.send(asked).response_data["metrics"]["validation"]["accuracy"]
sys.stdout.write(json.dumps([curves[task]["y"] for task in made]))
"""
    )
    curves = json.loads(sdk(server, script, base, server.queue("hpo")))
    assert curves == [[float(at), 1.0] for at in range(20)]
    assert server.count("tasks.get_all", header=("X-Eventhpo-Door", "poll")) == 2


def test_a_task_of_the_sdk_finds_tags_artifacts_values_and_its_log_again(server: ClearmlServer) -> None:
    script = """
import json, sys
from clearml import Task
task = Task.init(project_name="p/q", task_name="x", auto_connect_frameworks=False, auto_resource_monitoring=False)
task.add_tags(["one"])
task.set_parameter("General/a", 3)
task.upload_artifact("art", {"a": 1}, wait_on_upload=True)
task.get_logger().report_single_value("sv", 3.0)
task.get_logger().report_table("tab", "ser", iteration=0, table_plot=[["a"], [1]])
task.flush(wait_for_uploads=True)
clone = Task.clone(task, name="clone", parent=task.id)
seen = {
    "artifact": Task.get_task(task.id).artifacts["art"].get(),
    "parameters": clone.get_parameters(),
    "found": len(Task.get_tasks(project_name="p/q", tags=["one"])),
    "drafts": Task.query_tasks(project_name="p/q", task_filter={"status": ["created"]}) == [clone.id],
    "values": task.get_last_scalar_metrics()["Summary"]["sv"]["last"],
}
clone.set_archived(True)
Task.enqueue(clone, queue_name="hpo")
seen["queued"] = clone.status
Task.dequeue(clone)
clone.mark_started()
clone.mark_failed()
seen["failed"] = clone.status
clone.reset(force=True)
clone.set_user_properties(a=1)
seen["deleted"] = bool(clone.delete(raise_on_error=True))
sys.stdout.write("\\n" + json.dumps(seen))
"""
    seen = json.loads(sdk(server, script).splitlines()[-1])
    assert seen == {
        "artifact": {"a": 1},
        "parameters": {"General/a": "3"},
        "found": 2,
        "drafts": True,
        "values": 3.0,
        "queued": "queued",
        "failed": "failed",
        "deleted": True,
    }
