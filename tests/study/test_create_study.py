"""`create_study` and `optimize`: what is recorded, what a script that is run again gets, and what is refused."""

from __future__ import annotations

import getpass
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

import eventhpo
from eventhpo.core.fold.codec import GENESIS, chain
from eventhpo.core.fold.event_families import Note, UserInput
from eventhpo.core.fold.events import SearchCreated
from eventhpo.core.fold.study_events import LateCall, ParameterSuggested, PointJudged, TrialAdded, TrialTold
from eventhpo.errors import DamagedLog, StorageFailed, Usage
from eventhpo.log.reader import read
from eventhpo.log.sql import SCHEMA
from eventhpo.study.open_study import open_study
from replay import redecide
from replay.decide.report import Diverged
from tests.cli.harness import invoke

RANDOM = optuna.samplers.RandomSampler
NONE = optuna.pruners.NopPruner


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0.0, 1.0)
    for step in range(3):
        trial.report(x + 1 / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


def events(log: Path) -> list[Any]:
    return [row.event for row in read(log, verify=True).rows]


def test_a_trial_is_at_most_ten_rows_with_three_parameters_and_five_reports(tmp_path: Path) -> None:
    def three(trial: optuna.Trial) -> float:
        total = sum(trial.suggest_float(name, 0.0, 1.0) for name in "xyz")
        for step in range(5):
            trial.report(total, step)
            trial.should_prune()
        return float(total)

    study = eventhpo.optimize(three, tmp_path / "s.db", total_trials=12)
    study.close()
    rows = [event for event in events(tmp_path / "s.db") if getattr(event, "trial", None) == 11]
    assert len(rows) <= 10
    assert {type(event) for event in rows} >= {ParameterSuggested, PointJudged, TrialTold}


def test_total_trials_counts_the_finished_trials_of_the_log_and_not_of_the_call(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    assert len(eventhpo.optimize(objective, log, total_trials=4, sampler=RANDOM()).trials) == 4
    study = eventhpo.optimize(objective, log, total_trials=6)
    assert len(study.trials) == 6
    assert len(eventhpo.optimize(objective, log, total_trials=6).trials) == 6
    study.close()


def test_the_limit_of_a_max_trials_callback_is_looked_at_before_a_trial_is_asked_for(tmp_path: Path) -> None:
    stop = optuna.study.MaxTrialsCallback(3)
    study = eventhpo.optimize(objective, tmp_path / "s.db", callbacks=[stop], sampler=RANDOM(), pruner=NONE())
    study.optimize(objective, callbacks=[stop])
    assert len(study.trials) == 3
    study.close()


def test_a_lost_trial_keeps_its_parameters_and_what_came_with_enqueue_and_drops_the_rest(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM(), pruner=NONE())
    study.enqueue_trial({"x": 0.25}, user_attrs={"why": "mine"})
    trial = study.ask()
    assert trial.suggest_float("x", 0.0, 1.0) == 0.25
    trial.set_user_attr("of the attempt", 1)
    trial.report(0.5, 0)
    trial.should_prune()
    opened = study.decisions.opened
    opened.lose(opened.study.trials[0], "a test")
    waiting = study.trials[0]
    assert waiting.state == TrialState.WAITING
    assert (waiting.params, waiting.user_attrs, waiting.intermediate_values) == ({"x": 0.25}, {"why": "mine"}, {})
    again = study.ask()
    assert (again.number, again._trial_id != trial._trial_id) == (0, True)
    assert again.suggest_float("x", 0.0, 1.0) == 0.25
    study.close()


def test_late_calls_for_a_lost_attempt_change_nothing_and_are_noted(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM(), pruner=NONE())
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    opened = study.decisions.opened
    opened.lose(opened.study.trials[0], "a test")
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(1.0, 0)
    with pytest.raises(UpdateFinishedTrialError):
        trial.suggest_float("y", 0.0, 1.0)
    assert study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [111.0]) is False
    assert study.trials[0].values is None
    study.close()
    late = [event for event in events(tmp_path / "s.db") if isinstance(event, LateCall)]
    assert [event.call for event in late][-1] == "set_trial_state_values"
    assert "111.0" in late[-1].detail
    assert all(isinstance(event, Note) for event in late)


def test_the_pruner_is_asked_once_for_each_trial_and_step(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM(), pruner=optuna.pruners.ThresholdPruner(upper=1))
    trial = study.ask()
    trial.report(5.0, 0)
    assert [trial.should_prune() for _ in range(3)] == [True] * 3
    study.close()
    judged = [event for event in events(tmp_path / "s.db") if isinstance(event, PointJudged)]
    assert [(event.value, event.prune) for event in judged] == [(5.0, True)]


def test_an_objective_that_raises_is_a_failed_trial_with_its_error(tmp_path: Path) -> None:
    def broken(trial: optuna.Trial) -> float:
        raise RuntimeError("no such batch")

    with pytest.raises(RuntimeError):
        eventhpo.optimize(broken, tmp_path / "s.db", total_trials=3, sampler=RANDOM())
    study = eventhpo.optimize(broken, tmp_path / "s.db", total_trials=3, catch=(RuntimeError,))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3
    study.close()
    told = [event for event in events(tmp_path / "s.db") if isinstance(event, TrialTold)]
    assert {event.why for event in told} == {"RuntimeError: no such batch"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_running_trial_to_be_asked_for_next(number: signal.Signals, tmp_path: Path) -> None:
    script = f"""
import os, signal, optuna, eventhpo
def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    if trial.number == 2:
        os.kill(os.getpid(), {int(number)})
        while True: signal.pause()
    return x
eventhpo.optimize(objective, {str(tmp_path / "s.db")!r}, total_trials=5)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    study = eventhpo.create_study(tmp_path / "s.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "WAITING"]
    assert study.ask().number == 2
    study.close()


def test_a_second_process_is_refused_and_told_of_serve(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM())
    script = f"import eventhpo; eventhpo.create_study({str(tmp_path / 's.db')!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "eventhpo serve" in done.stderr
    study.close()


def test_a_forked_process_is_refused(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            study.ask()
            os.write(writing, b"asked")
        except Exception as error:  # noqa: BLE001  the parent looks at it
            os.write(writing, type(error).__name__.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"Busy"
    study.close()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "sides"),
    [
        ({"direction": "maximize"}, ["minimize", "maximize"]),
        ({"sampler": optuna.samplers.TPESampler(n_startup_trials=7)}, ["RandomSampler", "TPESampler"]),
        ({"pruner": optuna.pruners.ThresholdPruner(upper=2.0)}, ["NopPruner", "ThresholdPruner"]),
        ({"seed": 9}, ["8", "9"]),
        ({"sampler": optuna.samplers.RandomSampler(seed=9)}, ["seed: the log has 8", "9"]),
        ({"study_name": "other"}, ["'s'", "'other'"]),
        ({"load_if_exists": False}, ["exists"]),
        ({"directions": ["minimize", "up"]}, ["up"]),
    ],
)
def test_what_differs_from_the_log_is_refused_with_both_sides(
    arguments: dict[str, Any], sides: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "s.db"
    study = eventhpo.create_study(log, sampler=RANDOM(), pruner=NONE(), seed=8)
    with pytest.raises(Usage) as refused:
        eventhpo.create_study(log, **arguments)
    assert all(side in str(refused.value) for side in sides)
    study.close()


def test_of_a_sampler_that_differs_only_the_arguments_that_do_are_named(tmp_path: Path) -> None:
    tpe = optuna.samplers.TPESampler
    eventhpo.create_study(tmp_path / "s.db", sampler=tpe(n_startup_trials=7, multivariate=True, seed=3)).close()
    with pytest.raises(Usage) as refused:
        eventhpo.create_study(tmp_path / "s.db", sampler=tpe(multivariate=True, seed=3))
    _, line = str(refused.value).splitlines()
    assert line == "sampler: TPESampler: the log has n_startup_trials=7, this script asks for n_startup_trials=10"


@pytest.mark.parametrize("given", [{}, {"seed": 3}, {"sampler": RANDOM(seed=3)}, {"sampler": RANDOM()}])
def test_a_seed_that_is_the_same_or_not_given_is_no_difference(given: dict[str, Any], tmp_path: Path) -> None:
    eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM(seed=3)).close()
    eventhpo.create_study(tmp_path / "s.db", **given).close()


def test_a_study_that_is_carried_on_says_how_far_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.enable_propagation()
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM(seed=3))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)
    study.close()
    assert "carried on" not in caplog.text
    with caplog.at_level("INFO", logger="optuna"):
        eventhpo.create_study(tmp_path / "s.db").close()
    optuna.logging.disable_propagation()
    assert f"{tmp_path / 's.db'} is carried on: 3 trials are finished" in caplog.text


def test_a_grid_without_a_seed_is_carried_on(tmp_path: Path) -> None:
    """Its constructor draws, so two of them differ in their generators, and the user gave no seed."""
    for _ in range(2):
        grid = optuna.samplers.GridSampler({"x": [1, 2, 3]})
        eventhpo.create_study(tmp_path / "s.db", sampler=grid).close()


def test_a_log_without_decisions_says_how_its_trials_get_into_one_with_them(tmp_path: Path) -> None:
    plain = optuna.create_study(storage=eventhpo.EventStorage(tmp_path / "old.db"), study_name="old")
    plain.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)
    with pytest.raises(Usage, match="add_trials"):
        eventhpo.create_study(tmp_path / "old.db")
    study = eventhpo.create_study(tmp_path / "new.db", sampler=RANDOM())
    study.add_trials(eventhpo.load_study(tmp_path / "old.db").trials)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    assert [trial.value for trial in study.trials[:3]] == [trial.value for trial in plain.trials]
    assert len(study.trials) == 5
    study.close()


def test_a_database_of_optunas_own_is_recognised(tmp_path: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="old")
    with pytest.raises(Usage, match="eventhpo import sqlite:///"):
        eventhpo.create_study(tmp_path / "study.db")
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    optuna.create_study(storage=optuna.storages.JournalStorage(journal), study_name="old")
    with pytest.raises(Usage, match="eventhpo import"):
        eventhpo.EventStorage(tmp_path / "journal.log")


@pytest.mark.parametrize("command", [("status",), ("verify",), ("explain", "0"), ("serve",), ("top",)], ids=" ".join)
def test_each_command_names_import_for_a_database_of_optunas_own(command: tuple[str, ...], tmp_path: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="old")
    name, *more = command
    refused = invoke(name, tmp_path / "study.db", *more)
    assert refused.exit_code in (2, 3)
    assert "eventhpo import sqlite:///" in refused.output
    with pytest.raises(DamagedLog, match="eventhpo import sqlite:///"):
        eventhpo.load_study(tmp_path / "study.db")


def test_a_log_that_was_cut_short_is_damaged_and_not_a_traceback_of_sqlite(tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    eventhpo.optimize(objective, log, total_trials=20, sampler=RANDOM()).close()
    for size in (log.stat().st_size - 5000, 4096, 100):
        os.truncate(log, size)
        with pytest.raises(DamagedLog):
            eventhpo.create_study(log)


@pytest.mark.parametrize(
    ("value", "why"),
    [(float("nan"), "returned nan"), (None, "returned None"), ("best", "returned 'best'"), ([1.0, None], "None")],
)
def test_a_value_that_is_no_number_fails_the_trial_and_the_log_says_why(value: Any, why: str, tmp_path: Path) -> None:
    eventhpo.optimize(lambda _: value, tmp_path / "s.db", total_trials=1, sampler=RANDOM()).close()
    [told] = [event for event in events(tmp_path / "s.db") if isinstance(event, TrialTold)]
    assert told.state == "failed"
    assert why in told.why


@pytest.mark.parametrize("away", ["deleted", "moved"])
def test_a_log_that_is_gone_while_the_script_runs_is_told_without_a_word_of_jobs(away: str, tmp_path: Path) -> None:
    log = tmp_path / "s.db"

    def go_away(trial: optuna.Trial) -> float:
        log.unlink() if away == "deleted" else log.rename(tmp_path / "other.db")
        return trial.suggest_float("x", 0.0, 1.0)

    with pytest.raises(StorageFailed, match=f"was {away}") as told:
        eventhpo.optimize(go_away, log, total_trials=3, sampler=RANDOM())
    assert "this process records nothing more of the study" in str(told.value)
    assert "job" not in str(told.value)
    assert "resume" not in str(told.value)


def test_a_study_of_the_storage_alone_is_not_carried_on_as_a_recorded_one(tmp_path: Path) -> None:
    storage = eventhpo.EventStorage(tmp_path / "s.db")
    optuna.create_study(storage=storage, sampler=RANDOM()).optimize(objective, n_trials=2)
    with pytest.raises(Usage, match="EventStorage"):
        eventhpo.create_study(tmp_path / "s.db")
    storage.close()
    report = redecide(tmp_path / "s.db")
    assert report.decisions == 6  # the reports, which nobody decided
    assert {item.why for item in report.undecided} == {"of a sampler that is not known"}


# ---------------------------------------------------------------- decided again


def forge(log: Path, type_: str, change: Any) -> None:
    """Rewrite the first row of a type and all hashes after it, as somebody with the code could."""
    db = sqlite3.connect(log)
    db.execute("DROP TRIGGER event_is_not_updated")
    before, changed = GENESIS.hash, False
    query = "SELECT seq, at, epoch, cause, type, v, body FROM event ORDER BY seq"
    for seq, at, epoch, cause, name, version, text in db.execute(query).fetchall():
        body = text
        if name == type_ and not changed:
            data = json.loads(text)
            changed = change(data)
            body = json.dumps(data, separators=(",", ":")) if changed else text
        before = chain(before, seq, at, epoch, cause, name, version, body)
        db.execute("UPDATE event SET body = ?, hash = ? WHERE seq = ?", (body, before, seq))
    db.execute(SCHEMA["event_is_not_updated"])
    db.commit()
    db.close()
    log.with_name(f"{log.name}.head").unlink()


@pytest.mark.parametrize("type_", ["ParameterSuggested", "PointJudged"])
def test_a_forged_decision_is_found(type_: str, tmp_path: Path) -> None:
    log = tmp_path / "s.db"
    eventhpo.optimize(objective, log, total_trials=8, pruner=optuna.pruners.MedianPruner(n_startup_trials=2)).close()
    assert redecide(log).divergences == ()

    def change(data: dict[str, Any]) -> bool:
        if type_ == "PointJudged":
            data["prune"] = not data["prune"]
            return True
        data["parameter"][1] = data["parameter"][2] = 0.123
        return bool(data["source"] == "independent")

    forge(log, type_, change)
    try:
        report = redecide(log, raise_on_divergence=False)
    except Diverged as error:
        report = error.report
    assert len(report.divergences) == 1
    assert report.divergences[0].seq > 2


def test_one_log_is_open_once_in_a_process(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "s.db", sampler=RANDOM())
    assert open_study(tmp_path / "s.db") is study.decisions.opened
    study.close()


def test_each_input_of_a_study_names_the_user_who_runs_the_script(tmp_path: Path) -> None:
    study = eventhpo.create_study(tmp_path / "study.db", sampler=RANDOM(seed=1), pruner=NONE())
    study.enqueue_trial({"x": 0.5})
    study.optimize(objective, n_trials=2)
    inputs = [row.event for row in read(tmp_path / "study.db").rows if isinstance(row.event, UserInput)]
    assert {type(event) for event in inputs} >= {SearchCreated, TrialAdded}
    assert {(event.by, event.uid) for event in inputs} == {(f"{getpass.getuser()}@{socket.gethostname()}", os.getuid())}


def test_a_full_disk_is_told_with_what_goes_on_with_a_study(tmp_path: Path) -> None:
    script = f"""
import resource, signal, eventhpo, optuna
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
study = eventhpo.create_study({str(tmp_path / "s.db")!r}, sampler=optuna.samplers.RandomSampler())
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=5000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the study goes on when its script is run again" in done.stderr
    study = eventhpo.create_study(tmp_path / "s.db")
    reached = len(study.trials)
    study.optimize(objective, total_trials=reached + 2)
    assert len(study.trials) == reached + 2
    study.close()
    assert redecide(tmp_path / "s.db").divergences == ()


def test_a_log_that_is_gone_when_the_script_ends_is_told_in_a_line(tmp_path: Path) -> None:
    code = f"""
import os, optuna, eventhpo
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = eventhpo.create_study({str(tmp_path / "s.db")!r}, sampler=optuna.samplers.RandomSampler(seed=1))
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
os.remove({str(tmp_path / "s.db")!r})
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert "was deleted while" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
