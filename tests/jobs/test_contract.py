"""The contract of a backend, kept by processes on this machine."""

from __future__ import annotations

import pytest

from eventhpo.jobs.local.local_jobs import LocalBackend
from eventhpo.jobs.protocol import BoundJob
from eventhpo.testing import contract
from tests.jobs import harness

SCRIPT = (
    harness.LEDGER
    + """
import json, sys
with open(os.environ["EVENTHPO_PARAMS"]) as file:
    asked = json.load(file)
lines = [
    json.dumps({"title": "validation", "series": "accuracy", "iteration": i, "value": i / 8}) + "\\n"
    for i in range(asked["General/points"])
]
with open(os.environ["EVENTHPO_REPORTS"], "a") as file:
    file.write("".join(lines))
if asked["General/then"] != "hang":
    sys.exit(int(asked["General/then"].removeprefix("exit ")))
"""
    + harness.FOREVER
)


class Processes(contract.Place):
    """Processes that behave as their parameters say, and enter their keys in a ledger."""

    def __init__(self, place: harness.Place) -> None:
        super().__init__(place.search_id)
        self._place = place
        place.script(SCRIPT)

    def backend(self) -> LocalBackend:
        return self._place.backend()

    def runs(self, key: str) -> int:
        return self._place.ledger()[key]

    def made(self, key: str) -> int:
        return len(list(self._place.jobs_folder.glob(key.replace(":", "_"))))

    def spoil(self, job: BoundJob) -> BoundJob:
        """Neither can its lock be taken nor its reports be read."""
        folder = self._place.attempt(job)
        folder.job_lock.mkdir()
        folder.reports.mkdir()
        return job


class TestLocalJobs(contract.JobsContract):
    @pytest.fixture
    def place(self, place: harness.Place) -> Processes:
        return Processes(place)


class TestLocalJobsWithAStranger(contract.JobsContract):
    """Its bad job is one whose folder is not there, as it comes with a `Place`."""

    @pytest.fixture
    def place(self, place: harness.Place) -> contract.Place:
        return WithAStranger(place)


class WithAStranger(Processes):
    def spoil(self, job: BoundJob) -> BoundJob:
        return contract.Place.spoil(self, job)
