"""The contract of a backend, kept by tasks on a server; and a backend that breaks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from eventhpo.core.search.spec import ClearmlTasks
from eventhpo.jobs.clearml.base_task import described
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.protocol import DraftOutcome, DraftRequest
from eventhpo.testing import contract
from tests.clearml_server import ClearmlServer, Script
from tests.clearml_server.state import Document

TITLE, SERIES = contract.Place.objective.title, contract.Place.objective.series
AT_ONCE = 3  # iterations that a job reports at each look, until it has a few


class Quick(ClearmlBackend):
    """The backend, without its pauses: the server's jobs go on at each look."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.shortest_wait = 0.01

    def _pace(self, *args: object) -> None:
        """No pause."""


class Tasks(contract.Place):
    """Tasks that behave as their parameters say, run by a worker that counts them by their keys."""

    def __init__(self, server: ClearmlServer, kind: type[ClearmlBackend] = Quick) -> None:
        super().__init__()
        self._server = server
        self._kind = kind
        self._began: Counter[str] = Counter()
        base = server.make_task("base", hyperparams={"General": {"points": 1, "then": "exit 0"}})
        asked = ClearmlTasks(base_task_id=base, execution_queue="default")
        names = ("General/points", "General/then")
        self._asked = described(Server("contract"), asked, names, [self.objective], values={}).tasks
        server.script(self._play)

    def backend(self) -> ClearmlBackend:
        return self._kind(Server(self.search_id), self._asked)

    def runs(self, key: str) -> int:
        return self._began[key]

    def made(self, key: str) -> int:
        return sum(key in task["tags"] for task in self._server.state.tasks.values())

    def _play(self, task: Document) -> Script:
        self._began.update(tag for tag in task["tags"] if tag.count(":") == 3)
        have = {name: p["value"] for name, p in task["hyperparams"]["General"].items()}
        behaviour = contract.Behaviour.of({"General/points": int(have["points"]), "General/then": have["then"]})
        ends = {"exit 0": "completed", "exit 1": "failed", "hang": None}
        return Script(
            points=[(i, TITLE, SERIES, value) for i, value in behaviour.reports],
            end=ends[behaviour.then],
            step=max(AT_ONCE, behaviour.points // 2),
        )


@pytest.fixture
def place(server: ClearmlServer) -> Iterator[Tasks]:
    yield Tasks(server)
    assert server.refused == []


class TestClearmlJobs(contract.JobsContract):
    """The backend as it is."""

    patience = 20.0


class NeverLooks(Quick):
    """Negative control."""

    def draft(self, drafts: list[DraftRequest]) -> list[DraftOutcome]:  # type: ignore[override]
        return [outcome for draft in drafts for outcome in super(NeverLooks, self).draft([changed(draft)])]


def changed(draft: DraftRequest) -> DraftRequest:
    return contract.changed(draft, look=False)


def test_a_backend_that_does_not_look_makes_a_second_job_and_fails(server: ClearmlServer) -> None:
    place = Tasks(server, NeverLooks)
    with pytest.raises(AssertionError, match="is not said to be adopted"):
        contract.JobsContract().test_a_draft_with_look_adopts_the_job_of_its_key(place)
