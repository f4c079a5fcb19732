"""top --same-code: only the trials that ran the code of the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventhpo.core.fold.event_parts import Provenance
from eventhpo.log import reader
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
