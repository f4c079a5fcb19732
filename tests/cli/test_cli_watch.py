"""The live view of a search: what it shows, at which widths, and how `watch` follows a log."""

import io
import math
import os
import pty
import subprocess
from pathlib import Path

import msgspec
import pytest

from eventhpo.cli.run.live_table import SUMMARY, PlainLines
from eventhpo.core.fold.event_parts import TRIAL_STATES
from eventhpo.core.fold.events import ControllerStarted, Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.log import reader
from eventhpo.views.live_view import (
    BudgetBar,
    live_view,
    render_bar,
    short_names,
    sparkline,
    time_left,
)
from tests.cli.harness import COMMAND, Place

GOLDEN_LOGS = Path(__file__).parents[2] / "fixtures" / "logs"


def golden_rows() -> list[Recorded]:
    return reader.read(GOLDEN_LOGS / "rungs.db").rows


# ---------------------------------------------------------------- what is shown


def test_the_view_shows_best_running_pruned_budget_and_time() -> None:
    state = fold(golden_rows()[:100])
    view = live_view(state)
    assert view.best.startswith("trial 2: validation/loss = 0.248273  x=0.105416 kind=b")
    assert {job.trial for job in view.running} == {a.trial for t in state.active.values() for a in t.attempts if a.live}
    assert view.pruned
    assert all("not among its rung's best" in line for line in view.pruned)
    assert [bar.name for bar in view.bars] == ["iterations"]
    assert view.elapsed == state.last_at - state.created_at
    assert view.left is not None


def test_the_view_of_the_same_rows_is_the_same_and_changes_no_state() -> None:
    state = fold(golden_rows())
    assert live_view(state) == live_view(fold(golden_rows()))
    assert live_view(state).left is None  # it is over
    assert set(state.totals.trials) == set(TRIAL_STATES)


@pytest.mark.parametrize("count", range(1, 175, 7))
def test_there_is_a_view_after_any_event(count: int) -> None:
    view = live_view(fold(golden_rows()[:count]))
    assert all(0 <= bar.share <= 1 for bar in view.bars)
    assert view.left is None or view.left >= 0


