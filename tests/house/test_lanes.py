"""The lanes of the suite: what `python -m pytest` leaves out, `.ci/run` runs as a step of its own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import LONG_SWEEPS
from tests.house.test_structure import ROOT

OPTIONS = shlex.split(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"])
FAST, SLOW = "tests/house/test_timeout.py", "tests/matrix/test_processes.py"


def left_out() -> set[str]:
    """Return the markers that the default configuration leaves out."""
    terms = OPTIONS[OPTIONS.index("-m") + 1].split(" and ")
    assert all(term.startswith("not ") for term in terms)
    return {term.removeprefix("not ") for term in terms}


def collected(*options: str) -> set[str]:
    """Return which of two files pytest picks tests from, with *options*."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *options, FAST, SLOW], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}


def test_the_continuous_integration_runs_what_the_default_leaves_out() -> None:
    steps = re.findall(r"^.* -m pytest(.*)$", (ROOT / ".ci" / "run").read_text(), flags=re.M)
    picked = [shlex.split(step) for step in steps]
    assert [] in picked
    assert {options[options.index("-m") + 1] for options in picked if "-m" in options} == left_out()


def test_every_long_sweep_is_there() -> None:
    assert [name for name in LONG_SWEEPS if not (ROOT / "tests" / name).exists()] == []


@pytest.mark.parametrize(("options", "files"), [((), {FAST}), (("-m", "slow"), {SLOW}), (("-m", ""), {FAST, SLOW})])
def test_the_long_sweeps_are_left_out_by_default_and_picked_by_their_marker(
    options: tuple[str, ...], files: set[str]
) -> None:
    assert collected(*options) == files
