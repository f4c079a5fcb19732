"""Which lane each test is in, by the seconds that its function took when it was last measured.

`tests/durations.json` has the seconds of each test function, all its cases together, from a fifth of a second on. A
full run on a quiet machine writes it anew. A new test counts as fast until it was measured once: the second command
measures those.

    python -m pytest -m "not install" --write-durations
    python -m pytest -m fast --write-durations
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DURATIONS = TESTS / "durations.json"
# Each runs whole searches, killed at every point or at random.
LONG_SWEEPS = ("clearml/test_crash.py", "crash", "fuzz", "kills", "matrix", "power", "study/test_killed.py")
SLOW_FROM = 3.0  # seconds of a function from which its tests are left out of `python -m pytest`
FAST_BELOW = 0.2  # seconds of a function up to which its tests are in `python -m pytest -m fast`


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def mark(items: list[pytest.Item]) -> None:
    """Mark each of *items* as `slow`, as `fast`, or as neither. A function that was never measured counts as fast."""
    seconds: dict[str, float] = json.loads(DURATIONS.read_text())
    sweeps = [TESTS / name for name in LONG_SWEEPS]
    for item in items:
        took = seconds.get(_function(item.nodeid), 0.0)
        if took >= SLOW_FROM or any(item.path.is_relative_to(sweep) for sweep in sweeps):
            item.add_marker("slow")
        elif took < FAST_BELOW:
            item.add_marker("fast")


class Recorder:
    """A plugin that adds up what each test function took, and writes it down at the end of the run."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[_function(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        earlier: dict[str, float] = json.loads(DURATIONS.read_text())
        measured = {**earlier, **{name: round(seconds, 1) for name, seconds in self._seconds.items()}}
        kept = {name: seconds for name, seconds in sorted(measured.items()) if seconds >= FAST_BELOW}
        DURATIONS.write_text(json.dumps(kept, indent=0) + "\n")
