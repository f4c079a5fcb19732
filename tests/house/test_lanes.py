"""The lanes of the suite: what `python -m pytest` leaves out, `.ci/run` runs as a step of its own."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from tests.house.test_structure import ROOT
from tests.lanes import DURATIONS, FAST_BELOW, LONG_SWEEPS, SLOW_FROM

OPTIONS = shlex.split(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"])
FAST, SLOW = "tests/house/test_timeout.py", "tests/matrix/test_processes.py"


def left_out() -> set[str]:
    """Return the markers that the default configuration leaves out."""
    terms = OPTIONS[OPTIONS.index("-m") + 1].split(" and ")
    assert all(term.startswith("not ") for term in terms)
    return {term.removeprefix("not ") for term in terms}


def collected(*options: str) -> list[str]:
    """Return the node ids that pytest picks with *options*."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 5}, done.stdout  # 5: no test is picked
    return [line for line in done.stdout.splitlines() if "::" in line]


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
    assert {line.partition("::")[0] for line in collected(*options, FAST, SLOW)} == files


@pytest.mark.parametrize(
    ("least", "lanes"),
    [(SLOW_FROM, {"slow"}), (FAST_BELOW, {"not slow and not install"}), (0.0, {"not slow and not install", "fast"})],
)
def test_a_function_is_in_the_lanes_of_its_seconds(least: float, lanes: set[str]) -> None:
    most = {SLOW_FROM: float("inf"), FAST_BELOW: SLOW_FROM, 0.0: FAST_BELOW}[least]
    seconds = {name: took for name, took in json.loads(DURATIONS.read_text()).items() if "test_lanes" not in name}
    seconds[f"{FAST}::test_every_test_has_a_time_out_that_no_healthy_one_comes_near"] = (
        0.0  # in no table: less than a fifth of a second
    )
    function = next(name for name, took in seconds.items() if least <= took < most and picks(name, ""))
    assert {lane for lane in ("slow", "fast", "not slow and not install") if picks(function, lane)} == lanes


def picks(function: str, lane: str) -> bool:
    """Return whether pytest picks a test of *function* in *lane*."""
    path = function.partition("::")[0]
    return (ROOT / path).exists() and any(line.startswith(function) for line in collected("-m", lane, path))
