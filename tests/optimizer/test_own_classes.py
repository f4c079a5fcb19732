"""Samplers and pruners of a user's own classes, handed to the class: used, recognised, and wanted again on resume."""

from __future__ import annotations

import importlib
import logging
import random
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from clearml.automation import UniformIntegerParameterRange
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from eventhpo.cli.read.log_checks import decided
from eventhpo.core.fold.events import JobPruned, SearchReopened, TrialFinished, TrialSuggested
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import Usage
from eventhpo.log import reader
from replay.decide.check_prefixes import check_prefixes
from tests.cli.harness import invoke
from tests.optimizer.harness import SPACE, Place, Thread, forked, killed_when
from tests.optimizer.test_running import PRUNABLE, rows_of
from tests.waiting import eventually

NAME = "tests.optimizer.test_own_classes"


class Wandering(BaseSampler):
    """Steps around the last point at random."""

    def __init__(self, width=0.2, seed=None):
        self.width = width
        self.rng = np.random.default_rng(seed)
        self.steps = 0

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        self.steps += 1
        if param_name == "General/kind":
            return param_distribution.choices[self.rng.integers(2)]
        done = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        last = done[-1].params[param_name] if done else 0.5
        return float(np.clip(last + self.rng.normal(0.0, self.width * self.steps), 0.0, 1.0))


class OverOne(BasePruner):
    def __init__(self, line=1.0):
        self.line = line

    def prune(self, study, trial):
        return trial.intermediate_values[trial.last_step] > self.line


class Careless(Wandering):
    def sample_independent(self, study, trial, param_name, param_distribution):
        return "a" if param_name == "General/kind" else random.random()


def mine(**changes):
    return {"optuna_sampler": Wandering(), "optuna_pruner": OverOne(), "total_max_jobs": 8} | changes


@pytest.fixture
def prunable(place):
    place.script(PRUNABLE)
    return place


# ---------------------------------------------------------------- used


def test_they_decide_the_search_and_decide_it_again_when_they_are_given(prunable):
    sampler, pruner = Wandering(0.3), OverOne()
    prunable.optimizer(**mine(optuna_sampler=sampler, optuna_pruner=pruner)).start()
    points = [event.params["General/x"] for event in prunable.of(TrialSuggested)]
    assert len(points) == len(set(points)) == 8
    over = [e.trial for e in prunable.of(TrialSuggested) if 2 * e.params["General/x"] > 1]
    assert [e.trial for e in prunable.of(JobPruned)] == over != []
    checks = list(check_prefixes(prunable.rows(), sampler=sampler, pruner=pruner))
    assert [c.divergence for c in checks if c.divergence] == []
    assert [c.skipped for c in checks if c.skipped] == []


def test_verify_decide_counts_the_ones_that_it_has_nobody_to_ask_for(place):
    place.optimizer(**mine(optuna_pruner="NopPruner", total_max_jobs=3)).start()
    result = invoke("verify", place.log, "--decide")
    assert result.exit_code == 0
    assert f"; 3 not decided again ({NAME}.Wandering is not Optuna's own)" in result.stdout


def test_a_seed_reproduces_the_search_whatever_seed_the_instance_was_made_with(place, tmp_path):
    place.optimizer(**mine(optuna_sampler=Wandering(seed=1))).start()
    again = tmp_path / "again.db"
    first = place.params()
    place.optimizer(**mine(optuna_sampler=Wandering(seed=2)), log=again).start()
    assert [t.params for t in fold(reader.read(again).rows).trials] == first


def test_randomness_that_no_copy_holds_is_told_once_and_marked_in_the_log(place, caplog):
    with caplog.at_level(logging.WARNING, "eventhpo.optimizer"):
        place.optimizer(**mine(optuna_sampler=Careless(), optuna_pruner=None)).start()
    told = [r.getMessage() for r in caplog.records if "two answers" in r.getMessage()]
    assert len(told) == 1
    assert {e.not_again for e in place.of(TrialSuggested)} == {"answers differ"}
    assert "8 not decided again" in decided(place.log, place.rows()[-1].seq).detail
    assert "answers differ" in invoke("events", place.log).stdout


def test_what_cannot_be_recorded_is_refused_before_there_is_a_log(place):
    sampler = Wandering()
    with (place.folder / "train.py").open() as file:
        sampler.file = file
        with pytest.raises(Usage, match=rf"{NAME}.Wandering cannot be recorded: file: it holds a _io.TextIOWrapper"):
            place.optimizer(optuna_sampler=sampler)
    assert not place.log.exists()


