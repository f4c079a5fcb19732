"""`--at` of status, top and events: everything as of an event."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

import pytest

from eventhpo.core.fold.events import SearchFinished
from eventhpo.core.fold.evolve import fold
from eventhpo.log import lease, paths, reader
from eventhpo.testing.searches import simulate
from eventhpo.views.formatting import rfc3339
from tests.cli.harness import data, invoke, scripted, small, strict

READING = ("status", "top", "events")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"


@pytest.fixture
def rows(log):
    return reader.read(log).rows


@pytest.mark.parametrize("n", [1, 10, 20])
def test_status_is_that_of_the_rows_up_to_the_event(log, rows, n):
    found, state = data("status", log, "--at", n), fold(rows[:n])
    assert found["head"] == {"seq": n, "hash": rows[n - 1].hash}
    assert found["as_of"] == {"seq": n, "at": rfc3339(rows[n - 1].at)}
    assert sum(found["trials"].values()) == len(state.trials)
    assert found["budget"]["iterations"]["used"] == state.totals.charged


def test_an_old_state_is_neither_running_nor_interrupted(log, rows):
    """Whoever holds the log today says nothing of what was then."""
    for n in range(1, len(rows)):
        assert data("status", log, "--at", n)["state"] == "unfinished"
    assert isinstance(rows[-1].event, SearchFinished)
    assert data("status", log, "--at", len(rows))["state"] == "finished"
    text = invoke("status", log, "--at", 10).stdout.splitlines()
    assert text[1] == f"as of       event 10, {rfc3339(rows[9].at)}"
    assert text[2].split() == ["state", "unfinished"]


def test_a_controller_that_holds_the_log_is_not_named_for_an_old_state(place):
    place.running()
    assert lease.holder(place.log) is not None
    assert data("status", place.log)["state"] == "running"
    found = data("status", place.log, "--at", 3)
    assert (found["state"], found["controller"], found["notes"]) == ("unfinished", None, [])
    place.release()


def test_without_at_there_is_no_as_of(log):
    assert data("status", log)["as_of"] is None
    assert invoke("status", log).stderr == ""
    assert "as of" not in invoke("status", log).stdout


def test_top_lists_what_there_was(log, rows):
    first = next(row.seq for row in rows if type(row.event).__name__ == "TrialSuggested")
    assert data("top", log, "--at", first - 1) == []
    assert [row["trial"] for row in data("top", log, "--at", first)] == [0]
    assert data("top", log, "--at", len(rows)) == data("top", log)


def test_events_end_with_it_and_begin_behind_after(log):
    shown = invoke("events", log, "--json", "--at", 12, "--after", 8)
    assert [strict(line)["seq"] for line in shown.stdout.splitlines()] == [9, 10, 11, 12]
    assert invoke("events", log, "--at", 12, "--after", 12).stdout == ""


@pytest.mark.parametrize("command", READING)
def test_a_time_is_resolved_to_the_last_event_at_or_before_it_and_printed(log, rows, command):
    row = next(row for row, later in itertools.pairwise(rows[9:]) if row.at < later.at)
    by_seq = invoke(command, log, "--at", row.seq)
    assert by_seq.stderr == f"as of event {row.seq} of {len(rows)}, {rfc3339(row.at)}\n"
    zoned = rfc3339(row.at)
    for text in (zoned, zoned.removesuffix("Z"), zoned.replace("T", " ").replace("Z", "+00:00")):
        by_time = invoke(command, log, "--at", text)
        assert (by_time.exit_code, by_time.stdout, by_time.stderr) == (0, by_seq.stdout, by_seq.stderr)


def test_a_time_that_a_clock_showed_twice_is_refused_with_the_events_that_are_meant(tmp_path):
    """Ten rows, each a second after the one before; then the clock is set back by five seconds."""
    log = tmp_path / "search.db"
    simulate(log, small(), scripted, set_by=lambda steps: -5_000_000 if steps >= 10 else 0)
    rows = reader.read(log).rows
    back = next(n for n, (one, two) in enumerate(itertools.pairwise(rows), 1) if two.at < one.at)
    twice = rows[back - 2]
    again = max(row.seq for row in rows[back:] if row.at <= twice.at)
    refused = invoke("status", log, "--at", rfc3339(twice.at))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"2 times in this log, since its clock was set back: after event {twice.seq} and after" in refused.stderr
    assert f"after event {again};" in refused.stderr
    before = next(row for row in reversed(rows[:back]) if row.at < min(later.at for later in rows[back:]))
    for row in (before, rows[-1]):
        assert data("status", log, "--at", rfc3339(row.at))["head"]["seq"] == row.seq


def test_a_time_with_a_zone_is_that_moment(log, rows):
    at = rfc3339(rows[-1].at)
    hour = int(at[11:13])
    east = at.replace(f"T{hour:02}", f"T{hour + 2:02}").replace("Z", "+02:00")
    assert data("status", log, "--at", east)["head"]["seq"] == len(rows)


def test_a_time_without_a_zone_is_utc_wherever_it_is_asked(log, rows, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert data("status", log, "--at", rfc3339(rows[9].at).removesuffix("Z"))["head"]["seq"] >= 10
        assert invoke("status", log, "--at", rfc3339(rows[0].at).removesuffix("Z")).exit_code == 0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("at", ["0", "-3", "100000", "1999-12-31", "2999-01-01T00:00:00Z"])
def test_what_lies_outside_is_a_usage_error_that_says_the_range(log, rows, command, at):
    result = invoke(command, log, "--at", at)
    assert (result.exit_code, result.stdout) == (2, "")
    ends = f"1 ({rfc3339(rows[0].at)}) to {len(rows)} ({rfc3339(rows[-1].at)})"
    assert "lies outside the log" in result.stderr
    assert ends in result.stderr


@pytest.mark.parametrize("at", ["yesterday", "", "12:30", "1.5"])
def test_what_is_neither_a_seq_nor_a_time_is_a_usage_error(log, at):
    result = invoke("status", log, "--at", at)
    assert result.exit_code == 2
    assert "neither the seq of an event nor an ISO time" in result.stderr


def test_following_and_looking_back_exclude_each_other(log):
    result = invoke("events", log, "--at", 3, "--follow")
    assert result.exit_code == 2
    assert "--follow" in result.stderr


@pytest.mark.parametrize("command", READING)
def test_a_log_that_lost_its_tail_still_exits_3(tmp_path, command):
    log = Path(shutil.copy(FIXTURES / "must_fail" / "cut.db", tmp_path))
    shutil.copy(FIXTURES / "must_fail" / "cut.db.head", paths.head(log))
    result = invoke(command, log, "--at", 20)
    assert result.exit_code == 3
    assert "lost its tail" in result.stderr
