"""The search file that a search came from, as it is today."""

from __future__ import annotations

import tomllib
from pathlib import Path

from eventhpo.core.search.spec import LocalCommand, Search

MOST = 50  # search files that are looked at: a folder of data may hold thousands of other files


def changed_keys(search: Search) -> list[tuple[Path, list[str]]]:
    """Return the search file of *search* with the keys that differ, or nothing if none does.

    It is the file that the search was made from. Logs of earlier code do not have its
    name: there it is the one file in the folder of the jobs that names this search, or the
    only search file there. A file that cannot be read any more has changed as a whole.
    """
    path = _file_of(search)
    if path is None:
        return []
    from eventhpo.search_file import SearchFileMistaken, differences, load  # noqa: PLC0415  only if there is a file

    try:
        loaded = load(path)
    except SearchFileMistaken:
        return [(path, ["all of it, as it has mistakes now (see `eventhpo check`)"])]
    keys = differences(search, loaded.search, drawn_seed=loaded.drawn_seed)
    return [(path, keys)] if keys else []


def _file_of(search: Search) -> Path | None:
    if not isinstance(search.jobs, LocalCommand):
        return None
    folder = Path(search.jobs.folder)
    if search.jobs.file:
        made_from = folder / search.jobs.file
        return made_from if made_from.is_file() else None
    try:
        candidates = sorted(folder.glob("*.toml"))[:MOST]
    except OSError:
        return None
    names = {path: name for path in candidates if (name := _name(path)) is not None}
    named = [path for path, name in names.items() if name == search.name] or list(names)
    return named[0] if len(named) == 1 else None


def _name(path: Path) -> object:
    """Return the name of the search in the file at *path*, None if it describes none."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return tables.get("name", path.stem) if "command" in tables and "objective" in tables else None
