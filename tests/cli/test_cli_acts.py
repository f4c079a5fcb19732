"""Acts of people: each is an event that says who, why, and which user id the kernel knows."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from eventhpo.controller.author import LONGEST_NAME, LONGEST_TEXT, other_author, this_author
from eventhpo.controller.requests import EnqueueRequest, encode
from eventhpo.core.fold.event_families import UserInput
from eventhpo.core.fold.events import (
    LimitsChanged,
    PointEnqueued,
    RequestRefused,
    SearchCreated,
    SearchReopened,
    StopAsked,
)
from eventhpo.errors import Usage
from eventhpo.log import paths, reader
from tests.cli.harness import Place, ended, invoke
from tests.waiting import eventually

ME = f"{getpass.getuser()}@{socket.gethostname()}"
NAMED = ("--by", "Alice, night shift", "--why", "a typo in lr")


def acts(log: Path) -> list[UserInput]:
    return [row.event for row in reader.read(log).rows if isinstance(row.event, UserInput)]


def test_every_act_of_a_search_names_the_user_who_runs_the_command(place: Place):
    assert place.call("run", "search.toml", "--log", "search.db").returncode == 0
    assert place.call("resume", "search.db", "--total-max-jobs", "5").returncode == 0
    assert {(event.by, event.uid) for event in acts(place.log)} == {(ME, os.getuid())}
    assert {type(event) for event in acts(place.log)} >= {SearchCreated, LimitsChanged}


def test_by_and_why_of_a_command_are_in_what_it_writes_without_a_controller(place: Place):
    assert place.call("run", "search.toml", "--log", "search.db", *NAMED).returncode == 0
    assert {(event.by, event.why) for event in acts(place.log)} == {NAMED[1::2]}
    assert place.call("resume", "search.db", "--total-max-jobs", "5", "--by", "Bob").returncode == 0
    [limits] = place.of(LimitsChanged)
    assert (limits.by, limits.why, limits.uid) == ("Bob", "", os.getuid())


def test_by_and_why_reach_a_live_controller_with_each_request(place: Place):
    child = place.running()
    for words in (
        ("enqueue", "search.db", "lr=0.5"),
        ("resume", "search.db", "--patience", "9"),
        ("stop", "search.db"),
    ):
        result = place.call(*words, *NAMED)
        assert result.returncode == 0, result.stderr
    ended(child)
    for kind in (PointEnqueued, LimitsChanged, StopAsked):
        [event] = place.of(kind)
        assert (event.by, event.why, event.uid) == (*NAMED[1::2], os.getuid())


def test_a_stop_without_a_controller_and_a_reopening_say_who_and_why(place: Place):
    child = place.running()
    child.terminate()
    ended(child)
    place.release()
    assert place.call("stop", "search.db", *NAMED).returncode == 0
    assert place.call("resume", "search.db", "--reopen", "--total-max-jobs", "1", *NAMED).returncode == 0
    signal, stop = place.of(StopAsked)
    assert (signal.by, signal.why) == (ME, "SIGTERM")
    [reopened] = place.of(SearchReopened)
    for event in (stop, reopened):
        assert (event.by, event.why) == NAMED[1::2]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_who_asks_is_the_owner_of_the_file_and_not_what_it_says(place: Place):
    child = place.running()
    folder = paths.requests(place.log)
    folder.mkdir(exist_ok=True)
    fresh = folder / "fresh"
    fresh.write_bytes(encode(EnqueueRequest(params={"General/lr": 0.5}, by="root@here")))
    os.chown(fresh, 12_345, -1)
    fresh.rename(folder / f"{7:032x}.json")
    eventually(lambda: place.of(RequestRefused), "the refusal")
    place.release()
    ended(child)
    [event] = place.of(RequestRefused)
    assert "12345" in event.why
    assert place.of(PointEnqueued) == []


def test_a_request_without_a_name_gets_that_of_its_files_owner():
    assert other_author("", "", os.getuid()).by == ME
    assert other_author("", "", 12_345).by == f"uid 12345@{socket.gethostname()}"


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ("x" * (LONGEST_NAME + 1), ""),
        (" ", ""),
        ("a\nb", ""),
        ("a\x1b[2J", ""),
        ("\udc80", ""),
        ("", "x" * (LONGEST_TEXT + 1)),
        ("", "\x1b[31m"),
        ("", "\udcff"),
    ],
)
def test_a_name_or_a_reason_that_cannot_be_shown_is_refused_and_nothing_is_written(place: Place, by: str, why: str):
    with pytest.raises(Usage, match="expected a"):
        this_author(by, why)
    result = invoke("run", str(place.file), "--log", str(place.log), "--by", by, "--why", why)
    assert result.exit_code == 2
    assert not place.log.exists()


def test_a_login_of_any_bytes_is_shown_as_far_as_it_can_be(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOGNAME", "al\x1bice\udcff" + "x" * 1000)
    assert this_author().by.startswith("al?ice?xxx")
    assert len(this_author().by) <= LONGEST_NAME


# ---------------------------------------------------------------- where they are shown


@pytest.fixture
def told(place: Place) -> Place:
    """A search whose point was enqueued by Alice."""
    assert place.call("run", "search.toml", "--log", "search.db").returncode == 0
    assert place.call("enqueue", "search.db", "lr=0.5", *NAMED).returncode == 2  # it has finished
    assert place.call("resume", "search.db", "--total-max-jobs", "6", *NAMED).returncode == 0
    return place


def test_events_show_who_and_why(told: Place):
    line = told.call("events", "search.db", "--type", "LimitsChanged").stdout
    assert f"by Alice, night shift (uid {os.getuid()}): a typo in lr" in line
    body = json.loads(told.call("events", "search.db", "--type", "LimitsChanged", "--json").stdout)
    assert (body["by"], body["why"], body["uid"]) == (*NAMED[1::2], os.getuid())


def test_postmortem_lists_the_acts_of_people_in_order(told: Place):
    text = told.call("postmortem", "search.db").stdout
    lines = [line for line in text.splitlines() if line.startswith("act ")]
    assert [line.split(", ")[2].split(" by ")[0] for line in lines] == ["SearchCreated", "LimitsChanged"]
    assert "by Alice, night shift" in lines[1]
    assert lines[1].endswith("reason: a typo in lr")
    report = json.loads(told.call("postmortem", "search.db", "--json").stdout)
    assert [act["event"] for act in report["acts"]] == ["SearchCreated", "LimitsChanged"]
    assert [act["by"] for act in report["acts"]] == [ME, "Alice, night shift"]
    assert [act["seq"] for act in report["acts"]] == sorted(act["seq"] for act in report["acts"])


def test_explain_says_who_enqueued_the_point_of_a_trial(place: Place):
    child = place.running()
    assert place.call("enqueue", "search.db", "lr=0.5", "kind=b", *NAMED).returncode == 0
    place.release()
    assert ended(child)[0] == 0
    number = next(t.number for t in place.state().trials if t.source == "user")
    text = place.call("explain", "search.db", str(number)).stdout
    assert "by Alice, night shift" in text
    assert "a typo in lr" in text


def test_acts_in_a_log_from_before_have_no_name():
    golden = Path(__file__).parents[2] / "fixtures" / "logs" / "stopped.db"
    assert {(event.by, event.uid) for event in acts(golden)} == {("", None)}


def test_acts_of_a_log_from_before_are_listed_without_a_name(tmp_path: Path):
    golden = Path(__file__).parents[2] / "fixtures" / "logs" / "stopped.db"
    copy = Path(shutil.copy(golden, tmp_path))
    result = invoke("postmortem", str(copy))
    lines = [line for line in result.stdout.splitlines() if line.startswith("act ")]
    assert lines
    assert not any(" by " in line for line in lines)
