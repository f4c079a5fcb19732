"""The live view on a real terminal: at several widths, resized, in tmux, and without colours."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, Place
from tests.waiting import eventually

pytest.importorskip("rich")
pyte = pytest.importorskip("pyte")

HEIGHT = 24
WIDTHS = (140, 80, 100)


class Terminal:
    """A pseudo-terminal with a program on it, and the screen that a person would see."""

    def __init__(self, place: Place, *words: str, width: int, **variables: str) -> None:
        self.screen = pyte.Screen(width, HEIGHT)
        self._stream = pyte.ByteStream(self.screen)
        self.received = b""
        self._ours, theirs = os.openpty()
        self._set_size(width)
        self.child = subprocess.Popen(
            [*COMMAND, *words],
            cwd=place.folder,
            env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
            | {"TERM": "xterm-256color", **variables},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  it gets SIGWINCH only so
        )
        os.close(theirs)

    def _set_size(self, width: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))

    def resize(self, width: int) -> None:
        """Make the window *width* columns wide, as a person does it with the mouse."""
        self.screen.resize(HEIGHT, width)
        self._set_size(width)

    def lines(self) -> list[str]:
        """Return the lines of the screen, empty ones left out, once all that came is drawn."""
        while select.select([self._ours], (), (), 0)[0]:
            try:
                chunk = os.read(self._ours, 65_536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if not chunk:
                break
            self.received += chunk
            self._stream.feed(chunk)
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            eventually(lambda: self.lines() is not None and self.child.poll() is not None, "the program to end")
        os.close(self._ours)


@pytest.fixture
def busy(place: Place) -> Iterator[Place]:
    """A search whose two jobs hold at their second point, after two that are over; its controller goes on."""
    place.describe(jobs=6, more="max_iteration_per_job = 2\nwall_time_limit = '8h'")
    place.running()
    yield place
    place.hold.unlink(missing_ok=True)


def is_right(lines: list[str], width: int) -> bool:
    """Whether *lines* end with one view, whole, in its order, and have no line of another one."""
    heads = [line.split()[0] for line in lines]
    tops = [n for n, line in enumerate(lines) if line.startswith("small: ")]
    if len(tops) != 1 or max(map(len, lines)) > width:
        return False
    expected = ["small:", "slot", "0", "1", "best", "budget", "budget", "time"]
    table = lines[tops[0] + 1].split()[:4] == ["slot", "trial", "status", "iter"] and "running" in lines[tops[0] + 2]
    return heads[tops[0] :] == expected and table and set(heads[: tops[0]]) == {"trial"}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_view_is_right_at_this_width(busy: Place, width: int) -> None:
    terminal = Terminal(busy, "watch", "search.db", width=width)
    try:
        eventually(lambda: is_right(terminal.lines(), width), f"the view at {width} columns: {terminal.lines()}")
        assert any("lr=" in line for line in terminal.lines()[-7:])
    finally:
        terminal.close()


def test_the_view_is_right_after_each_resize(busy: Place) -> None:
    terminal = Terminal(busy, "watch", "search.db", width=WIDTHS[0])
    try:
        for width in (*WIDTHS, 70, 140):
            terminal.resize(width)
            eventually(lambda w=width: is_right(terminal.lines(), w), f"the view at {width} columns")
    finally:
        terminal.close()


def test_the_controllers_own_view_is_drawn_anew_although_nothing_happens(place: Place) -> None:
    """Its jobs report nothing, so only the signal of the terminal tells it."""
    place.describe(jobs=6, more="max_iteration_per_job = 2\nwall_time_limit = '8h'")
    place.hold.touch()
    terminal = Terminal(place, "run", "search.toml", "--log", "search.db", width=140)
    try:
        eventually(lambda: "validation/accuracy" in "".join(terminal.lines()) and place.log.exists(), "the view")
        eventually(lambda: len(place.observed()) >= 2, "both jobs to hold")
        eventually(lambda: is_right(terminal.lines(), 140), "the view at 140 columns")
        for width in (80, 100):
            terminal.resize(width)
            eventually(lambda w=width: is_right(terminal.lines(), w), f"the view at {width} columns")
    finally:
        terminal.close()
        place.release()


def test_without_colours_the_view_has_none(busy: Place) -> None:
    terminal = Terminal(busy, "watch", "search.db", width=100, NO_COLOR="1")
    try:
        eventually(lambda: is_right(terminal.lines(), 100), "the view")
        assert not re.findall(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m", terminal.received)
    finally:
        terminal.close()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_view_is_right_in_tmux_which_wraps_old_lines_anew(busy: Place, tmp_path: Path) -> None:
    tmux = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / "tmux")]
    variables = {k: v for k, v in os.environ.items() if k not in ("TMUX", "COLUMNS", "LINES")}

    def ask(*words: str) -> str:
        done = subprocess.run(
            [*tmux, *words], cwd=busy.folder, text=True, capture_output=True, check=True, env=variables
        )
        return done.stdout

    def shown() -> list[str]:
        return [line.rstrip() for line in ask("capture-pane", "-p").splitlines() if line.strip()]

    command = " ".join([*COMMAND, "watch", "search.db"])
    ask("new-session", "-d", "-x", "140", "-y", str(HEIGHT), command)
    try:
        for width in (*WIDTHS, 70, 140):
            ask("resize-window", "-x", str(width), "-y", str(HEIGHT))
            eventually(lambda w=width: is_right(shown(), w), f"the view at {width} columns in tmux")
    finally:
        ask("kill-server")