def test_a_name_is_short_unless_two_would_be_alike() -> None:
    assert short_names(["General/lr", "Args/width", "a/n", "b/n", "plain"]) == {
        "General/lr": "lr",
        "Args/width": "width",
        "a/n": "a/n",
        "b/n": "b/n",
        "plain": "plain",
    }


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([5.0], "▁"),
        ([0.0, 1.0], "▁█"),
        ([1.0, math.nan, 0.0], "█x▁"),
        ([math.inf, -math.inf], "xx"),
        ([-1.7e308, 1.7e308], "▁█"),
        (list(range(20)), "▁▂▂▃▄▄▅▅▆▇▇█"),
    ],
)
def test_a_sparkline_shows_the_newest_values(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_the_time_left_goes_by_the_limit_that_is_nearest() -> None:
    bars = [BudgetBar("iterations", 10, 100, ""), BudgetBar("wall time", 30, 60, "min")]
    assert time_left(bars, 1_000) == 1_000
    assert time_left(bars[:1], 1_000) == 9_000
    assert time_left([], 1_000) is None
    assert time_left([BudgetBar("iterations", 0, 100, "")], 1_000) is None
    assert render_bar(bars[1]) == "wall time 30 of 60 min (50 %)"


def test_a_night_without_a_controller_is_no_part_of_the_pace() -> None:
    """The same log, with an hour between its first controller and the second."""
    rows = [
        msgspec.structs.replace(row, at=second * 1_000_000)
        for second, row in enumerate(reader.read(GOLDEN_LOGS / "grid.db").rows)
    ]
    starts = [k for k, row in enumerate(rows) if isinstance(row.event, ControllerStarted)]
    hour = 3_600_000_000
    later = [*rows[: starts[1]], *(msgspec.structs.replace(row, at=row.at + hour) for row in rows[starts[1] :])]
    for end in range(starts[1] + 1, len(rows) + 1):
        before, after = live_view(fold(rows[:end])), live_view(fold(later[:end]))
        assert after.elapsed == before.elapsed + hour
        assert after.left == before.left


# ---------------------------------------------------------------- on a terminal


@pytest.mark.parametrize("width", [20, 80, 100, 140])
@pytest.mark.parametrize("count", [40, 100, 174])
def test_no_line_of_the_view_is_wider_than_the_terminal(width: int, count: int) -> None:
    console_module = pytest.importorskip("rich.console")
    from eventhpo.cli.run.live_table import picture

    view = live_view(fold(golden_rows()[:count]))
    text = io.StringIO()
    console_module.Console(file=text, width=width).print(picture(view))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 3 + len(view.pruned) + len(view.bars) + bool(view.running) + len(view.running)


def test_a_hostile_name_cannot_command_the_terminal() -> None:
    console_module = pytest.importorskip("rich.console")
    from eventhpo.cli.run.live_table import picture

    state = fold(golden_rows()[:100])
    for trial in state.trials:
        trial.params = {"General/x\x1b[2J": "\x1b]0;owned\x07[red]", **trial.params}
    text = io.StringIO()
    console_module.Console(file=text, width=300).print(picture(live_view(state)))
    assert "\x1b" not in text.getvalue()
    assert "\x07" not in text.getvalue()
    assert "[red]" in text.getvalue()  # text, not markup


# ---------------------------------------------------------------- lines


def test_a_night_of_lines_has_best_and_budget_every_so_often(capsys: pytest.CaptureFixture[str]) -> None:
    rows = golden_rows()
    lines = PlainLines()
    lines(rows[:100], fold(rows[:100]))
    assert "best: " not in capsys.readouterr().err
    later = [msgspec.structs.replace(row, at=row.at + SUMMARY) for row in rows[100:]]
    lines(later, fold([*rows[:100], *later]))
    summary = capsys.readouterr().err.splitlines()[-1]
    assert "best: trial 2: validation/loss = 0.248273" in summary
    assert "iterations" in summary


def test_watching_a_log_that_is_over_ends_with_its_best(place: Place) -> None:
    place.run()
    watched = place.call("watch", "search.db")
    assert watched.returncode == 0
    assert watched.stdout.splitlines()[0] == "finished: budget"
    assert len(watched.stderr.splitlines()) == 9  # four starts, four ends, the end of the search
    assert all(line[:4].isdigit() and line[19] == "Z" for line in watched.stderr.splitlines())


def test_watching_follows_a_search_to_its_end_and_leaves_no_files(place: Place) -> None:
    runner = place.running()
    watcher = place.start("watch", "search.db", "--plain")
    assert watcher.stderr is not None
    assert "trial 0 starts" in watcher.stderr.readline()
    place.release()
    out, err = watcher.communicate(timeout=60)
    assert runner.wait(60) == 0
    assert watcher.returncode == 0
    assert "trial 3 completed" in err
    assert out.startswith("finished: budget")


def test_a_search_that_nobody_runs_is_named_with_the_next_command(place: Place) -> None:
    runner = place.running()
    runner.kill()
    runner.wait(60)
    watched = place.call("watch", "search.db")
    assert watched.returncode == 0
    assert "interrupted: nobody runs this search; carry on: eventhpo resume search.db" in watched.stderr
    status = place.status()
    assert status["unattended"]["processes"] == 2
    assert "resume" in status["unattended"]["next"]
    assert 0 < status["progress"]["percent"] <= 100
    assert status["progress"]["elapsed"] > 0
    text = place.call("status", "search.db").stdout
    assert "processes   2 jobs still live\nnext        eventhpo resume search.db\n" in text
    assert "\ntime        since " in text
    place.release()
    assert place.call("resume", "search.db", "--quiet").returncode == 0
    assert place.status()["unattended"] is None
    assert place.status()["progress"]["left"] is None


@pytest.mark.parametrize(
    ("terminal", "options", "is_drawn"), [("xterm", [], True), ("dumb", [], False), ("xterm", ["--plain"], False)]
)
def test_a_terminal_is_drawn_on_unless_it_is_dumb_or_lines_are_asked_for(
    place: Place, terminal: str, options: list[str], is_drawn: bool
) -> None:
    pytest.importorskip("rich")
    place.run()
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "watch", "search.db", *options],
        cwd=place.folder,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": terminal},
    )
    os.close(theirs)
    drawn = b""
    try:
        while chunk := os.read(ours, 65_536):
            drawn += chunk
    except OSError:  # Linux ends a terminal that nobody has open any more with EIO
        pass
    os.close(ours)
    assert child.wait(60) == 0
    assert b"trial 3 completed" in drawn
    assert (b"\x1b[" in drawn) == is_drawn
