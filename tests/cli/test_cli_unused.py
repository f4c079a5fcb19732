"""Reports that are used for nothing are told: by `run`, `status`, `top` and `explain`, and where the job ends."""

from __future__ import annotations

import pytest

from eventhpo.core.fold.events import TrialFinished
from tests.cli.harness import Place, invoke, status_of

REPORTS = 'import os\nfile = os.environ["EVENTHPO_REPORTS"]\n'
LINE = '{"title": "validation", "series": "accuracy", "iteration": %d, "value": %s}\n'

# What people write at first in place of a report, and what is said of it.
MISTAKES = {
    "a comma in the number": (LINE % (1, "0,5"), "not JSON"),
    "another name for iteration": (
        '{"title": "validation", "series": "accuracy", "step": 1, "value": 0.5}\n',
        "iteration is missing; there is title, series, step, value",
    ),
    "a number in quotes": (LINE % (1, '"0.5"'), "value is neither a number"),
    "plain text": ("accuracy 0.5 at 1\n", "not JSON"),
    "another name for title": (
        '{"name": "validation", "series": "accuracy", "iteration": 1, "value": 0.5}\n',
        "title is missing; there is name, series, iteration, value",
    ),
}


def appending(*texts: str) -> str:
    """Return a script that appends each text to its reports."""
    return f'{REPORTS}with open(file, "a") as reports:\n    reports.write({"".join(texts)!r})\n'


def explained(place: Place, trial: int = 0) -> str:
    return invoke("explain", place.log, trial).stdout


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_line_that_is_no_report_is_told_with_its_count_and_the_first_reason(place: Place, mistake: str) -> None:
    text, why = MISTAKES[mistake]
    place.script(appending(text, text, text))
    place.describe(jobs=1)
    done = place.run()
    assert done.returncode == 1
    assert f"trial 0: a fault in its reports, at reports.jsonl:byte 0: {why}" in done.stderr
    (end,) = place.of(TrialFinished)
    assert f"; 3 faults in its reports, first at reports.jsonl:byte 0: {why}" in end.why
    (unused,) = status_of(place.log)["unused"]
    assert (unused["trial"], unused["faults"], unused["ignored"]) == (0, 3, 0)
    assert unused["first_fault"]["why"].startswith(why)
    assert f"faults      trial 0: 3 faults in its reports, first at reports.jsonl:byte 0: {why}" in (
        invoke("status", place.log).stdout
    )
    assert f"attempt 0: 3 faults in its reports, first at reports.jsonl:byte 0: {why}" in explained(place)


def test_faults_of_a_job_that_completes_are_told_with_its_end_and_marked_in_top(place: Place) -> None:
    place.script(appending(LINE % (1, "0.5"), "what?\n" * 57))
    place.describe(jobs=1)
    done = place.run()
    assert done.returncode == 0
    assert "trial 0 completed: validation/accuracy = 0.5 (best so far): 57 faults in its reports" in done.stderr
    table = invoke("top", place.log).stdout.splitlines()
    assert table[1].split()[:3] == ["1", "0*", "completed"]
    assert table[2].startswith("* trial 0: 57 faults in its reports, first at reports.jsonl:byte")


def test_a_search_that_diverged_in_json_dumps_has_no_value(place: Place) -> None:
    """(6, 0.001, NaN, NaN) is no trial with 0.001."""
    place.script(appending(*(LINE % (n, value) for n, value in enumerate(["6", "0.001", "NaN", "NaN"], 1))))
    place.describe(jobs=1)
    assert place.run().returncode == 1
    assert [e.why for e in place.of(TrialFinished)] == ["its value is NaN (nan_policy = fail)"]


def test_a_report_file_that_was_written_anew_under_a_live_controller_is_told(place: Place) -> None:
    place.script(
        f"{REPORTS}import select\n"
        f'open(file, "w").write({LINE!r} % (1, 0.5))\n'
        'while os.path.exists("hold"):\n    select.select([], [], [], 0.01)\n'
        f'open(file, "w").write({LINE!r} % (2, 0.7))\n'
    )
    place.describe(jobs=1)
    run = place.running(1)
    place.release()
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "the file was written anew" in err
    curve = place.state().attempt(0, 0).curves[0]
    assert (curve.iterations, curve.values) == ([1, 2], [0.5, 0.7])


ORDERS = {
    "again from one": ([1, 2, 3, 1, 2, 3], 3, "validation/accuracy = 0.5 at iteration 1, came after iteration 3"),
    "counted down": ([3, 2, 1], 2, "validation/accuracy = 0.25 at iteration 2, came after iteration 3"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_points_out_of_order_are_told_wherever_their_trial_is_shown(place: Place, order: str) -> None:
    iterations, ignored, first = ORDERS[order]
    place.script(appending(*(LINE % (i, (n + 1) / 8) for n, i in enumerate(iterations))))
    place.describe(jobs=1)
    done = place.run()
    assert done.returncode == 0
    said = f"{ignored} points ignored, because iterations must rise: the first, {first}"
    assert f"trial 0: {said}" in done.stderr
    assert said in next(line for line in done.stderr.splitlines() if "  trial 0 completed" in line)
    assert f"ignored     trial 0: {said}" in invoke("status", place.log).stdout
    assert f"* trial 0: {said}" in invoke("top", place.log).stdout
    assert f"attempt 0: {said}" in explained(place)
    observed = invoke("events", place.log, "--type", "MetricObserved").stdout
    kept = iterations.index(3)
    assert f"= {(kept + 1) / 8:g} at iteration 3 ({len(iterations)} points, {ignored} out of order)" in observed


def test_a_point_that_is_reported_twice_alike_is_nothing_to_tell(place: Place) -> None:
    place.script(appending((LINE % (1, "0.5")) * 2, (LINE % (2, "NaN")) * 2, LINE % (3, "0.75"), LINE % (1, "0.5")))
    place.describe(jobs=1)
    done = place.run()
    assert status_of(place.log)["unused"] == []
    assert "ignored" not in done.stderr
    assert "*" not in invoke("top", place.log).stdout
