"""Jobs that run inside the server: no process, one step at each poll or on command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.clearml_server import events, queues, running, workers
from tests.clearml_server.clock import stored
from tests.clearml_server.endpoints import Api
from tests.clearml_server.state import Document

Point = tuple[int, str, str, float]  # iteration, title, series, value


@dataclass(frozen=True)
class Script:
    """What one job does: its points, iteration by iteration, then its end (None: it runs for ever).

    *step* iterations are reported at each step. *hears_stop*: when asked to stop it ends as stopped, as under an agent;
    else it goes on.
    """

    points: Sequence[Point] = ()
    end: str | None = "completed"
    step: int = 1
    hears_stop: bool = True
    message: str = ""

    @classmethod
    def curve(
        cls, title: str, series: str, values: Sequence[float], *, end: str | None = "completed", step: int = 1
    ) -> Script:
        """One value for each iteration from 1."""
        return cls([(at, title, series, value) for at, value in enumerate(values, 1)], end=end, step=step)


@dataclass
class Running:
    script: Script
    at: int = 0


@dataclass
class Scripted:
    """The worker of scripted jobs: at each step it takes what is queued, and every job of it goes one step.

    With *slow* it starts a task a step after it took it from its queue, whatever became of it in between, as an agent
    does.
    """

    play: Callable[[Document], Script | None]
    on: str | None = "tasks.get_all"
    slots: int | None = None
    worker: str = "scripted:0"
    dead: bool = False
    slow: bool = False
    taken: dict[str, Script] = field(default_factory=dict)  # and not started yet
    jobs: dict[str, Running] = field(default_factory=dict)

    def step(self, api: Api) -> None:
        if self.dead:
            return
        self._report(api)
        for task_id in list(self.taken):
            self._start(api, task_id, self.taken.pop(task_id))
        self._take(api)
        for task_id, job in list(self.jobs.items()):
            self._go_on(api, task_id, job)

    def _report(self, api: Api) -> None:
        workers.register(api, {"worker": self.worker, "queues": list(api.state.queues)})
        first = next((task for task in self.jobs if task in api.state.tasks), None)
        workers.status_report(api, {"worker": self.worker, "timestamp": 0, "task": first})

    def _take(self, api: Api) -> None:
        for queue in list(api.state.queues.values()):
            while queue["entries"] and (self.slots is None or len(self.jobs) < self.slots):
                entry = queues.get_next_task(api, {"queue": queue["id"]})["entry"]
                task = api.state.tasks.get(entry["task"])
                script = self.play(task) if task is not None and task["status"] == "queued" else None
                if script is None:
                    continue
                if self.slow:
                    self.taken[task["id"]] = script
                else:
                    self._start(api, task["id"], script)

    def _start(self, api: Api, task_id: str, script: Script) -> None:
        message = f"Changed by clearml-agent {self.worker}"
        running.started(api, {"task": task_id, "status_message": message, "force": True})
        self.jobs[task_id] = Running(script)

    def _go_on(self, api: Api, task_id: str, job: Running) -> None:
        task = api.state.tasks.get(task_id)
        if task is None or task["status"] != "in_progress":
            del self.jobs[task_id]
            return
        now = stored(api.clock.now())
        task.update(last_worker=self.worker, last_worker_report=now, last_update=now)
        script = job.script
        if task["status_message"] == "stopping" and script.hears_stop:
            running.stopped(api, {"task": task_id, "status_reason": "worker execution exit code -1"})
            del self.jobs[task_id]
            return
        steps = sorted({point[0] for point in script.points})
        due = steps[job.at : job.at + script.step]
        job.at += len(due)
        points = [point for point in script.points if point[0] in due]
        if points:
            events.add_batch(api, {"lines": [self._event(task_id, *point) for point in points]})
        if job.at >= len(steps) and script.end is not None:
            end = {"completed": running.completed, "failed": running.failed, "stopped": running.stopped}[script.end]
            end(api, {"task": task_id, "status_reason": script.end, "status_message": script.message})
            del self.jobs[task_id]

    def _event(self, task_id: str, iteration: int, title: str, series: str, value: float) -> Document:
        return {"type": events.SCALAR, "task": task_id, "iter": iteration, "metric": title, "variant": series,
                "value": value, "worker": self.worker}  # fmt: skip
