"""How the command answers: mistyped names, completion, colours, times, mistakes in files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from eventhpo.core.fold.events import LimitsChanged
from eventhpo.core.validation.closest import closest
from eventhpo.core.validation.durations import seconds
from eventhpo.search_file import SearchFileMistaken, load
from eventhpo.search_file.lines import line_of
from tests.cli.harness import COMMAND, Place, invoke
from tests.waiting import eventually

# ---------------------------------------------------------------- did you mean


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statsu", "status"),
        ("rum", "run"),
        ("postm", "postmortem"),
        ("stat", "status"),
        ("Resume", "resume"),
        ("tpo", "top"),
        ("whatfi", "whatif"),
        ("zzz", None),
        ("list", None),
        ("delete", None),
        ("kill", None),
        ("start", None),
        ("r", None),
        ("", None),
    ],
)
def test_a_mistyped_command_is_answered_with_one_that_is_close_or_with_none(typed: str, meant: str | None) -> None:
    result = invoke(typed, "search.db")
    assert result.exit_code == 2
    if meant is None:
        assert "Did you mean" not in result.stderr
    else:
        assert f"Did you mean '{meant}'?" in result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("resume", "x.db", "--wall-time", "3"), "--wall-time-limit"),
        (("resume", "x.db", "--workers", "3"), "--num-concurrent-workers"),
        (("resume", "x.db", "--total-max-job", "3"), "--total-max-jobs"),
        (("run", "x.toml", "--lgo", "x.db"), "--log"),
        (("top", "x.db", "--jsno"), "--json"),
        (("--verson",), "--version"),
        (("run", "x.toml", "--zzz"), None),
        (("stop", "x.db", "--json"), None),
        (("run", "x.toml", "-z"), None),
    ],
)
def test_a_mistyped_option_is_answered_with_one_that_is_close_or_with_none(words, meant) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert ("Did you mean" in result.stderr) == (meant is not None)
    if meant is not None:
        assert f"Did you mean '{meant}'?" in result.stderr


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("ab", ["ba"], "ba"),
        ("abc", ["xyc", "abd"], "abd"),
        ("jobs", ["total-max-jobs", "left-jobs-over"], None),
        ("resum", ["resume", "result"], "resume"),
        ("abcdefgh", ["abcdef"], "abcdef"),
        ("abcdefgh", ["abcde"], None),
        ("x" * 10_000, ["run"], None),
    ],
)
def test_close_is_few_typing_mistakes_or_the_only_one_that_has_the_words(name: str, known: list[str], meant) -> None:
    assert closest(name, known) == meant


# ---------------------------------------------------------------- completion and colours


def completed(*words: str, shell: str = "bash") -> list[str]:
    """Return what the shell is offered for the last of *words*."""
    variables = {
        "COMP_WORDS": " ".join(["eventhpo", *words]),
        "COMP_CWORD": str(len(words)),
        "_EVENTHPO_COMPLETE": f"{shell}_complete",
    }
    done = subprocess.run(
        [str(Path(COMMAND[0]).with_name("eventhpo"))],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_a_shell_completes_commands_options_and_files() -> None:
    assert completed("re") == ["resume", "replay", "report"]
    assert completed("resume", "--wa") == ["--wall-time-limit"]
    assert completed("plot", "x.db", "ti") == ["timeline"]
    assert "file," in "".join(f"{line}," for line in ["file", *completed("resume", "")])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    program = str(Path(COMMAND[0]).with_name("eventhpo"))
    variables = {"_EVENTHPO_COMPLETE": f"{shell}_source"}
    done = subprocess.run([program], capture_output=True, text=True, env=os.environ | variables, check=False)
    assert done.returncode == 0, done.stderr
    assert "_EVENTHPO_COMPLETE" in done.stdout


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("8h", 28_800),
        ("90m", 5_400),
        ("45s", 45),
        ("1h30m", 5_400),
        ("1h 30 min", 5_400),
        ("1.5h", 5_400),
        ("2d", 172_800),
        ("8 hours", 28_800),
        ("1d2h3m4s", 93_784),
        ("1H", 3_600),
        ("", None),
        ("h", None),
        ("5", None),
        ("30m1h", None),
        ("1h1h", None),
        ("1h5", None),
        ("-1h", None),
        ("1e3s", None),
        ("8 horses", None),
        ("٣h", None),
    ],
)
def test_a_time_has_each_unit_once_the_larger_first(text: str, meant: float | None) -> None:
    assert seconds(text) == meant


def test_times_are_options_and_keys_and_the_log_has_minutes(place: Place) -> None:
    place.describe(more='wall_time_limit = "8h"\ntime_limit_per_job = 90\n')
    limits = json.loads(place.call("check", "search.toml", "--json").stdout)["limits"]
    assert (limits["wall_time_limit"], limits["time_limit_per_job"]) == (480.0, 90.0)
    place.run("--quiet")
    resumed = place.call(
        "resume", "search.db", "--compute-time-limit", "1h30m", "--time-limit-per-job", "90", "--quiet"
    )
    assert resumed.returncode == 0, resumed.stderr
    [changed] = place.of(LimitsChanged)
    assert (changed.changes.compute_time_limit, changed.changes.time_limit_per_job) == (90.0, 90.0)
    for wrong in ("8 horses", "0s", "-3", "9999999999h"):
        refused = place.call("resume", "search.db", "--wall-time-limit", wrong)
        assert refused.returncode == 2
        assert (
            f"--wall-time-limit: found {wrong}, expected minutes, a finite number above 0, or a time as 8h"
            in refused.stderr
        )


# ---------------------------------------------------------------- mistakes in a search file

FILE = """\
name = "a"
command = [
  "python", 3,
]

