"""`eventhpo.job` in a script that an agent runs as a task: real processes, the real SDK on both sides."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from clearml.automation import UniformIntegerParameterRange

from eventhpo import LocalJobs, OptimizerOptuna
from eventhpo.core.fold.events import BudgetUpdated, TrialFinished, TrialSuggested
from tests.clearml.users import ROOT, Place
from tests.clearml_server.agent import Agent, job_environment
from tests.optimizer.harness import Thread
from tests.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK reads its configuration by such calls

N = UniformIntegerParameterRange("General/n", min_value=1, max_value=3)
OFTEN = 0.002  # minutes between two polls, while real processes start


class OnAgent:
    """Searches whose jobs are real processes of an agent."""

    def __init__(self, place: Place, agent: Agent) -> None:
        self.place = place
        self.agent = agent

    def base(self, text: str, params: Mapping[str, Mapping[str, Any]]) -> str:
        """Return a base task that holds a script whole."""
        script = {"entry_point": "train.py", "working_dir": ".", "diff": textwrap.dedent(text)}
        return self.place.server.make_task("train", script=script, hyperparams=dict(params))

    def optimizer(self, base: str, **changes: Any) -> OptimizerOptuna:
        plain = {"hyper_parameters": [N], "total_max_jobs": 1, "max_iteration_per_job": None, "pool_period_min": OFTEN}
        return self.place.optimizer(base_task_id=base, **(plain | changes))

    def said(self) -> list[Any]:
        """Return what the jobs printed as JSON, in order of creation."""
        outputs = [self.agent.outputs[task["id"]] for task in self.place.tasks()]
        return [json.loads(line[5:]) for text in outputs for line in text.splitlines() if line.startswith("SAID ")]


@pytest.fixture
def on_agent(place: Place) -> Iterator[OnAgent]:
    place.jobs(None)
    environment = {**place.server.environment(), "PYTHONPATH": ROOT}
    with Agent(environment, [place.server.queue(place.queue)], slots=2) as agent:
        yield OnAgent(place, agent)


@pytest.mark.parametrize("begins", ["", "from clearml import Task\nTask.init('p', 'mine')\n"], ids=["job", "Task.init"])
def test_parameters_come_from_the_task_in_the_types_of_their_defaults(on_agent: OnAgent, begins: str) -> None:
    text = (
        begins
        + """
import json, sys
from eventhpo import job
given = job.connect({"n": 0, "rate": 0.5, "flag": True, "nothing": None, "net": {"depth": 2}, "own": "mine",
    "drop": 0.5, "name": "x"})
args = job.connect({"data": "/here"}, name="Args")
job.report_scalar("validation", "loss", given["n"], 1)
print("SAID " + json.dumps([given, args, job.active, job.trial, job.attempt, job.slot]), flush=True)
"""
    )
    base = on_agent.base(text, {"General": {"n": 1, "rate": 1, "flag": True, "nothing": None}, "Args": {"data": "/a"}})
    optimizer = on_agent.optimizer(base)
    override = {"General/n": 3, "General/rate": 0.25, "General/flag": False, "General/net/depth": 4, "Args/data": "/b"}
    override |= {"General/drop": None, "General/name": ""}  # the server has the same text for both
    job = optimizer.helper_create_job(base, parameter_override=override)
    assert job is not None
    job.launch()
    optimizer.start()
    assert on_agent.place.states() == ["completed"]
    assert on_agent.said() == [
        [
            {"n": 3, "rate": 0.25, "flag": False, "nothing": None, "net": {"depth": 4}, "own": "mine"}
            | {"drop": None, "name": ""},
            {"data": "/b"},
            *(True, 0, 0, 0),
        ]
    ]
    assert len(on_agent.place.server.state.tasks) == 3, "the place's base task, this one, and its one job"


FAILS_ONCE = """
import json, sys
from eventhpo import job
params = job.connect({"n": 0})
print("SAID " + json.dumps([job.trial, job.attempt, job.predecessor]), flush=True)
if job.attempt:
    job.resume_from(2)
else:
    job.report_scalar("validation", "loss", 3.0, 1)
    job.report_scalar("validation", "loss", float("nan"), 2)
    job.report_scalar("validation", "loss", float("inf"), 3)
    sys.exit(3)
