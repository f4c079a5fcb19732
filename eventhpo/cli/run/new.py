"""The command `eventhpo new`: a folder with search files and scripts to begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.core.validation.validators import Wrong, text
from eventhpo.errors import StorageFailed, Usage
from eventhpo.log import refusal

# Name in the folder, name in the package, and what is appended to the folder's name to name its search.
_FILES = (
    ("search.toml", "new_search.toml", ""),
    ("train.py", "new_train.py", ""),
    ("search_job.toml", "new_search_job.toml", "-job"),
    ("train_job.py", "new_train_job.py", "-job"),
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Write search files and scripts into a new FOLDER: they run as they are, and are yours to change.

    search.toml starts train.py with flags (argparse); search_job.toml starts
    train_job.py, which asks eventhpo.job for its parameters.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Usage(f"{folder} is in use; choose a folder that does not exist or is empty")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents(search_name(folder)):
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise StorageFailed(f"{folder} cannot be written: {refusal.why(error, folder)}") from error
    check, run = output.command("check", folder / "search.toml"), output.command("run", folder / "search.toml")
    output.data(
        [
            f"{folder / 'search.toml'}      a search over {folder / 'train.py'}, a script with flags",
            f"{folder / 'search_job.toml'}  the same over {folder / 'train_job.py'}, a script that uses eventhpo.job",
            f"to see what it would do:  {check}",
            f"to run it:                {run}",
        ]
    )


def search_name(folder: Path) -> str:
    """Return a name for the search in *folder*: the folder's own, if a search can have it."""
    try:
        return text().read(folder.resolve().name)
    except Wrong:
        return "search"


def contents(name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each file for a search called *name*."""
    for target, source, suffix in _FILES:
        content = resources.files("eventhpo.demo").joinpath(source).read_text(encoding="utf-8")
        yield target, content.replace('"NAME"', json.dumps(name + suffix, ensure_ascii=False), 1)
