"""Studies come in from Optuna's own storages, and any log goes out as a read-only study."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import optuna
import pytest
from optuna.trial import TrialState

import eventhpo
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import Usage
from eventhpo.log.reader import read
from eventhpo.study.import_study import import_study
from replay import redecide, whatif
from tests.waiting import eventually

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 1e-3, 1.0, log=True)
    kind = trial.suggest_categorical("kind", ["a", None, 3])
    trial.set_user_attr("kind", kind)
    for step in range(4):
        trial.report(x / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    if trial.number == 4:
        raise ValueError("broken")
    return x


def source(folder: Path, kind: str) -> tuple[str, optuna.Study]:
    if kind == "rdb":
        url = f"sqlite:///{folder}/old.db"
        study = optuna.create_study(storage=url, study_name="old", direction="maximize")
    else:
        url = str(folder / "old.journal")
        backend = optuna.storages.journal.JournalFileBackend(url)
        study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="old")
    study.set_user_attr("who", ["me", 1])
    study.optimize(objective, n_trials=12, catch=(ValueError,))
    study.enqueue_trial({"x": 0.5})
    study.ask()
    study.enqueue_trial({"x": 0.25}, user_attrs={"why": "mine"})
    return url, study


def comparable(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    return (
        trial.number,
        trial.state,
        trial.values,
        trial.params,
        trial.distributions,
        trial.user_attrs,
        trial.intermediate_values,
        trial.datetime_start,
        trial.datetime_complete,
    )


@pytest.mark.parametrize("kind", ["rdb", "journal"])
def test_an_imported_study_is_the_one_of_the_source(kind: str, tmp_path: Path) -> None:
    url, old = source(tmp_path, kind)
    log = tmp_path / "new.db"
    imported = import_study(url, "old", log)
    assert (imported.trials, imported.unfinished) == (14, 1)
    new = eventhpo.load_study(log)
    assert new.directions == old.directions
    assert new.user_attrs == {"who": ["me", 1]}
    assert [comparable(t) for t in new.trials[:12]] == [comparable(t) for t in old.trials[:12]]
    assert new.trials[12].state == TrialState.FAIL
    assert new.trials[12].system_attrs["fail_reason"] == "unfinished in the source"
    assert new.trials[13].state == TrialState.WAITING
    assert new.trials[13].system_attrs["fixed_params"] == {"x": 0.25}
    assert new.best_trial.number == old.best_trial.number


def test_what_a_storage_does_not_know_is_unknown_and_the_study_goes_on_through_the_storage(tmp_path: Path) -> None:
    url, _ = source(tmp_path, "rdb")
    log = tmp_path / "new.db"
    import_study(url, None, log)
    storage = eventhpo.EventStorage(log)
    study = optuna.load_study(study_name="old", storage=storage, sampler=optuna.samplers.RandomSampler())
    study.optimize(objective, n_trials=2)
    assert len(study.trials) == 15
    assert study.trials[13].params["x"] == 0.25
    storage.close()
    assert {item.why for item in redecide(log).undecided} == {"of a sampler that is not known"}


@pytest.mark.parametrize(
    ("url", "name", "part"),
    [
        ("sqlite:///{folder}/none.db", "old", "no file"),
        ("{folder}/none.journal", "old", "no such file"),
        ("sqlite:///{folder}/old.db", "other", "has no study 'other'"),
        ("{folder}/old.db", "old", "sqlite:///"),
    ],
)
def test_a_source_that_is_not_there_is_refused_and_makes_no_log(url: str, name: str, part: str, tmp_path: Path) -> None:
    source(tmp_path, "rdb")
    with pytest.raises(Usage, match=part):
        import_study(url.format(folder=tmp_path), name, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_the_command_says_what_it_did_and_refuses_a_log_that_exists(tmp_path: Path) -> None:
    url, _ = source(tmp_path, "rdb")
    command = [sys.executable, "-m", "eventhpo", "import", url, "old", "-o", str(tmp_path / "new.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "14 trials, 1 of them unfinished in the source" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "new.db" in again.stderr


# ---------------------------------------------------------------- any log as a study


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.db")), ids=lambda path: path.stem)
def test_each_golden_log_is_a_read_only_study(log: Path) -> None:
    study = eventhpo.load_study(log)
    state = fold(read(log).rows)
    assert len(study.trials) == len(state.trials)
    for shown, trial in zip(study.trials, state.trials, strict=True):
        if trial.finished is not None and trial.finished.state == "completed":
            assert shown.values == [float(value) for value in trial.finished.values or ()]
    with pytest.raises(PermissionError):
        study.ask()
    with pytest.raises(PermissionError):
        study.set_user_attr("a", 1)


def test_optunas_importance_and_plots_take_a_loaded_study(tmp_path: Path) -> None:
    eventhpo.optimize(objective, tmp_path / "s.db", total_trials=15, catch=(ValueError,)).close()
    study = eventhpo.load_study(tmp_path / "s.db")
    importance = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    assert set(importance) == {"x", "kind"}


# ---------------------------------------------------------------- the dashboard


def test_the_dashboard_shows_a_log_live_and_answers_writes_with_403(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    from eventhpo.study.dashboard import application

    study = eventhpo.create_study(tmp_path / "s.db", sampler=optuna.samplers.RandomSampler())
    study.optimize(objective, n_trials=2)
    study.decisions.opened.commit()
    with make_server("127.0.0.1", 0, application(tmp_path / "s.db")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"

        def trials() -> int:
            with urllib.request.urlopen(f"{url}/api/studies/0?after=0") as answer:  # noqa: S310
                return len(json.load(answer)["trials"])

        assert trials() == 2
        study.optimize(objective, n_trials=1)
        study.decisions.opened.commit()
        eventually(lambda: trials() == 3, "the new trial, which the dashboard asks for every few seconds")
        request = urllib.request.Request(f"{url}/api/studies/0", method="DELETE")  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)  # noqa: S310
        assert refused.value.code == 403
        refused.value.close()
        server.shutdown()
    study.close()


def test_whatif_knows_the_curves_of_an_imported_study(tmp_path: Path) -> None:
    url, old = source(tmp_path, "rdb")
    import_study(url, "old", tmp_path / "new.db")
    answer = whatif(tmp_path / "new.db", ["MedianPruner"])
    best = old.best_trial
    assert (answer.winner, answer.value) == (best.number, best.value)
    assert answer.iterations == sum(len(trial.intermediate_values) for trial in old.trials)
    recorded = answer.rows[0].totals
    assert recorded.trials == 13  # those that are over, and the one that ran in the source
    assert recorded.pruned == sum(trial.state == TrialState.PRUNED for trial in old.trials)
