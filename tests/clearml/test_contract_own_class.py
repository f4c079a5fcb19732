"""The contract of a backend, as far as jobs of a user's own class can keep it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clearml.automation import ClearmlJob
from clearml.backend_interface.base import InterfaceBase

from eventhpo.jobs.clearml.launch import Labels
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.clearml.user_job_class import OwnJobs
from eventhpo.testing import contract
from tests.clearml.test_contract import Tasks
from tests.clearml_server import ClearmlServer


class Mine(ClearmlJob):
    """A class of a user's own that does nothing of its own."""


class Quick(OwnJobs):
    """The backend, without its pauses."""

    def _pace(self, *args: object) -> None:
        self.shortest_wait = 0.01


class OwnTasks(Tasks):
    def backend(self) -> OwnJobs:
        return Quick(Server(self.search_id), self._asked, Labels, Mine)


@pytest.fixture
def place(server: ClearmlServer) -> Iterator[OwnTasks]:
    InterfaceBase._default_session = None  # the SDK keeps one for the life of a process
    yield OwnTasks(server)
    InterfaceBase._default_session = None


class TestOwnJobs(contract.JobsContract):
    patience = 30.0
