"""top --same-code: only the trials that ran the code of the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.event_parts import Provenance
from eventhpo.log import reader
from eventhpo.views import same_code
from tests.cli.harness import data, invoke, simulated
from tests.replay.forging import changed, with_provenance

SAME = Provenance(script="train.py", script_hash="aa", commit="c1", dirty=False)


def numbers(*words: object) -> list[int]:
    return [row["trial"] for row in data("top", *words)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    simulated(tmp_path / "log.db")
    return tmp_path / "log.db"


@pytest.mark.parametrize(
    "other",
    [
        {"script_hash": "bb"},
        {"commit": "c2"},
        {"dirty": True, "diff_sha256": "dd"},
        {"dirty": True},
        {"data_sha256": "ff"},
        {"script": None, "script_hash": None, "commit": None},
    ],
)
def test_trials_with_other_or_unknown_code_are_left_out(log: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    ranked = numbers(log, "-k", 1000)
    outsider = ranked[1]
    mixed = with_provenance(
        tmp_path / "mixed.db",
        reader.read(log).rows,
        lambda trial: changed(SAME, **other) if trial == outsider else SAME,
    )
    assert numbers(mixed, "-k", 1000) == ranked
    assert numbers(mixed, "-k", 1000, "--same-code") == [n for n in ranked if n != outsider]
    assert numbers(mixed, "-k", 2, "--same-code") == [ranked[0], ranked[2]]


def test_code_that_the_log_does_not_know_is_refused_and_not_guessed(log: Path) -> None:
    result = invoke("top", log, "--same-code")
    assert result.exit_code == 2
    assert "leave out --same-code" in result.stderr


def test_a_change_of_code_is_told_by_status_and_postmortem_with_the_trial_that_ran_it_first(
    log: Path, tmp_path: Path
) -> None:
    edited = changed(SAME, script_hash="bb", dirty=True, diff_sha256="dd")
    committed = changed(edited, commit="c2", dirty=False, diff_sha256=None)
    mixed = with_provenance(
        tmp_path / "mixed.db",
        reader.read(log).rows,
        lambda trial: SAME if trial < 2 else edited if trial < 3 else committed,
    )
    for command in ("status", "postmortem"):
        changes = data(command, mixed)["code_changes"]
        assert [(c["trial"], c["script_changed"], c["commit_changed"], c["changes_changed"]) for c in changes[:1]] == [
            (2, True, False, True)
        ]
        assert any(c["commit_changed"] and c["trial"] >= 3 for c in changes)
        assert "on: another train.py, other changes to the commit" in invoke("postmortem", mixed).stdout
        assert "while it ran, the last from trial" in invoke("status", mixed).stdout


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("numpy==2.0\nscipy==1.0\n", "numpy==2.1\nscipy==1.0\n", " (numpy)"),
        ("numpy==2.0\n", "numpy==2.0\ntorch==2.9\n", " (torch)"),
        ("a==1\nb==1\nc==1\nd==1\ne==1\n", "x==1\n", " (a, b, c and 3 more)"),
        ("aa 4 my file.csv\nbb 2 b\n", "missing 0 my file.csv\nbb 2 b\n", " (my file.csv)"),
        ("", "numpy==2.0\n", ""),
    ],
)
def test_what_differs_between_two_lists_is_named(before: str, now: str, told: str) -> None:
    assert same_code._differing("old", "new", {"old": before, "new": now}) == told


def test_code_that_stays_or_is_not_known_is_no_change(log: Path, tmp_path: Path) -> None:
    same = with_provenance(tmp_path / "same.db", reader.read(log).rows, lambda trial: SAME)
    assert data("status", same)["code_changes"] == data("status", log)["code_changes"] == []
    half = with_provenance(
        tmp_path / "half.db", reader.read(log).rows, lambda trial: changed(SAME, dirty=True) if trial % 2 else SAME
    )
    assert data("postmortem", half)["code_changes"] == []
