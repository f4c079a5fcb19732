"""What is asked before a search begins: base task, queue, names; and what the first event records of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from eventhpo.core.search.spec import ClearmlTasks, HyperParameter, Objective, UniformParameterRange
from eventhpo.errors import Unanswered, Usage
from eventhpo.jobs.clearml import projects
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.session import ServerAnswer
from tests.clearml.harness import base_task, begin, falling, our_tasks, run, search
from tests.clearml_server import ClearmlServer
from tests.clearml_server.failing import How

T = TypeVar("T")


def reported(server: ClearmlServer, task: str, title: str = "validation", series: str = "loss") -> None:
    """Let a base task have run once."""
    event = {"type": "training_stats_scalar", "task": task, "iter": 1, "metric": title, "variant": series, "value": 0.5}
    server.call("events.add_batch", lines=[event])


def named(base: str, *names: str) -> object:
    """A search of those parameters."""
    return search(base, space=tuple(UniformParameterRange(name=n, min_value=0.0, max_value=1.0) for n in names))


def on(base: str, queue: str = "default", project: str | None = None) -> ClearmlTasks:
    return ClearmlTasks(base_task_id=base, execution_queue=queue, project=project)


def test_the_first_event_has_parameters_tags_container_and_project_of_the_base_task(server: ClearmlServer) -> None:
    base = server.make_task(
        "base",
        project="pets",
        tags=["mine"],
        container={"image": "nvidia", "arguments": "--ipc=host"},
        hyperparams={"General": {"lr": 0.1}, "Args": {"layers": [1, 2], "none": None}},
    )
    reported(server, base)
    found, warnings = ClearmlChoice().described(search(base))
    assert isinstance(found.jobs, ClearmlTasks)
    recorded = found.jobs.base
    assert recorded is not None
    assert (recorded.name, recorded.tags) == ("base", ("mine",))
    assert recorded.container == {"image": "nvidia", "arguments": "--ipc=host"}
    assert server.state.projects[recorded.project]["name"] == "pets"
    assert set(recorded.hyper_parameters) == {
        HyperParameter("General", "lr", "0.1", "float"),
        HyperParameter("Args", "layers", "[1, 2]", "list"),
        HyperParameter("Args", "none", ""),
    }
    assert found.jobs.queue == server.queue("default")
    assert warnings == ()


def test_it_takes_the_login_and_two_requests(server: ClearmlServer) -> None:
    ClearmlChoice().described(search(base_task(server)))
    assert [r.endpoint for r in server.requests.kept] == ["auth.login", "tasks.get_all", "queues.get_all"]


def test_a_queue_may_be_named_by_its_id_for_one_request_more(server: ClearmlServer) -> None:
    queue = server.queue("hpo")
    found, _ = ClearmlChoice().described(search(base_task(server), jobs=on(base_task(server), queue)))
    assert isinstance(found.jobs, ClearmlTasks)
    assert found.jobs.queue == queue
    assert server.count("queues.get_all") == 2


def test_a_queue_and_a_project_are_those_of_that_very_name(server: ClearmlServer) -> None:
    """A server may find names without regard to case."""

    class Careless:
        def call(self, endpoint: str, body: Mapping[str, object], kind: type[T]) -> ServerAnswer[T]:
            both = [{"id": "1", "name": "GPU"}, {"id": "2", "name": "gpu"}]
            return ServerAnswer(msgspec.convert({"projects": both, "queues": both}, kind), 0)

    assert (projects.queue(Careless(), "gpu"), projects.find(Careless(), "gpu")) == ("2", "2")
    assert projects.queue(Careless(), "Gpu") is None


def test_a_name_is_no_pattern(server: ClearmlServer) -> None:
    """A server reads it as one."""
    server.call("queues.create", name="gpu.a100")
    with pytest.raises(Usage, match=r"did you mean 'gpu\.a100'"):
        ClearmlChoice().described(search(base_task(server), jobs=on(base_task(server), "gpu_a100")))
    server.call("queues.create", name="gpuxa100")
    found, _ = ClearmlChoice().described(search(base_task(server), jobs=on(base_task(server), "gpu.a100")))
    assert found.jobs.queue == server.queue("gpu.a100")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("queue", "hint"),
    [("defualt", "did you mean 'default'?"), ("zzz", "there are default, hpo")],
)
def test_a_queue_that_does_not_exist_is_refused(server: ClearmlServer, queue: str, hint: str) -> None:
    with pytest.raises(Usage) as refused:
        ClearmlChoice().described(search(base_task(server), jobs=on(base_task(server), queue)))
    assert f"there is no queue '{queue}'" in str(refused.value)
    assert hint in str(refused.value)


def test_a_base_task_that_does_not_exist_is_refused(server: ClearmlServer) -> None:
    with pytest.raises(Usage, match="there is no task 0000"):
        ClearmlChoice().described(search("0" * 32))


def test_a_parameter_that_the_base_task_does_not_have_is_refused_with_those_that_it_has(server: ClearmlServer) -> None:
    base = base_task(server)
    with pytest.raises(Usage) as refused:
        ClearmlChoice().described(named(base, "General/lr", "General/widht"))
    assert "has no parameter General/widht" in str(refused.value)
    assert "did you mean General/width?" in str(refused.value)
    assert "It has: Args/data, General/lr, General/width" in str(refused.value)


def test_a_base_task_without_parameters_is_warned_of(server: ClearmlServer) -> None:
    base = server.make_task("base")
    reported(server, base)
    _, warnings = ClearmlChoice().described(named(base, "General/lr"))
    assert len(warnings) == 1
    assert "has no parameter General/lr, nor any other" in warnings[0]


def test_a_metric_that_the_base_task_has_not_reported_is_refused_with_those_that_it_has(server: ClearmlServer) -> None:
    base = base_task(server)
    reported(server, base, "valid", "loss")
    with pytest.raises(Usage, match="reported no validation/loss; it has reported: valid/loss"):
        ClearmlChoice().described(search(base))


def test_of_several_objectives_each_has_to_be_there(server: ClearmlServer) -> None:
    base = base_task(server)
    reported(server, base)
    both = (Objective("validation", "loss", "min"), Objective("validation", "size", "min"))
    with pytest.raises(Usage, match="reported no validation/size"):
        ClearmlChoice().described(search(base, objectives=both))


def test_a_base_task_that_never_reported_is_warned_of(server: ClearmlServer) -> None:
    _, warnings = ClearmlChoice().described(search(base_task(server)))
    assert len(warnings) == 1
    assert "has reported no validation/loss, nor anything else" in warnings[0]


def test_a_project_is_made_if_there_is_none(server: ClearmlServer) -> None:
    jobs = on(base_task(server), project="swe.eps")
    made, _ = ClearmlChoice().described(search(jobs.base_task_id, jobs=jobs))
    again, _ = ClearmlChoice().described(search(jobs.base_task_id, jobs=jobs))
    assert isinstance(made.jobs, ClearmlTasks)
    assert made.jobs.base is not None
    assert server.state.projects[made.jobs.base.project]["name"] == "swe.eps"
    assert again.jobs == made.jobs
    assert server.count("projects.create") == 1
    assert server.count("projects.get_all") == 2


def test_a_dry_run_makes_no_project(server: ClearmlServer) -> None:
    jobs = on(base_task(server), project="sweeps")
    ClearmlChoice().described(search(jobs.base_task_id, jobs=jobs), dry=True)
    assert server.count("projects.create") == 0


def test_jobs_stand_in_the_project_that_was_asked_for(server: ClearmlServer, path: Path) -> None:
    base = base_task(server)
    server.script(falling(server))
    begin(path, search(base, jobs=on(base, project="sweeps")))
    run(path)
    assert {server.state.projects[task["project"]]["name"] for task in our_tasks(server)} == {"sweeps"}


def test_what_is_edited_later_in_the_base_task_changes_no_job(server: ClearmlServer, path: Path) -> None:
    """Parameters, tags, container and project are those of the first event."""
    base = server.make_task(
        "base",
        tags=["mine"],
        container={"image": "one"},
        hyperparams={"General": {"lr": 0.1, "width": 8}, "Args": {"data": "a"}},
    )
    server.script(falling(server))
    begin(path, search(base))
    server.state.tasks[base].update(tags=["other"], container={"image": "two"}, name="renamed", hyperparams={})
    run(path)
    for task in our_tasks(server):
        assert task["container"] == {"image": "one"}
        assert task["name"].startswith("base: ")
        assert "mine" in task["tags"]
        assert "other" not in task["tags"]
        assert task["hyperparams"]["Args"]["data"]["value"] == "a"


@pytest.mark.parametrize("how", ["500", "502", "503", "reset", "half", "no_meta", "not_json"])
def test_a_server_that_does_not_answer_begins_nothing(server: ClearmlServer, path: Path, how: How) -> None:
    base = base_task(server)
    server.fail("queues.get_all", how, times=None)
    with pytest.raises(Unanswered, match="nothing was begun") as refused:
        begin(path, search(base))
    assert refused.value.code == 4
    assert server.count("queues.get_all") == 1
    assert not path.exists()


def test_credentials_that_are_refused_begin_nothing(server: ClearmlServer, path: Path) -> None:
    base = base_task(server)
    server.api.options.access_key = "another"
    with pytest.raises(Usage, match="does not let us in") as refused:
        begin(path, search(base))
    assert refused.value.code == 2
    assert not path.exists()
