"""Run all cells of the determinism matrix and write the table of docs/determinism.md.

python -m tests.matrix.table
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from eventhpo.optuna_adapter.fingerprint import fingerprint
from tests.matrix.cells import CELLS, GP, IN_FLIGHT, ROWS, Cell, Measured, measure, names_in, scenario
from tests.matrix.elsewhere import Elsewhere
from tests.memory import MEMORY

PAGE = Path(__file__).parents[2] / "docs" / "determinism.md"
BEGIN, END = "<!-- made by tests/matrix/table.py -->\n", "<!-- end of what was made -->\n"


def head() -> list[str]:
    """Return the lines above the rows: a column for each cell, then what shows that it proves something."""
    columns = ["search", "what it asks", *map(_title, CELLS)]
    columns += [f"{n} in flight: learned" for n in IN_FLIGHT] + [f"{n} in flight: pruned" for n in IN_FLIGHT]
    return [_line(columns), _line(["---"] * 2 + ["--:"] * (len(columns) - 2)).replace(" ", "")]


def _title(cell: Cell) -> str:
    return (
        f"{cell.in_flight} in flight, {'killed' if cell.killed else 'left alone'}: {'again' if cell.again else 'run'}"
    )


def label(row: str) -> list[str]:
    """Return the first two columns of *row*: its name, and the classes of Optuna that it asks."""
    search = scenario(row, 1).search
    return [row, " ".join(f"`{name}`" for role in (search.sampler, search.pruner) for name in names_in(role))]


def line(row: str, measured: Measured) -> str:
    """Return the line of *row*: a number is that of the decisions compared, all of them equal."""
    cells = [f"**{f.parted.split(':')[0]}**" if f.parted else str(f.decisions) for f in measured.cells.values()]
    evidence = [measured.evidence[n] for n in IN_FLIGHT]
    learned = [f"{e.learned} of {e.suggested}" for e in evidence]
    return _line(label(row) + cells + learned + [str(e.pruned) for e in evidence])


def _line(columns: list[str]) -> str:
    return f"| {' | '.join(columns)} |"


def measured_rows() -> Iterator[tuple[str, Measured]]:
    """Yield each row that needs no torch, measured."""
    with Elsewhere() as elsewhere:
        for row in ROWS:
            if row != GP:
                with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
                    yield row, measure(row, Path(folder), elsewhere)


def written(text: str, found: Mapping[str, Measured], versions: Mapping[str, str]) -> str:
    """Return the page *text* with the table of *found* between its marks."""
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    cells = sum(f.decisions for m in found.values() for f in m.cells.values())
    red = sum(len(m.red) for m in found.values())
    of = ", ".join(f"{name} {versions[name]}" for name in ("eventhpo", "optuna", "numpy", "python"))
    says = f"{len(found)} searches, {len(found) * len(CELLS)} cells, {cells:,} decisions compared, {red} cells differ"
    says = f"{says} ({of})."
    table = "\n".join([says, "", *head(), *(line(row, m) for row, m in found.items())])
    return f"{text[:start]}{table}\n{text[end:]}"


def main() -> int:
    """Write the table; return 1 if a cell differs."""
    found = {}
    for row, measured in measured_rows():
        found[row] = measured
        sys.stderr.write(f"{row}: {sorted(map(str, measured.red)) or 'equal'}\n")
    PAGE.write_text(written(PAGE.read_text(), found, fingerprint()))
    return int(any(m.red for m in found.values()))


if __name__ == "__main__":
    sys.exit(main())
