"""The page of a log, written to a file: for those who have no command line, as a controller on an agent."""

from __future__ import annotations

from pathlib import Path

from eventhpo.errors import not_installed
from replay.postmortem.files_on_disk import look
from replay.verified_rows import verified_rows


def write_page(log: Path, page: Path) -> None:
    """Write the page of the verified part of the log at *log* to *page*; a file that is there is replaced.

    Raises:
        Usage: there is no such log, or the packages of the extra `report` are not installed.
        DamagedLog: not one row of it can be relied on.
        Busy, StorageFailed: it cannot be read now.
    """
    try:
        from replay.report.build import explanations, of_rows  # noqa: PLC0415  an extra
        from replay.report.page import content, report_page  # noqa: PLC0415
    except ImportError as error:
        raise not_installed(f"the page of a search needs {error.name}, which is", "report") from error
    files = look(log)  # before the log is read: a controller that ends in between is not taken for killed
    verified = verified_rows(log)
    data = of_rows(verified.rows).data(
        log, files, verified.damage, cut=verified.cut, explained=explanations(verified.rows)
    )
    page.write_bytes(report_page(content(data)).encode())
