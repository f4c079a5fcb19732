"""The bar of a long walk over a log: after two seconds, on a terminal, gone before anything else is printed."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from eventhpo.cli.progress import DELAY, ProgressBar
from eventhpo.core.fold.progress import tell, told_to, tracked
from replay.decide.redecide import redecide
from tests.cli.harness import COMMAND

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
ERASED = "\r\x1b[2K"
BAR_AT_ONCE = """
import sys
from eventhpo.cli import main, progress
progress.DELAY = progress.PERIOD = 0
main(sys.argv[1:])
"""


class Screen:
    """A bar whose clock a test sets, and what it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", self.stream)
        self.bar = ProgressBar(lambda: self.now)

    def at(self, seconds: float, what: str, done: int, total: int = 100) -> str:
        """Tell the bar at a time; return what it wrote."""
        self.now = 100.0 + seconds
        before = len(self.stream.getvalue())
        self.bar(what, done, total)
        return self.stream.getvalue()[before:]


def test_a_walk_of_less_than_two_seconds_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    assert screen.at(0, "reading", 0) == screen.at(DELAY - 0.1, "reading", 90) == screen.at(DELAY, "reading", 100) == ""


def test_a_longer_one_shows_how_far_it_is_and_is_erased_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.at(0, "reading", 0)
    drawn = screen.at(DELAY, "reading", 40)
    assert "reading" in drawn
    assert "40%" in drawn
    assert screen.at(DELAY + 0.05, "reading", 41) == ""  # not drawn more often than one can see
    assert "70%" in screen.at(DELAY + 1, "reading", 70)
    assert screen.at(DELAY + 2, "reading", 100) == ERASED
    assert screen.at(DELAY + 2, "reading", 100) == ""


def test_each_walk_has_its_own_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.at(0, "reading", 0)
    screen.at(5, "reading", 50)
    assert screen.at(6, "deciding", 0) == ERASED
    assert screen.at(7, "deciding", 10) == ""
    assert "deciding" in screen.at(9, "deciding", 20)


# ---------------------------------------------------------------- who is told


def test_nobody_is_told_outside_of_the_block_and_the_items_are_the_same() -> None:
    calls: list[tuple[str, int, int]] = []
    items = [1, 2, 3]
    assert tracked(items, "walk", 3) is items
    with told_to(lambda *call: calls.append(call)):
        assert list(tracked(items, "walk", 3, every=1)) == items
    tell("walk", 1, 3)
    assert calls == [("walk", 0, 3), ("walk", 1, 3), ("walk", 2, 3), ("walk", 3, 3)]


def test_a_walk_that_is_left_early_is_over_too() -> None:
    calls: list[tuple[str, int, int]] = []
    with told_to(lambda *call: calls.append(call)):
        for _ in tracked(range(9), "walk", 9, every=1):
            break
    assert calls == [("walk", 0, 9), ("walk", 9, 9)]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_log_that_is_decided_again_says_how_far_it_is(processes: int) -> None:
    calls: list[tuple[str, int, int]] = []
    with told_to(lambda *call: calls.append(call)):
        assert redecide(LOGS / "tpe.db", processes=processes).verdict == "ok"
    far = [done for what, done, total in calls if what == "deciding again" and done < total]
    assert len(far) > 3
    assert far == sorted(far)


# ---------------------------------------------------------------- the command


def on_a_terminal(*words: str) -> str:
    """Return what a command writes on a terminal if a bar is due at once."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-c", BAR_AT_ONCE, *words])  # noqa: S606
    written = b""
    while True:
        try:
            written += os.read(terminal, 65_536)
        except OSError:  # the end, on Linux
            break
    os.waitpid(child, 0)
    os.close(terminal)
    return written.decode()


@pytest.mark.parametrize(
    "words", [("status",), ("verify", "--decide"), ("explain", "7"), ("postmortem",), ("whatif",), ("replay",)]
)
def test_on_a_terminal_a_bar_is_drawn_and_erased_before_the_answer(words: tuple[str, ...]) -> None:
    log = str(LOGS / "tpe.db")
    plain = subprocess.run([*COMMAND, words[0], log, *words[1:]], capture_output=True, text=True, check=False)
    assert "\x1b" not in plain.stdout + plain.stderr
    shown = on_a_terminal(words[0], log, *words[1:])
    assert "%" in shown.split(ERASED)[0]
    lines = shown.rpartition(ERASED)[2].splitlines()
    assert [line for line in lines if not line.startswith("note: ")] == plain.stdout.splitlines()
