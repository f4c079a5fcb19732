"""The server as a process of its own: its url on the first line, its state over a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clearml_server.calling import Client

ROOT = Path(__file__).parents[2]


@contextmanager
def running(state: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    command = [sys.executable, "-m", "tests.clearml_server", "--port", "0", "--state", str(state), *more]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        keys = {"CLEARML_API_ACCESS_KEY": "access", "CLEARML_API_SECRET_KEY": "secret"}
        try:
            yield process, Client({"CLEARML_API_HOST": url, **keys})
        finally:
            process.kill()


def test_what_was_answered_is_known_after_a_kill_and_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with running(state, "--queue", "hpo") as (process, client):
        task = client.call("tasks.create", name="a task", type="training")["id"]
        queue = client.call("queues.get_all", name="^hpo$")["queues"][0]["id"]
        client.call("tasks.enqueue", task=task, queue=queue)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(state, "--queue", "hpo") as (process, client):
        assert client.call("tasks.get_by_id", task=task)["task"]["status"] == "queued"
        assert client.call("queues.get_next_task", queue=queue)["entry"]["task"] == task
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