# a comment
total_max_job = 3
[objective]
title = "v"
sign = "mx"
[space.lr]
type = "UniformParameterRange"
min_value = 3
max_value = 1
[[trial]]
lr = 2
[[trial]]
"General/lr" = "high"
[sampler]
name = "TPESample"
"""


def told(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(SearchFileMistaken) as raised:
        load(path)
    return str(raised.value)


def test_each_mistake_is_told_with_the_number_and_the_text_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    text = told(path, FILE)
    for number, place, line in (
        (2, "command", "command = ["),
        (7, "total_max_job", "total_max_job = 3"),
        (8, "objective.series", "[objective]"),
        (10, "objective.sign", 'sign = "mx"'),
        (13, "space.lr.min_value", "min_value = 3"),
        (20, "sampler.name", 'name = "TPESample"'),
    ):
        message, shown = next(pair for pair in pairwise(text.splitlines()) if pair[0].startswith(f"{path}: {place}: "))
        assert shown == f"  line {number}: {line}", message


def test_a_mistake_in_the_form_of_the_file_has_a_mark_below_its_column(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    assert told(path, "a = 1\nb = = 2\n").endswith("\n  line 2: b = = 2\n              ^")
    assert "\n  line 2: b = " in told(path, 'a = 1\nb = "x')


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("a = 1\n", "a", 1),
        ("\n\n# c\na = 1\n", "a", 4),
        ("a = [\n1,\n\n2]\nb = 3\n", "b", 5),
        ('a = """\nb = 1\n"""\nb = 3\n', "b", 4),
        ("[t]\nx.y = 1\nx.z = 2\n", "t.x.z", 3),
        ("[t]\nx = {y = 1, z = 2}\n", "t.x.z", 2),
        ("[[t]]\na = 1\n[[t]]\na = 2\n", "t[1].a", 4),
        ("[[t]]\na = 1\n[[t]]\nb = 2\n", "t[1].a", 3),
        ("a = [1, 2]\n", "a[1]", 1),
        ('["a b"]\n"c.d" = 1\n', '"a b"."c.d"', 2),
        ("a = 1\n", "zzz", None),
        ("", "a", None),
        ("a = 1", "a", 1),
        ("a = 1\r\nb = 2\r\n", "b", 2),
        ("a=[\n" + "1,\n" * 500 + "]\nb = 1\n", "b", 503),
        ("a=[\n" + "1,\n" * 500 + "]\nb = 1\n", "a", 1),
    ],
)
def test_a_key_stands_where_the_first_beginning_ends_that_has_it(text: str, place: str, line: int | None) -> None:
    found = line_of(text, place)
    assert (None if found is None else found.number) == line


def test_a_line_that_is_long_or_hostile_is_shown_in_part_and_as_text(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_text('total_max_job = "' + "x" * 5_000 + '\\u001b[2J"\n')
    result = invoke("check", path)
    assert result.exit_code == 2
    assert max(map(len, result.stderr.splitlines())) < 1_000
    assert "\x1b" not in result.stderr


# ---------------------------------------------------------------- watch


def test_watch_writes_the_status_as_a_line_of_json_at_each_change(place: Place) -> None:
    runner = place.running()
    watcher = place.start("watch", "search.db", "--json")
    assert watcher.stdout is not None
    first = json.loads(watcher.stdout.readline())
    assert first["state"] == "running"
    place.release()
    out, _ = watcher.communicate(timeout=60)
    assert runner.wait(60) == 0
    states = [first["state"], *(json.loads(line)["state"] for line in out.splitlines())]
    assert states[-1] == "finished"
    assert states.count("finished") == 1


def test_watch_says_who_died_what_runs_on_and_the_next_command(place: Place) -> None:
    runner = place.running()
    watchers = [place.start("watch", "search.db", *options) for options in (("--plain",), ("--json",))]
    for watcher, stream in zip(watchers, (watchers[0].stderr, watchers[1].stdout), strict=True):
        assert stream is not None
        assert stream.readline(), watcher
    runner.send_signal(signal.SIGKILL)
    runner.wait(60)
    (out, err), (lines, _) = (watcher.communicate(timeout=60) for watcher in watchers)
    assert [watcher.returncode for watcher in watchers] == [0, 0]
    assert f"controller {runner.pid} on " in err
    assert "is gone; 2 jobs run on\ninterrupted: nobody runs this search; carry on: " in err
    assert "resume search.db" in err
    last = json.loads(lines.splitlines()[-1])
    assert (last["state"], last["unattended"]["processes"]) == ("interrupted", 2)
    assert out
    place.release()
    eventually(lambda: place.status()["unattended"]["processes"] == 0, "the jobs to end")
