"""`cancel`, `pause`, `unpause` and `note`: with a controller at work, and without one."""

from __future__ import annotations

import json
import signal

from eventhpo.core.fold.events import (
    ControllerStarted,
    JobCreated,
    JobStopSent,
    SearchPaused,
    SearchUnpaused,
    TrialCancelled,
    TrialNoted,
)
from tests.cli.harness import Place, ended
from tests.waiting import eventually


def interrupted(place: Place) -> None:
    """Leave a search whose two jobs run and whose controller is gone."""
    child = place.running()
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_a_live_controller_stops_the_job_of_a_cancelled_trial_and_goes_on(place: Place):
    child = place.running()
    result = place.call("cancel", "search.db", "0", "--why", "too slow")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("cancelled: trial 0 (event ")
    eventually(lambda: place.state().trials[0].finished, "the end of trial 0")
    place.release()
    assert ended(child)[0] == 0
    state = place.state()
    assert state.trials[0].finished.state == "aborted"
    assert state.trials[0].finished.why.endswith(": too slow")
    assert len(place.of(TrialCancelled)) == 1
    assert place.call("verify", "search.db", "--decide").returncode == 0


def test_without_a_controller_a_cancel_is_recorded_and_carried_out_by_the_next(place: Place):
    interrupted(place)
    result = place.call("cancel", "search.db", "1")
    assert result.returncode == 0
    assert "its job, if one runs, is stopped by eventhpo resume search.db" in result.stderr
    assert place.of(JobStopSent) == []
    place.release()
    assert place.call("resume", "search.db").returncode == 0
    assert place.state().trials[1].finished.state in ("aborted", "completed")  # its job may have ended before
    assert place.state().trials[1].cancelled is not None


def test_a_pause_holds_through_resume_until_it_is_lifted(place: Place):
    child = place.running()
    assert place.call("pause", "search.db", "--why", "its GPU is needed").returncode == 0
    place.release()
    eventually(lambda: all(t.finished for t in place.state().trials), "the end of the jobs that ran")
    child.send_signal(signal.SIGKILL)
    child.wait()
    started = len(place.of(JobCreated))

    child = place.start("resume", "search.db")
    eventually(lambda: len(place.of(ControllerStarted)) == 2, "the second controller")
    result = place.call("status", "search.db", "--json")
    assert json.loads(result.stdout)["pause"]["why"] == "its GPU is needed"
    assert json.loads(result.stdout)["state"] == "running"
    assert "nothing is started until `eventhpo unpause`" in place.call("status", "search.db").stdout
    assert len(place.of(JobCreated)) == started == 2
    assert place.call("unpause", "search.db").returncode == 0
    code, _, err = ended(child)
    assert code == 0
    assert "the search is paused since event" in err
    assert len(place.of(JobCreated)) == 4
    assert json.loads(place.call("status", "search.db", "--json").stdout)["pause"] is None
    assert (len(place.of(SearchPaused)), len(place.of(SearchUnpaused))) == (1, 1)
    assert place.call("verify", "search.db", "--decide").returncode == 0


def test_without_a_controller_a_search_is_paused_and_unpaused_in_its_log(place: Place):
    interrupted(place)
    place.release()
    assert place.call("pause", "search.db").returncode == 0
    again = place.call("pause", "search.db")
    assert again.returncode == 2
    assert "paused already, since event" in again.stderr
    result = place.call("unpause", "search.db")
    assert result.returncode == 0
    assert "it is carried on by eventhpo resume search.db" in result.stderr
    assert place.call("unpause", "search.db").returncode == 2
    assert (len(place.of(SearchPaused)), len(place.of(SearchUnpaused))) == (1, 1)


def test_a_note_is_shown_whole_by_explain_and_listed_by_postmortem(place: Place):
    assert place.run().returncode == 0
    text = "its loss jumps at iteration 1\n" + "and goes on and on " * 20 + "to the end"
    result = place.call("note", "search.db", "2", text, "--by", "Alice")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("noted: trial 2 (event ")
    explained = place.call("explain", "search.db", "2").stdout
    assert text.replace("\n", " ") in explained
    assert "by Alice" in explained
    assert "its loss jumps" not in place.call("explain", "search.db", "1").stdout
    assert "TrialNoted by Alice" in place.call("postmortem", "search.db").stdout
    [noted] = place.of(TrialNoted)
    assert noted.text == text
    assert place.call("diff", "search.db", "search.db").returncode == 0


def test_an_act_on_a_trial_that_is_not_there_leaves_no_trace(place: Place):
    assert place.run().returncode == 0
    before = place.log.read_bytes()
    for words, why in (
        (("cancel", "search.db", "9"), "there is no trial 9 in this search: its trials are 0 to 3"),
        (("cancel", "search.db", "0"), "trial 0 is completed already"),
        (("note", "search.db", "9", "text"), "there is no trial 9"),
        (("note", "search.db", "0", " "), "expected a text that is not empty"),
        (("pause", "search.db"), "the search is finished already"),
    ):
        result = place.call(*words)
        assert result.returncode == 2, words
        assert why in result.stderr
    assert place.log.read_bytes() == before