job.report_scalar("validation", "loss", float("-inf"), 3)
job.report_scalar("validation", "loss", params["n"], 4)
"""


def test_a_retry_knows_the_attempt_before_it_and_inherits_its_curve_with_nan_and_infinities(
    on_agent: OnAgent,
) -> None:
    on_agent.optimizer(on_agent.base(FAILS_ONCE, {"General": {"n": 1}}), max_failures_per_trial=1).start()
    place = on_agent.place
    first, second = place.tasks()
    assert on_agent.said() == [[0, 0, None], [0, 1, first["id"]]]
    assert [task["status"] for task in (first, second)] == ["failed", "completed"]
    assert second["parent"] == first["parent"]
    (trial,) = place.state().trials
    before, after = (attempt.curves[0] for attempt in trial.attempts)
    assert (before.iterations, before.values[0]) == ([1, 2, 3], 3.0)
    assert math.isnan(before.values[1])
    assert before.values[2] == math.inf
    assert after.iterations[-2:] == [3, 4]
    assert after.values[-2] == -math.inf
    assert place.states() == ["completed"]
    assert [event.iterations for event in place.of(BudgetUpdated)] == [3, 2], "the retry is charged from iteration 2"


def test_a_job_whose_task_was_queued_again_is_the_same_attempt(on_agent: OnAgent, tmp_path: Path) -> None:
    text = """
import os, threading
from eventhpo import job
params = job.connect({"n": 0, "gate": ""})
job.report_scalar("validation", "loss", 1.5, 1)
while not os.path.exists(params["gate"]):
    threading.Event().wait(0.02)
job.report_scalar("validation", "loss", 0.5, 2)
"""
    place, gate = on_agent.place, tmp_path / "gate"
    on_agent.agent.slots = 1
    optimizer = on_agent.optimizer(on_agent.base(text, {"General": {"n": 1, "gate": str(gate)}}))
    running = Thread(optimizer.start)
    (job,) = eventually(lambda: [j for j in optimizer.get_running_jobs() if j.iterations() == 1], "the first point")
    place.server.user.enqueue_again(job.task_id())
    eventually(lambda: job.task_id() in on_agent.agent.ended, "the end of the first run")
    gate.touch()
    running.ended()
    (trial,) = place.state().trials
    assert len(trial.attempts) == 1
    assert trial.attempts[0].curves[0].iterations == [1, 2]
    assert place.states() == ["completed"]


SAME = """
from eventhpo import job
n = job.connect({"n": 0})["n"]
for step in (1, 2):
    job.report_scalar("validation", "loss", n / step, step)
"""


def test_a_task_that_runs_a_second_time_reports_the_same_iterations(place: Place) -> None:
    """As when its process was started anew and nobody reset the task; the SDK alone would go on behind the last one."""
    (place.folder / "train.py").write_text(SAME)
    task = place.server.make_task("train", hyperparams={"General": {"n": 1}})
    place.server.call("tasks.started", task=task, force=True)
    environment = job_environment({**place.server.environment(), "PYTHONPATH": ROOT}, task, "agent:w1")
    for _ in range(2):
        subprocess.run([sys.executable, "train.py"], cwd=place.folder, env=environment, capture_output=True, check=True)
        place.server.call("tasks.started", task=task, force=True)
    curve = place.server.call("events.scalar_metrics_iter_histogram", task=task)["validation"]["loss"]
    assert curve["x"] == [1, 2]


def decisions(place: Place) -> list[Any]:
    suggested = [(e.trial, e.params) for e in place.of(TrialSuggested)]
    return [suggested, sorted((e.trial, e.state, e.values) for e in place.of(TrialFinished))]


def test_one_script_as_a_process_here_and_as_a_task_there_gives_the_same_decisions(
    on_agent: OnAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = on_agent.place
    on_agent.optimizer(on_agent.base(SAME, {"General": {"n": 1}}), total_max_jobs=2).start()
    there = decisions(place)
    (place.folder / "train.py").write_text(SAME)
    monkeypatch.setenv("PYTHONPATH", ROOT)
    here, place.log = place.log, place.folder / "local.db"
    jobs = LocalJobs([sys.executable, "train.py"], place.folder)
    on_agent.optimizer("base", jobs=jobs, total_max_jobs=2).start()
    assert decisions(place) == there
    assert [state for _, state, _ in there[1]] == ["completed"] * 2
    place.log = here


def test_a_script_runs_alone_without_a_server_or_a_controller(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SAME + "import sys; print(n, job.active, 'clearml' in sys.modules)\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CLEARML_", "TRAINS_", "EVENTHPO_"))}
    environment |= {"PYTHONPATH": ROOT, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 False False\n"
