"""The benchmarks run, and the table in the docs is the one of their JSON."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from tests.benchmarks import table
from tests.house.test_structure import ROOT


def test_the_table_in_the_docs_is_the_one_of_its_json() -> None:
    run = msgspec.json.decode(table.JSON.read_bytes(), type=table.Run)
    page = table.PAGE.read_text()
    assert table.page_with(page, run) == page
    assert {figure.row for figure in run.figures} >= set("abcdefgjlms")


def test_a_table_of_another_json_is_seen() -> None:
    run = msgspec.json.decode(table.JSON.read_bytes(), type=table.Run)
    other = msgspec.structs.replace(run, figures=run.figures[1:])
    assert table.page_with(table.PAGE.read_text(), other) != table.PAGE.read_text()


def test_rows_that_are_measured_again_take_the_place_of_the_old_ones() -> None:
    old = msgspec.json.decode(table.JSON.read_bytes(), type=table.Run)
    again = [msgspec.structs.replace(figure, median=1.0) for figure in old.figures if figure.row == "c"]
    merged = table.merged(old, msgspec.structs.replace(old, figures=again))
    assert [(f.row, f.title, f.way) for f in merged.figures] == [(f.row, f.title, f.way) for f in old.figures]
    assert {f.median for f in merged.figures if f.row == "c"} == {1.0}
    assert [f for f in merged.figures if f.row != "c"] == [f for f in old.figures if f.row != "c"]
    with pytest.raises(ValueError, match="another machine"):
        table.merged(old, msgspec.structs.replace(old, cores=old.cores + 1))


def test_each_row_runs_in_the_short_form_and_its_answers_are_equal() -> None:
    """No time is asserted: the rows themselves compare the answers of their ways."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--short"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {line[2] for line in done.stdout.splitlines() if line.startswith("| ") and line[2] != " "} >= set(
        "abcdefgjlms"
    )
