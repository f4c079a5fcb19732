"""What our controller reports on its task and calls back: functions of the log, each handed on once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from eventhpo.hpo_controller import reports
from eventhpo.hpo_controller.delivered import Delivered
from eventhpo.hpo_controller.rounds import Rounds, attempted
from tests.optimizer.harness import Place
from tests.optimizer.test_own_controller import controller


class Recorder:
    """Stands for a task and its logger: what the SDK is asked to send, in order."""

    id = "f" * 32
    project = None

    def __init__(self, initial: int = 0) -> None:
        self.initial, self.sent = initial, []

    def get_initial_iteration(self) -> int:
        return self.initial

    def get_logger(self) -> Recorder:
        return self

    def report_scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        self.sent.append((title, series, iteration + self.initial, value))

    def report_table(self, title: str, series: str, iteration: int, **figure: Any) -> None:
        self.sent.append((title, series, iteration + self.initial, figure["table_plot"]))

    def report_scatter2d(self, **figure: Any) -> None:
        self.sent.append((figure["title"], figure["series"], figure["iteration"] + self.initial, figure["scatter"]))

    def report_plotly(self, **figure: Any) -> None:
        self.sent.append((figure["title"], "", figure["iteration"] + self.initial, figure["figure"]))

    def upload_artifact(self, name: str, artifact_object: str, **_: Any) -> bool:
        self.sent.append((name, Path(artifact_object).name, 0, Path(artifact_object).read_text()))
        return True

    def curves(self, title: str) -> list[tuple[str, int]]:
        return [(row[1], row[2]) for row in self.sent if row[0] == title]


def ended(place: Place, task: Recorder, **changes: Any) -> Rounds:
    """Run a search to its end without the reporting thread; return rounds that report on *task*."""
    search = controller(place, **changes)
    search.get_optimizer().start()
    search._task = task
    search._report_resources = lambda *given: None  # asks the server for its workers
    return Rounds(search)


def test_a_continued_task_gets_only_new_points_where_the_history_ends(place):
    first = Recorder()
    ended(place, first, total_max_jobs=2).report(Delivered(place.log))
    assert first.curves("validation/accuracy") == [("max", 1), ("last reported", 1), ("max", 2), ("last reported", 2)]
    again = Recorder(initial=3)
    round_of_resumed = ended(place, again, total_max_jobs=3)
    round_of_resumed.report(Delivered(place.log))
    assert again.curves("validation/accuracy") == [("max", 3), ("last reported", 3)]
    assert [row[2] for row in again.sent if row[0] in ("summary", "Optimization Objective")] == [0, 0]
    before = list(again.sent)
    round_of_resumed.report(Delivered(place.log))
    assert again.sent == before


def test_the_summary_has_a_row_with_its_reason_for_each_job_when_all_failed(place):
    (place.folder / "fail-0").touch()
    task = Recorder()
    ended(place, task, total_max_jobs=1, max_failures_per_trial=0).report(Delivered(place.log))
    (table,) = [row[3] for row in task.sent if row[0] == "summary"]
    assert table[0][:5] == list(reports.HEAD)
    assert [row[2] for row in table[1:]] == ["failed"]
    assert table[1][3].startswith("exit ")


def test_a_completed_job_is_called_back_again_only_if_its_call_did_not_return(place):
    calls: list[str] = []

    def callback(job_id: str, *_: Any) -> None:
        calls.append(job_id)
        if len(calls) == 1:
            raise KeyError("the user's own error")

    round_ = ended(place, Recorder(), total_max_jobs=2)
    round_._controller._experiment_completed_cb = callback
    attempted("the callback", round_.call_back, Delivered(place.log))
    round_.call_back(Delivered(place.log))
    round_.call_back(Delivered(place.log))  # as a process that starts again
    first, second = (trial.last.job_id for trial in place.state().trials)
    assert calls == [first, first, second]


def test_best_is_the_best_so_far_and_a_trial_without_value_has_no_point():
    def trial(number: int, *values: float) -> reports.FinishedTrial:
        return reports.FinishedTrial(number, "t", "completed", "", 1, values, {})

    trials = [trial(0, 2.0), trial(1), trial(2, 0.0), trial(3, 1.0)]
    assert reports.best_and_last(trials, 0, -1.0) == [(1, 2.0, 2.0), (3, 0.0, 0.0), (4, 0.0, 1.0)]
    assert reports.best_and_last(trials, 0, 1.0) == [(1, 2.0, 2.0), (3, 2.0, 0.0), (4, 2.0, 1.0)]


def test_an_axis_of_texts_has_a_tick_for_each_text():
    assert reports.axis("kind", ["b", "a", "b"])["values"] == [1, 0, 1]
    assert reports.axis("x", [1, 0.5]) == {"label": "x", "values": [1.0, 0.5]}


def test_the_page_that_a_page_maker_writes_is_an_artifact_of_the_task(place):
    task = Recorder()
    round_ = ended(place, task, total_max_jobs=1)
    round_._controller.set_page_maker(None)
    assert not round_.upload_page()
    assert task.sent == []
    round_._controller.set_page_maker(lambda log, page: page.write_text(f"<p>{log.name}</p>"))
    assert round_.upload_page()
    assert task.sent == [("report", "report.html", 0, f"<p>{place.log.name}</p>")]


def test_the_page_is_that_of_eventhpo_report_unless_told_otherwise_and_can_be_asked_for_at_any_time(place):
    task = Recorder()
    round_ = ended(place, task, total_max_jobs=1)
    assert round_.upload_page()
    ((name, _, _, page),) = task.sent
    assert name == "report"
    assert page.startswith("<!doctype html>")
    assert f"event {place.state().head.seq}" in page or str(place.state().head.seq) in page


def test_without_the_packages_of_the_page_the_search_ends_all_the_same_and_says_what_to_install(
    place, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    for name in [name for name in sys.modules if name.startswith("replay.report.")]:
        monkeypatch.delitem(sys.modules, name)
    round_ = ended(place, Recorder(), total_max_jobs=1)
    with caplog.at_level("INFO", logger="eventhpo.optimizer"):
        assert not round_.upload_page()
    assert "pip install 'eventhpo[report]'" in caplog.text
