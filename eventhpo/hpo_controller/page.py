"""The page of `eventhpo report`, for the artifact of a task."""

from __future__ import annotations

from pathlib import Path

from eventhpo.replay_package import sister


def make_report(log: Path, page: Path) -> None:
    """Write the page of the search at *log* to *page*.

    Raises:
        Usage: the packages of the extra `report` are not installed.
        DamagedLog, StorageFailed: the log cannot be read.
    """
    sister("replay.report.write").write_page(log, page)
