"""`eventhpo note` and `cancel` on a study: recorded with who and why, and shown; other acts name another way."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

import eventhpo
from eventhpo.core.fold.events import TrialCancelled, TrialNoted
from eventhpo.log.reader import read
from replay import redecide
from tests.cli.harness import invoke
from tests.study.scripts import run, trials

SAMPLER = optuna.samplers.RandomSampler


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0.0, 1.0)


def test_a_note_is_in_the_log_with_who_and_why_and_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    eventhpo.optimize(objective, log, total_trials=3, sampler=SAMPLER(seed=1)).close()
    done = invoke("note", log, "1", "its loss falls", "--by", "ann", "--why", "for the paper")
    assert done.exit_code == 0, done.output
    [noted] = [row.event for row in read(log).rows if isinstance(row.event, TrialNoted)]
    assert (noted.trial, noted.text, noted.by, noted.why) == (1, "its loss falls", "ann", "for the paper")
    for command in (("explain", log, "1"), ("postmortem", log), ("events", log)):
        shown = invoke(*command).stdout
        assert "its loss falls" in shown, command
        assert "ann" in shown, command
    assert len(eventhpo.optimize(objective, log, total_trials=5, sampler=SAMPLER(seed=1)).trials) == 5
    assert redecide(log).divergences == ()


def test_a_study_that_a_process_has_open_takes_notes_and_cancels_what_waits(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    study = eventhpo.create_study(log, sampler=SAMPLER(seed=1))
    study.enqueue_trial({"x": 0.5})
    study.enqueue_trial({"x": 0.25})
    assert invoke("note", log, "0", "mine").exit_code == 0
    assert invoke("cancel", log, "0", "--why", "a typing error").exit_code == 0
    study.optimize(objective, n_trials=1)
    assert [(t.state, t.params) for t in study.trials] == [(TrialState.FAIL, {}), (TrialState.COMPLETE, {"x": 0.25})]
    assert "cancelled" in invoke("explain", log, "0").stdout
    assert "a typing error" in invoke("explain", log, "0").stdout
    study.close()
    assert redecide(log).divergences == ()


def test_a_trial_that_runs_in_a_living_process_is_ended_there(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=SAMPLER(seed=1))
    trial = study.ask()
    refused = invoke("cancel", tmp_path / "s.db", "0")
    assert refused.exit_code == 2
    assert "End that process, then cancel" in refused.output
    assert study.tell(trial, 1.0).state == TrialState.COMPLETE
    study.close()


def test_a_trial_that_was_cut_off_and_is_cancelled_is_not_asked_for_again(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    run(log, sampler="random", kill_at=16)
    cut_off = len(eventhpo.load_study(log).trials) - 1
    done = invoke("cancel", log, str(cut_off), "--by", "ann", "--why", "it hangs")
    assert done.exit_code == 0, done.output
    again = invoke("cancel", log, str(cut_off))
    assert again.exit_code == 2
    assert "already" in again.output
    reached = trials(log, sampler="random")
    assert [trial[0] for trial in reached] == list(range(12))
    assert reached[cut_off][1] == "FAIL"
    assert all(state == "COMPLETE" for number, state, *_ in reached if number != cut_off)
    [cancelled] = [row.event for row in read(log).rows if isinstance(row.event, TrialCancelled)]
    assert (cancelled.by, cancelled.why) == ("ann", "it hangs")
    explained = invoke("explain", log, str(cut_off)).stdout
    assert "cancelled: it is failed, and not asked for again; by ann" in explained
    assert "it hangs" in explained
    assert "it hangs" in invoke("postmortem", log).stdout
    assert redecide(log).divergences == ()


def test_a_call_for_a_trial_that_was_cancelled_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    first = eventhpo.create_study(log, sampler=SAMPLER(seed=1))
    trial_id = first.ask()._trial_id
    first.close()
    done = invoke("cancel", log, "0")
    assert done.exit_code == 0, done.output
    second = eventhpo.create_study(log)
    with pytest.raises(UpdateFinishedTrialError):
        second._storage.set_trial_intermediate_value(trial_id, 0, 1.0)
    second.close()


@pytest.mark.parametrize(
    "command",
    [("stop",), ("enqueue", "x=0.5"), ("pause",), ("unpause",), ("resume",), ("resume", "--total-max-jobs", "9")],
    ids=" ".join,
)
def test_other_acts_name_what_to_do_instead_and_leave_no_row(command: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    eventhpo.optimize(objective, log, total_trials=2, sampler=SAMPLER(seed=1)).close()
    before = log.read_bytes()
    name, *more = command
    refused = invoke(name, log, *more)
    assert refused.exit_code == 2
    assert "run the script that made it again" in refused.output
    assert "study.enqueue_trial" in refused.output
    assert log.read_bytes() == before
