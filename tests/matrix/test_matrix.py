"""Every sampler and pruner x {1, 4 in flight} x {left alone, killed at random} x {first run, decided again}: bit-equal.

All cells are run, none is left out by default; the row of GPSampler where torch is installed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventhpo.controller.controller import Controller
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from tests.crash.test_crash_sweep import RungsLost
from tests.matrix import table
from tests.matrix.cells import CELLS, GP, IN_FLIGHT, ROWS, Cell, measure, names_in, scenario
from tests.matrix.controls import AskedTwice, OneSampler, RungsNotRestored
from tests.matrix.elsewhere import Elsewhere, surroundings
from tests.memory import MEMORY

LEARN = {"TPESampler", "CmaEsSampler", "NSGAIISampler", "NSGAIIISampler", "GPSampler"}
NEVER_LEARN = {"RandomSampler", "GridSampler", "BruteForceSampler"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@pytest.mark.parametrize("row", ROWS)
def test_every_cell_of_a_sampler_or_pruner_is_bit_equal(row: str, folder: Path, elsewhere: Elsewhere) -> None:
    search = scenario(row, 1).search
    measured = measure(row, folder, elsewhere)
    assert {str(cell): f.parted for cell, f in measured.cells.items() if f.parted} == {}
    assert set(measured.cells) == set(CELLS)
    for n, found in measured.evidence.items():
        assert found.suggested > 10
        assert len({f.decisions for cell, f in measured.cells.items() if cell.in_flight == n}) == 1
        # Else the cell proves nothing: a random phase is easily equal, and so is a pruner that never prunes.
        if learner(search.sampler) in LEARN:
            assert found.learned > 2, n
        if learner(search.sampler) in NEVER_LEARN:
            assert found.learned == 0, n
        if search.pruner.name != "NopPruner":
            assert found.pruned > 0, n


def learner(sampler: ComponentConfig) -> str:
    """Return the class that proposes: below fixed parameters, the one that they are laid over."""
    *_, last = (
        (n for n in names_in(sampler) if n.endswith("Sampler")) if sampler.name == "PartialFixedSampler" else ("",)
    )
    return last or sampler.name


def test_the_other_process_has_another_hash_seed_time_zone_and_locale(elsewhere: Elsewhere) -> None:
    here, there = surroundings(), elsewhere.surroundings()
    assert here.text_hash != there.text_hash
    assert here.offset != there.offset
    assert (here.locale, here.encoding) != (there.locale, there.encoding)


# ---------------------------------------------------------------- controls: these cells must be red

KILLED = {cell for cell in CELLS if cell.killed}
AGAIN = {cell for cell in CELLS if cell.again}
CONTROLS: list[tuple[type[Controller], str, set[Cell]]] = [
    # Left alone it runs twice alike, which is why nobody sees it: only a kill, or deciding again, shows it.
    (OneSampler, "tpe, one by one", KILLED | AGAIN),
    (OneSampler, "nsga2", KILLED | AGAIN),
    (OneSampler, "cma-es", KILLED | AGAIN),
    # A function of the log all the same, so that a killed run ends alike; but of the second answer.
    (AskedTwice, "halving", AGAIN),
    (AskedTwice, "hyperband", AGAIN),
    (AskedTwice, "median", set()),
    # Kept in the log and not shown again: only who was killed goes on from less.
    (RungsNotRestored, "brute force", KILLED),
    (RungsNotRestored, "sets, brute force", KILLED),
    (RungsNotRestored, "median", set()),
    # Not even kept in the log.
    (RungsLost, "brute force", KILLED | AGAIN),
]


@pytest.mark.parametrize(
    ("control", "row", "red"), CONTROLS, ids=[f"{control.__name__}, {row}" for control, row, _ in CONTROLS]
)
def test_a_controller_that_is_wrong_turns_just_these_cells_red(
    control: type[Controller], row: str, red: set[Cell], folder: Path, elsewhere: Elsewhere
) -> None:
    measured = measure(row, folder, elsewhere, control)
    assert {str(cell) for cell in measured.red} == {str(cell) for cell in red}


# ---------------------------------------------------------------- the page


def made_lines() -> list[str]:
    text = table.PAGE.read_text()
    return text[text.index(table.BEGIN) : text.index(table.END)].splitlines()[1:]


def test_the_page_has_a_row_for_each_search_here_and_a_column_for_each_cell() -> None:
    says, _, *lines = made_lines()
    assert lines[:2] == table.head()
    assert says.startswith(f"{len(ROWS) - 1} searches, {(len(ROWS) - 1) * len(CELLS)} cells, ")
    found = [row.strip("| ").split(" | ") for row in lines[2:]]
    assert [columns[:2] for columns in found] == [table.label(row) for row in ROWS if row != GP]


def test_the_page_shows_no_cell_that_differs() -> None:
    says, _, *lines = made_lines()
    assert ", 0 cells differ (" in says
    for row in lines[2:]:
        cells = row.strip("| ").split(" | ")[2:]
        assert all(re.fullmatch(r"\d+", cell) for cell in cells[: len(CELLS)]), row
        assert len(cells) == len(CELLS) + 2 * len(IN_FLIGHT)


def test_every_sampler_pruner_crossover_and_mutation_has_a_row() -> None:
    rows = "\n".join(made_lines())
    missing = {name for parts in CATALOGUE.values() for name in parts if f"`{name}`" not in rows}
    assert missing == {"GPSampler"}  # it needs torch; the page says what was measured with it