def test_the_class_of_the_page_does_what_the_page_says(place, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "optimizer.md").read_text()
    (text,) = re.findall(r"## Samplers and pruners of your own\n.*?```python\n(.*?)```", page, re.S)
    (tmp_path / "of_the_page.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    sampler = importlib.import_module("of_the_page").Wandering(0.1)
    space = [*SPACE, UniformIntegerParameterRange("General/n", 1, 9, step_size=2)]
    place.optimizer(optuna_sampler=sampler, hyper_parameters=space, total_max_jobs=6).start()
    assert len(place.params()) == 6
    checks = list(check_prefixes(place.rows(), sampler=sampler))
    assert [c for c in checks if c.divergence or c.skipped] == []


# ---------------------------------------------------------------- carried on


def test_a_script_that_was_killed_comes_to_the_search_that_nobody_disturbed(prunable, tmp_path):
    (tmp_path / "alone").mkdir()
    alone = Place((tmp_path / "alone").resolve())
    alone.script(PRUNABLE)
    alone.optimizer(**mine()).start()
    kills = 0
    for _ in range(5):
        target = rows_of(prunable) + 7
        child = forked(lambda: prunable.optimizer(**mine()).start())
        kills += killed_when(child, lambda target=target: rows_of(prunable) >= target)
    assert kills == 5
    prunable.optimizer(**mine()).start()
    assert prunable.params() == alone.params()
    assert [e.state for e in prunable.of(TrialFinished)] == [e.state for e in alone.of(TrialFinished)]
    alone.close()


OTHERS = {
    "another value": ({"optuna_sampler": Wandering(0.5)}, [r"sampler: this .*Wandering holds other values", "width"]),
    "another class": ({"optuna_sampler": Careless()}, [f"sampler: recorded {NAME}.Wandering, now {NAME}.Careless"]),
    "one of Optuna's": ({"optuna_sampler": None}, [f"sampler: recorded {NAME}.Wandering, now TPESampler"]),
    "another pruner": ({"optuna_pruner": OverOne(2.0)}, [r"pruner: this .*OverOne holds other values", "line"]),
    "no pruner": ({"optuna_pruner": "NopPruner"}, [f"pruner: recorded {NAME}.OverOne, now NopPruner"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_instance_is_refused_with_both_sides(place, name):
    place.optimizer(**mine(total_max_jobs=1)).start()
    changes, texts = OTHERS[name]
    for text in texts:
        with pytest.raises(Usage, match=text):
            place.optimizer(**mine() | changes).start()
    place.optimizer(**mine(total_max_jobs=2)).start()
    assert len(place.params()) == 2


def test_one_of_a_users_own_is_refused_where_one_of_optunas_was_recorded(place):
    place.optimizer(total_max_jobs=1).start()
    with pytest.raises(Usage, match=rf"sampler: recorded RandomSampler, now {NAME}.Wandering"):
        place.optimizer(optuna_sampler=Wandering()).start()


def test_a_changed_class_is_refused(place):
    place.optimizer(**mine(total_max_jobs=1)).start()
    other = place.optimizer(**mine())
    search = other._session.asked.search
    foreign = msgspec.structs.replace(search.sampler.foreign, source="0" * 32)
    changed = msgspec.structs.replace(search, sampler=msgspec.structs.replace(search.sampler, foreign=foreign))
    other._session.asked = msgspec.structs.replace(other._session.asked, search=changed)
    with pytest.raises(
        Usage, match=r"the source of .*Wandering, .* is not the recorded one \(recorded .*, now 00000000"
    ):
        other.start()


# ---------------------------------------------------------------- from the command line


def test_the_command_line_reads_such_a_log_and_leaves_carrying_it_on_to_the_script(place):
    place.optimizer(**mine(total_max_jobs=2)).start()
    place.optimizer(**mine(total_max_jobs=4))
    for command in ("status", "top", "events", "verify"):
        assert invoke(command, place.log).exit_code == 0
    assert f"{NAME}.Wandering, {NAME}.OverOne" in invoke("events", place.log).stdout
    before = len(place.rows())
    result = invoke("resume", place.log, "--total-max-jobs", "4")
    assert result.exit_code == 2
    assert "run the script that made the search" in result.stderr
    assert len(place.rows()) == before


def test_a_point_that_is_enqueued_is_tried_by_the_script(place):
    child = forked(lambda: place.optimizer(**mine()).start())
    killed_when(child, lambda: place.log.exists() and len(place.of(TrialFinished)) >= 1)
    result = invoke("enqueue", place.log, "General/x=0.25", "General/kind=a")
    assert result.exit_code == 0
    assert "it is tried next by the script that made the search" in result.stderr
    place.optimizer(**mine()).start()
    assert {"General/x": 0.25, "General/kind": "a"} in place.params()


def test_a_stop_needs_no_script_and_a_reopened_search_goes_on_with_it(place):
    place.hold.touch()
    child = forked(lambda: place.optimizer(**mine()).start())
    killed_when(child, lambda: place.log.exists() and len(place.launches()) == 1)
    stopped = invoke("stop", place.log)
    assert stopped.exit_code == 0
    assert place.state().finished.state == "stopped"
    place.hold.unlink()
    place.optimizer(**mine()).start()  # returns at once
    assert place.state().finished.state == "stopped"
    reopened = invoke("resume", place.log, "--reopen")
    assert reopened.exit_code == 0
    assert "run the script" in reopened.stderr
    assert len(place.of(SearchReopened)) == 1
    place.optimizer(**mine()).start()
    assert place.state().finished.state == "finished"


def test_a_live_run_takes_a_stop_from_the_command_line(place):
    place.hold.touch()
    thread = Thread(place.optimizer(**mine()).start)
    eventually(lambda: place.log.exists() and len(place.launches()) == 1, "a job")
    assert invoke("stop", place.log).exit_code == 0
    thread.ended()
    assert place.state().finished.state == "stopped"
