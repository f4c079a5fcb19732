"""The page about the format is enough to read a log, and mentions all that is in one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from log_samples import append, open_at, resting

from eventhpo.core.fold import event_families, event_parts, events
from eventhpo.core.fold.codec import GENESIS, TYPES, encode
from eventhpo.log import paths, sql
from eventhpo.log.chain import row_of

PAGE = Path(__file__).parents[2] / "docs" / "log-format.md"
TEXT = PAGE.read_text()
FAMILIES = {
    "User inputs": event_families.UserInput,
    "Receipts": event_families.Receipt,
    "Observations": event_families.Observation,
    "Ticks": event_families.Tick,
    "Decisions": event_families.Decision,
    "Notes": event_families.Note,
}


def test_the_program_of_the_page_reads_a_log_with_the_standard_library_alone(path, tmp_path):
    rows = resting(path, 20)
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    script = tmp_path / "read_log.py"
    script.write_text(program)

    run = subprocess.run([sys.executable, "-I", script, path], capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert found == [
        [row.seq, row.at, row.epoch, row.cause, type(row.event).__name__, 1, json.loads(encode(row.event))]
        for row in rows
    ]
    assert set(re.findall(r"^import (\w+)", program, re.MULTILINE)) <= {"hashlib", "json", "sqlite3", "sys"}


def test_the_program_of_the_page_finds_damage(path, tmp_path):
    resting(path, 20)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"values":[0.25,', b'"values":[0.26,', 1))
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    script = tmp_path / "read_log.py"
    script.write_text(program)

    run = subprocess.run([sys.executable, "-I", script, path], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert re.search(r"damaged at seq \d+", run.stderr)


def test_the_example_of_the_page_has_the_hash_that_stands_there():
    stop = events.StopAsked(scope="run", why="enough")
    row = row_of(stop, GENESIS, 1_700_000_000_000_000, 3, None)

    assert row[7] in TEXT
    lines = [GENESIS.hash, "1", "1700000000000000", "3", "", "StopAsked", "1", row[6]]
    assert "\n".join(f"    {line}" if line else "" for line in lines) in TEXT


@pytest.mark.parametrize("family", FAMILIES)
def test_every_event_stands_in_the_table_of_its_family_with_each_of_its_fields(family):
    section = TEXT.split(f"### {family}\n")[1].split("\n### ")[0]
    table = dict(re.findall(r"^\| `(\w+)` (\|.*)$", section, re.MULTILINE))

    expected = {name: kind for name, kind in TYPES.items() if issubclass(kind, FAMILIES[family])}
    assert table.keys() == expected.keys()
    for name, kind in expected.items():
        assert _fields(table[name]) == _of(kind), name


@pytest.mark.parametrize(
    "part",
    [
        "Verdict",
        "Attr",
        "OtherSeries",
        "BadLine",
        "Provenance",
        "ImportedTrial",
        "EarlierLog",
        "NotImported",
        "JobExtras",
    ],
)
def test_every_part_of_an_event_stands_in_its_table(part):
    section = TEXT.split("### Parts of events\n")[1]
    (row,) = re.findall(rf"^\| `{part}` (\|.*)$", section, re.MULTILINE)
    kind = getattr(event_parts, part)

    assert _fields(row) == _of(kind)
    assert ("| array |" in row) == kind.__struct_config__.array_like


def _fields(row: str) -> list[tuple[str, bool]]:
    """Return the names in the last column, and whether each may be missing."""
    return [(name, mark == "?") for name, mark in re.findall(r"`(\w+)`(\??)", row.split("|")[-2])]


def _of(kind: type[msgspec.Struct]) -> list[tuple[str, bool]]:
    return [(field.encode_name, not field.required) for field in msgspec.structs.fields(kind)]


def test_the_columns_and_marks_of_the_page_are_those_of_a_log(log):
    writer, _ = open_at(log)
    append(writer, 1)
    section = TEXT.split("### `event`\n")[1].split("\n### ")[0]

    columns = [row[1] for row in writer._db.execute("PRAGMA table_info(event)")]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == columns
    for row in writer._db.execute("PRAGMA table_info(lease)"):
        assert f"`{row[1]}`" in TEXT
    assert f"{sql.APPLICATION_ID:#x}" in TEXT
    assert str(sql.APPLICATION_ID) in TEXT
    assert f"`{sql.FORMAT}`, the number of this format" in TEXT
    writer.close()


@pytest.mark.parametrize("name", [paths.wal, paths.shm, paths.head, paths.lock, paths.jobs, paths.requests])
def test_every_name_beside_a_log_is_explained(name):
    assert f"`{name(Path('/runs/search.db')).name}" in TEXT
