"""Run all rows and print their table.

python -m tests.benchmarks                  # a quarter of an hour on two quiet cores
python -m tests.benchmarks --short          # the same questions of few trials; its figures mean nothing
python -m tests.benchmarks --write          # and put the table into docs/benchmarks.json and docs/benchmarks.md
python -m tests.benchmarks --only as --write  # only these rows; the others stay as they were measured
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from tests.benchmarks import table
from tests.benchmarks.measure import Figure, figures
from tests.benchmarks.rows import quiet_optuna, rows


@click.command()
@click.option("--short", is_flag=True, help="Few trials.  [default: as many as the goals name]")
@click.option("--only", default="", help="Letters of the rows to run.  [default: all]")
@click.option("--write", is_flag=True, help="Write docs/benchmarks.json and docs/benchmarks.md.  [default: print]")
def main(*, short: bool, only: str, write: bool) -> None:
    """Measure what eventhpo costs next to its peers, in one run, as ratios."""
    measured: list[Figure] = []
    with tempfile.TemporaryDirectory() as kept, quiet_optuna():
        # Commands are compiled once, as they are after `pip install`, also where Python is told to keep nothing.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(kept) / "compiled")
        for row in rows(Path(kept), short=short):
            if only and row.key not in only:
                continue
            label = f"{row.key}  {row.title}"
            with click.progressbar(length=row.rounds * len(row.ways), label=label, file=sys.stderr) as bar:
                measured += figures(row, lambda bar=bar: bar.update(1))  # type: ignore[misc]
    run = table.run_of(measured, len(os.sched_getaffinity(0)))
    print(table.markdown(run), end="")
    if write and only:
        run = table.merged(msgspec.json.decode(table.JSON.read_bytes(), type=table.Run), run)
    if write:
        table.JSON.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
        table.PAGE.write_text(table.page_with(table.PAGE.read_text(), run))


if __name__ == "__main__":
    main()
