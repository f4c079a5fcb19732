"""The class tells what the command line tells, by Python's logging."""

from __future__ import annotations

import getpass
import logging
import os
import socket

import pytest

from eventhpo.core.fold.event_families import UserInput
from eventhpo.core.fold.events import AbortRequested, StopAsked
from tests.optimizer.test_importing import study_in


@pytest.fixture
def told(caplog):
    """Return what was logged by `eventhpo` itself: levels and texts."""
    caplog.set_level(logging.INFO, logger="eventhpo")
    return lambda: [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "eventhpo"]


def test_the_lines_of_a_run_are_logged(place, told):
    place.optimizer(total_max_jobs=2).start()
    texts = [text for _, text in told()]
    assert {level for level, _ in told()} == {"INFO"}
    assert [text.partition(":")[0] for text in texts] == [
        "trial 0 starts",
        "trial 0 completed",
        "trial 1 starts",
        "the search ends (budget); running jobs may finish",
        "trial 1 completed",
        "finished",
        "best",
        "log",
    ]


def test_a_failure_and_a_bad_end_are_warnings_with_what_the_job_printed(place, told):
    (place.folder / "fail-0").touch()
    place.script("print('no data set')\nraise SystemExit(3)\n")
    place.optimizer(total_max_jobs=1).start()
    warned = [text for level, text in told() if level == "WARNING"]
    assert warned[0].startswith("trial 0 failed: exit 3; output: ")
    assert warned[1:3][0] == "trial 0 failed: exit 3"
    assert "  | no data set" in warned
    assert "best: no trial has a value" in warned


def test_a_place_that_pauses_is_a_warning(place, told):
    """The jobs' folder cannot be made as long as a file has its name."""
    jobs = place.folder / "search.db.jobs"
    optimizer = place.optimizer(total_max_jobs=1)
    with optimizer._session.opened().driving():
        jobs.write_text("")
    while not any("paused: draft of trial 0" in text for level, text in told() if level == "WARNING"):
        assert optimizer.process_step()
    jobs.unlink()
    while optimizer.process_step():
        pass
    assert place.state().totals.trials["completed"] == 1


def test_a_script_that_is_run_again_on_a_stopped_log_is_told_so(place, told):
    optimizer = place.optimizer(total_max_jobs=2)
    with optimizer._session.opened().driving() as controller:
        controller.record(StopAsked(scope="search"), None)
    optimizer.start()
    before = len(told())
    again = place.optimizer(total_max_jobs=2)
    again.start()
    assert again.get_top_experiments(3) == []
    level, text = told()[before]
    assert level == "WARNING"
    assert "was stopped, and nothing runs" in text
    assert text.endswith(f"eventhpo resume {place.log} --reopen")


def test_a_script_that_is_run_again_on_a_finished_log_is_told_which_limit_to_raise(place, told):
    place.optimizer(total_max_jobs=1).start()
    before = len(told())
    place.optimizer(total_max_jobs=1).start()
    level, text = told()[before]
    assert (level, text.rpartition(": ")[2]) == ("INFO", "raise total_max_jobs")


def test_what_of_an_earlier_study_does_not_fit_is_told(place, told):
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import create_trial

    study = optuna.create_study(direction="maximize", study_name="before")
    for x, kind in ((0.5, "a"), (7.0, "b"), (0.25, None)):
        params = {"General/x": x, "General/old": 3.0} | ({} if kind is None else {"General/kind": kind})
        ranges = {"General/x": FloatDistribution(0, 9), "General/old": FloatDistribution(0, 9)}
        ranges |= {} if kind is None else {"General/kind": CategoricalDistribution(["a", "b"])}
        study.add_trial(create_trial(params=params, distributions=ranges, value=x))
    place.optimizer(total_max_jobs=1, continue_previous_study=study).start()
    assert [(level, text.removeprefix("continue_previous_study: ")) for level, text in told()[:4]] == [
        ("INFO", "3 completed or pruned trials of before, 1 with a value in the space for each name"),
        ("WARNING", "1 trial has a General/x that is not in the space, as 7"),
        ("WARNING", "1 of 3 trials have no General/kind"),
        ("WARNING", "General/old, of 3 trials, is not in the space"),
    ]


def test_a_study_that_fits_is_told_without_a_warning(place, told):
    place.optimizer(total_max_jobs=1, continue_previous_study=study_in(None)).start()
    assert [level for level, text in told() if text.startswith("continue_previous_study")] == ["INFO"]


def test_imported_trials_are_counted_apart_and_listed_on_request(place):
    from eventhpo.views import status, top
    from eventhpo.views import statuses as jobs

    place.optimizer(total_max_jobs=2, continue_previous_study=study_in(None)).start()
    state = place.state()
    counts = jobs.trial_counts(state)
    assert (counts["imported"], counts["completed"], sum(counts.values())) == (7, 2, 9)
    assert status.status(state, None).budget.trials.used == 2
    assert {r.imported for r in top.rows(state)} == {None}
    rows = top.rows(state, include_imported=True)
    assert {r.trial: r.metrics["validation/accuracy"].value for r in rows if r.imported} == {n: n / 8 for n in range(7)}
    assert {r.imported for r in rows} == {None, "before"}
    assert sum("(from before)" in line for line in top.table(state, rows)) == 7


def test_all_that_a_script_asks_for_names_the_user_who_runs_it(place):
    """By hand, from an earlier study, in the loop: each input says who, and which user id the kernel knows."""
    optimizer = place.optimizer(total_max_jobs=4, continue_previous_study=study_in(None))
    optimizer.enqueue_trial({"x": 0.5})
    job = optimizer.create_job()
    job.launch()
    job.abort(why="enough")
    optimizer.start()
    asked = [row.event for row in place.rows() if isinstance(row.event, UserInput)]
    assert {type(event).__name__ for event in asked} >= {
        "SearchCreated",
        "TrialsImported",
        "ControllerStarted",
        "PointEnqueued",
        "JobRequested",
        "AbortRequested",
        "DrivenByHand",
    }
    assert {(event.by, event.uid) for event in asked} == {(f"{getpass.getuser()}@{socket.gethostname()}", os.getuid())}
    assert [event.why for event in asked if isinstance(event, AbortRequested)] == ["enough"]
