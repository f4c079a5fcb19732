"""A ClearML server as the backend of a search: checked before a controller begins, then opened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eventhpo.core.fold.events import Event, Recorded
from eventhpo.core.fold.state import State
from eventhpo.core.search.space import job_names
from eventhpo.core.search.spec import ClearmlTasks, Search
from eventhpo.errors import Unanswered, Usage
from eventhpo.jobs.clearml.base_task import DescribedSearch, described
from eventhpo.jobs.clearml.clearml_jobs import ClearmlBackend
from eventhpo.jobs.clearml.curves import Curves
from eventhpo.jobs.clearml.launch import Labels, Launcher
from eventhpo.jobs.clearml.other_controllers import Rivals
from eventhpo.jobs.clearml.reconcile import adopted, left, refuse, surveyed
from eventhpo.jobs.clearml.session import Denied, Server, Silent
from eventhpo.jobs.clearml.taken import given
from eventhpo.jobs.clearml.user_job_class import OwnJobs

logger = logging.getLogger("eventhpo.jobs.clearml")


class ClearmlChoice:
    """Tasks on the ClearML server that the SDK is configured for.

    *labels* gives parent, project and names of tasks; without a parent there, the parent is
    the optimizer's task that the log has. With *adopt*, jobs that the log has lost are taken
    up again. *job_class* gives the user's own subclass of `ClearmlJob`, or None; it is called
    when the backend is opened. *server* makes a `Server`, given the mark of its requests.
    """

    def __init__(
        self,
        *,
        labels: Callable[[], Labels] = Labels,
        adopt: bool = False,
        job_class: Callable[[], type[Any] | None] = lambda: None,
        server: Callable[[str], Server] = Server,
    ) -> None:
        self._labels = labels
        self._job_class = job_class
        self._adopt = adopt
        self._make = server
        self._server: Server | None = None

    def described(self, search: Search, *, dry: bool = False) -> tuple[Search, tuple[str, ...]]:
        """Return *search* with its base task and queue as the server describes them, and warnings.

        A project that does not exist is made, unless *dry*.

        Raises:
            Usage, Unanswered: as `base_task.described`.
        """
        described_search: DescribedSearch = described(
            self._make("new"),
            _tasks(search),
            job_names(search.space),
            search.objectives,
            values=given(search.space),
            dry=dry,
        )
        return msgspec.structs.replace(search, jobs=described_search.tasks), described_search.warnings

    def before(self, state: State, rows: Sequence[Recorded]) -> Sequence[Event]:
        """Return the jobs to adopt and the tasks left to another copy of the log; delete clones that nobody bound.

        Raises:
            DamagedLog: the log has lost its tail, or is a fork. Unanswered: the server does not answer.
        """
        server, launcher = self._on(state), self._launcher(state)
        try:
            survey = surveyed(server, launcher, state, [row.hash for row in rows])
            refuse(survey, state.head, adopt=self._adopt)
            for draft in survey.drafts:
                launcher.delete(draft.id)
            return [*left(survey.forked), *adopted(Curves(server), state, survey.lost)]
        except Silent as error:
            raise Unanswered(f"the ClearML server does not answer, so nothing was begun: {error}") from error
        except Denied as error:
            raise Usage(f"the ClearML server refuses the request, so nothing was begun: {error}") from error

    def remarks(self, state: State) -> Sequence[str]:
        """Return no lines: tasks belong to their search wherever its log is."""
        return ()

    def open(self, log: Path, state: State) -> ClearmlBackend:
        """Return the backend for the search whose log is at *log*."""
        arguments = self._on(state), _tasks(state.search), lambda: self._labelled(state)
        keys = {a.key for trial in state.trials for a in trial.attempts} | state.left
        rivals = Rivals(self._on(state), state.search_id[:12], keys)
        own = self._job_class()
        return ClearmlBackend(*arguments, rivals) if own is None else OwnJobs(*arguments, own, rivals)

    def _on(self, state: State) -> Server:
        if self._server is None:
            self._server = self._make(state.search_id[:12])
        return self._server

    def _launcher(self, state: State) -> Launcher:
        return Launcher(self._on(state), _tasks(state.search), lambda: self._labelled(state))

    def _labelled(self, state: State) -> Labels:
        labels = self._labels()
        if labels.parent is None and state.optimizer_task is not None:
            return msgspec.structs.replace(labels, parent=state.optimizer_task.task_id)
        return labels


def _tasks(search: Search) -> ClearmlTasks:
    assert isinstance(search.jobs, ClearmlTasks)
    return search.jobs
