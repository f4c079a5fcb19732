"""Every standard stream may be missing, as in a daemon: nothing crashes, and nothing is silent that can be said."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eventhpo.core.fold.events import JobEnded
from tests.cli.harness import Place, ended

SIDES = ("<&-", ">&-", "2>&-")
MISSING = [" ".join(some) for n in (1, 2, 3) for some in itertools.combinations(SIDES, n)]


def call(place: Place, missing: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command by a shell that closes the streams in *missing*."""
    line = f"{shlex.join([sys.executable, '-m', 'eventhpo', *words])} {missing}"
    return subprocess.run(
        ["sh", "-c", line], cwd=place.folder, text=True, capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize("missing", MISSING)
def test_a_search_runs_without_streams(place: Place, missing: str) -> None:
    done = call(place, missing, "run", "search.toml", "--log", "search.db")
    assert done.returncode == 0, done.stderr
    assert [event.how for event in place.of(JobEnded)] == ["completed"] * 4
    assert sorted(place.launches().values()) == [1] * 4
    if ">&-" in missing.split() and "2>&-" not in missing:
        assert "stdout is closed" in done.stderr
    for kept in (done.stdout, done.stderr):
        assert "Traceback" not in kept


@pytest.mark.parametrize("missing", MISSING)
def test_an_error_is_said_where_somebody_can_hear_it(place: Place, missing: str) -> None:
    done = call(place, missing, "status", "nothing.db")
    assert done.returncode == 2
    heard = done.stdout + done.stderr
    assert ("nothing.db" in heard) == (not {">&-", "2>&-"} <= set(missing.split()))


def test_no_file_of_a_search_takes_the_place_of_a_stream(place: Place) -> None:
    """What a library writes to descriptor 2 would go into the log, and a job's lock would be given away."""
    place.hold.touch()
    line = f"exec {shlex.join([sys.executable, '-m', 'eventhpo', 'run', 'search.toml', '--log', 'search.db'])}"
    child = subprocess.Popen(["sh", "-c", f"{line} <&- >&- 2>&-"], cwd=place.folder, text=True)
    place.children.append(child)
    from tests.waiting import eventually

    eventually(lambda: place.log.exists() and len(place.observed()) >= 2)
    fds = Path(f"/proc/{child.pid}/fd")
    assert {str((fds / name).readlink()) for name in "012"} == {"/dev/null"}
    place.release()
    assert ended(child)[0] == 0


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["top", "search.db"], ["verify", "search.db", "--json"]])
def test_what_cannot_be_printed_is_said_once(place: Place, words: list[str]) -> None:
    place.run()
    done = call(place, ">&-", *words)
    assert done.returncode == 0
    assert done.stderr.count("stdout is closed") == 1
