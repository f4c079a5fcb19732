"""What the fixture `assert_replays` does (`eventhpo/testing/pytest_plugin.py`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from replay.decide.report import Report


class AssertReplays(Protocol):
    """Fail the test unless today's code decides the log at *path* as it was recorded."""

    def __call__(
        self,
        path: str | os.PathLike[str],
        *,
        sampler: BaseSampler | str | None = None,
        pruner: BasePruner | str | None = None,
        processes: int = 1,
    ) -> Report:
        """Return the report of a log that is decided again alike; see `replay.decide.redecide`."""


def check(
    path: str | os.PathLike[str],
    *,
    sampler: BaseSampler | str | None = None,
    pruner: BasePruner | str | None = None,
    processes: int = 1,
) -> Report:
    """Return the report of the log at *path*; fail the test unless today's code decides it as it was recorded."""
    from eventhpo.errors import EventhpoError  # noqa: PLC0415
    from replay.decide import render  # noqa: PLC0415  starting pytest must not cost Optuna
    from replay.decide.redecide import redecide  # noqa: PLC0415

    try:
        report = redecide(path, raise_on_divergence=False, processes=processes, sampler=sampler, pruner=pruner)
    except EventhpoError as error:
        pytest.fail(str(error), pytrace=False)  # it says what to do; where it was raised helps nobody
    if report.verdict in ("diverged", "damaged"):
        pytest.fail("\n".join(render.render_report(report)), pytrace=False)
    return report
