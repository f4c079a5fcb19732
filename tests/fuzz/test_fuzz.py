"""A part of the fuzzing in each run of the tests, more with --fuzz, and faults planted to see that it catches them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fuzz.loop import KINDS


def fuzzed(kind: str, examples: int, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.loop", kind, "--examples", str(examples), *more]
    environment = {name: value for name, value in os.environ.items() if name != "EVENTHPO_TRACEBACK"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reading_command_ends_well_on_a_log_of_a_stranger(kind: str, request: pytest.FixtureRequest) -> None:
    done = fuzzed(kind, int(request.config.getoption("--fuzz")))
    assert done.returncode == 0, done.stderr[-4_000:]


@pytest.mark.parametrize(
    ("plant", "told"),
    [("crash", "RuntimeError: planted"), ("run", "Forbidden: os.system"), ("import", "Forbidden: import ('this'")],
)
def test_a_planted_fault_is_caught(plant: str, told: str) -> None:
    done = fuzzed("rows", 20, "--plant", plant)
    assert done.returncode != 0
    assert told in done.stderr
