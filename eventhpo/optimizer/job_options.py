"""What the setters of the class say about its jobs: it counts for the jobs from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventhpo.core.search.spec import Scalar
from eventhpo.jobs.clearml.launch import Labels, default_name


class JobOptions:
    """Parent, project, names and class of the jobs.

    Args:
        base_task_id: The task that each job is a clone of.
    """

    def __init__(self, base_task_id: str) -> None:
        self._base_task_id = base_task_id
        self.parent_id: str | None = None
        self.project_name: str | None = None
        self.naming_function: Any = None  # False leaves the server's names
        self.job_class: type[Any] | None = None

    def parent(self) -> str:
        """Return the id of the jobs' parent task."""
        return self.parent_id or self._base_task_id

    def name(self, base_name: str, params: Mapping[str, Scalar]) -> str | None:
        """Return a job's name by the naming scheme, None to leave it to the server."""
        if self.naming_function is None:
            return default_name(base_name, params)
        return (self.naming_function(base_name, dict(params)) or None) if self.naming_function else None

    def labels(self, optimizer_task: Any) -> Labels:
        """Return how jobs on a ClearML server are labelled: as ClearML's class does it."""
        return Labels(
            parent=self.parent_id or getattr(optimizer_task, "id", None),
            project=getattr(optimizer_task, "project", None) if self.project_name is None else None,
            project_name=self.project_name,
            name=self.name,
        )
