"""--on-end: a command that is run when the search has finished, at least once, its exit recorded."""

from __future__ import annotations

import json
import os
import signal

import pytest

from eventhpo.controller.author import LONGEST_TEXT
from eventhpo.controller.requests import EndCommandRequest
from eventhpo.controller.send_request import ask
from eventhpo.core.fold.events import EndCommandRan, EndCommandSet, SearchFinished
from tests.cli.harness import Place, ended
from tests.waiting import eventually

WRITES = 'echo "$EVENTHPO_SEARCH $EVENTHPO_STATE $EVENTHPO_REASON $EVENTHPO_LOG" >> ended'
WAITS = "echo began >> ended; while [ -e wait ]; do sleep 0.05; done; echo over >> ended"


def written(place: Place) -> list[str]:
    path = place.folder / "ended"
    return path.read_text().splitlines() if path.exists() else []


def exits(place: Place) -> list[tuple[int | None, int | None]]:
    return [(event.code, event.signal) for event in place.of(EndCommandRan)]


def test_it_runs_once_when_the_search_has_finished_and_its_exit_is_in_the_log(place: Place):
    result = place.run("--on-end", f"{WRITES}; exit 3")
    assert result.returncode == 0
    assert written(place) == [f"small finished budget {place.log}"]
    assert exits(place) == [(3, None)]
    assert "the command for the end of the search exited with 3" in result.stderr
    kinds = [type(row.event) for row in place.rows()]
    assert kinds.index(SearchFinished) < kinds.index(EndCommandRan)
    assert place.call("resume", "search.db").returncode == 0
    assert len(written(place)) == 1
    assert place.call("verify", "search.db", "--decide").returncode == 0


def test_what_it_prints_goes_to_stderr(place: Place):
    result = place.run("--on-end", "echo to be seen")
    assert "to be seen" in result.stderr
    assert "to be seen" not in result.stdout


def test_it_runs_after_a_stop_too_also_from_another_process(place: Place):
    child = place.running()
    assert place.call("resume", "search.db", "--on-end", WRITES, "--by", "Alice").returncode == 0
    child.send_signal(signal.SIGKILL)
    child.wait()
    place.release()
    assert place.call("stop", "search.db").returncode == 0
    assert written(place) == [f"small stopped stop {place.log}"]
    [event] = place.of(EndCommandSet)
    assert event.by == "Alice"


def test_a_controller_killed_while_it_runs_has_the_next_one_run_it_again(place: Place):
    (place.folder / "wait").touch()
    child = place.start("run", "search.toml", "--log", "search.db", "--on-end", WAITS)
    eventually(lambda: written(place) == ["began"], "the command")
    child.send_signal(signal.SIGKILL)
    child.wait()
    (place.folder / "wait").unlink()
    eventually(lambda: written(place)[-1] == "over", "the end of the first")
    assert exits(place) == []
    status = place.call("status", "search.db")
    assert "`eventhpo resume` runs it" in status.stdout
    next_step = json.loads(place.call("postmortem", "search.db", "--json").stdout)["next"]
    assert next_step["action"] == "RunEndCommand"
    assert place.call("resume", "search.db").returncode == 0
    assert written(place) == ["began", "over", "began", "over"]
    assert exits(place) == [(0, None)]
    assert place.call("verify", "search.db", "--decide").returncode == 0


def test_ctrl_c_ends_it_and_it_has_not_run(place: Place):
    (place.folder / "wait").touch()
    child = place.start("run", "search.toml", "--log", "search.db", "--on-end", f"echo $$ >> ended; {WAITS}")
    eventually(lambda: len(written(place)) == 2, "the command")
    child.send_signal(signal.SIGINT)
    ended(child)
    with pytest.raises(ProcessLookupError):
        os.kill(int(written(place)[0]), 0)
    assert exits(place) == []


def test_a_search_that_is_reopened_and_finishes_again_runs_it_again(place: Place):
    assert place.run("--on-end", WRITES).returncode == 0
    assert place.call("resume", "search.db", "--total-max-jobs", "5").returncode == 0
    assert len(written(place)) == 2
    assert exits(place) == [(0, None)] * 2


def test_given_to_a_search_that_has_finished_it_runs_at_once(place: Place):
    assert place.run().returncode == 0
    (place.folder / "train.py").unlink()  # nothing of the search is needed for it
    assert place.call("resume", "search.db", "--on-end", WRITES).returncode == 0
    assert len(written(place)) == 1


def test_none_lifts_it(place: Place):
    child = place.running()
    assert place.call("resume", "search.db", "--on-end", WRITES).returncode == 0
    assert place.call("resume", "search.db", "--on-end", "none").returncode == 0
    place.release()
    assert ended(child)[0] == 0
    assert written(place) == []
    assert [event.command for event in place.of(EndCommandSet)] == [WRITES, None]


def test_it_may_stand_in_the_search_file_and_runs_in_its_folder(place: Place):
    place.describe(more='on_end = "pwd >> ended; kill -9 $$"')
    assert place.run().returncode == 0
    assert written(place) == [str(place.folder.resolve())]
    assert exits(place) == [(None, 9)]


def test_the_option_goes_before_the_key_of_the_search_file(place: Place):
    place.describe(more='on_end = "echo file >> ended"')
    assert place.run("--on-end", "echo option >> ended").returncode == 0
    assert written(place) == ["option"]


def test_a_folder_that_is_gone_is_recorded_as_the_reason(place: Place):
    gone = place.folder / "gone"
    gone.mkdir()
    child = place.running()
    ask(place.log, EndCommandRequest(command=WRITES, folder=str(gone)))
    gone.rmdir()
    place.release()
    assert ended(child)[0] == 0
    [event] = place.of(EndCommandRan)
    assert (event.code, event.signal) == (None, None)
    assert "it cannot be started" in event.why
    assert str(gone) in event.why


@pytest.mark.parametrize("command", ["", "  ", "a\x1b[2Jb", "x" * (LONGEST_TEXT + 1)])
def test_a_command_that_cannot_be_recorded_is_refused_and_nothing_is_made(place: Place, command: str):
    assert place.run("--on-end", command).returncode == 2
    assert not place.log.exists()
