"""`eventhpo serve` and its workers: Optuna's suite behind gRPC, leases, kills of server and workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

import eventhpo
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.study_events import LateCall, PointJudged, TrialAsked, TrialLost
from eventhpo.errors import Unanswered, Usage
from eventhpo.log.reader import read
from eventhpo.study.serve import StudyServer
from replay import redecide
from tests.study.served import finished, first_line, start_server, start_worker, told_otherwise
from tests.waiting import eventually

pytest.importorskip("grpc")
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class TestBehindGrpc(StorageTestCase):
    """Optuna's own client of a folder that is served; its suite, but for one case."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BaseStorage]:
        server = StudyServer(tmp_path / "studies", "127.0.0.1", 0)
        server.start()
        proxy = GrpcStorageProxy(host="127.0.0.1", port=server.port)
        yield proxy
        proxy.close()
        server.stop(0.1)

    def test_get_all_trials_params_order(self, storage: BaseStorage) -> None:
        pytest.skip("a protobuf map has no order: Optuna's client gives parameters in any")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A study of which nothing ran yet."""
    sampler = optuna.samplers.TPESampler(n_startup_trials=3, seed=1)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    eventhpo.create_study(tmp_path / "s.db", sampler=sampler, pruner=pruner).close()
    return tmp_path / "s.db"


@pytest.fixture
def server(log: Path) -> Iterator[StudyServer]:
    made = StudyServer(log, "127.0.0.1", 0)
    made.start()
    yield made
    made.stop(0.1)


def test_a_worker_gets_suggestions_and_verdicts_that_are_decided_again(server: StudyServer, log: Path) -> None:
    study = eventhpo.connect(f"127.0.0.1:{server.port}")

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(3):
            trial.report(x + 1 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    study.optimize(objective, total_trials=12)
    assert [trial.number for trial in study.trials] == list(range(12))
    study.close()
    server.stop(0.1)
    report = redecide(log)
    assert report.undecided == ()
    assert report.decisions > 30
    asked = [row.event for row in read(log).rows if isinstance(row.event, TrialAsked)]
    assert {event.worker.partition("#")[0] for event in asked} == {study.worker}


def test_a_silent_worker_loses_its_trial_and_its_late_calls_are_refused(server: StudyServer, log: Path) -> None:
    address = f"127.0.0.1:{server.port}"
    silent = eventhpo.connect(address, lease=0.2)
    trial = silent.ask()
    value = trial.suggest_float("x", 0.0, 1.0)
    silent.close()  # it renews no more
    other = eventhpo.connect(address)
    eventually(lambda: server.storage.studies()[0].study.trials[0].state == "waiting", "the trial that goes back")
    again = other.ask()
    assert again.number == trial.number
    assert again.suggest_float("x", 0.0, 1.0) == value
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(1.0, 0)
    silent._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [111.0])
    other.tell(again, 0.5)
    assert other.trials[0].values == [0.5]
    other.close()
    server.stop(0.1)
    events = [row.event for row in read(log).rows]
    assert Counter(type(event) for event in events)[TrialLost] == 1
    assert any(isinstance(event, LateCall) for event in events)


def test_a_worker_that_is_heard_of_keeps_its_trial(server: StudyServer) -> None:
    study = eventhpo.connect(f"127.0.0.1:{server.port}", lease=0.3)
    trial = study.ask()
    [opened] = server.storage.studies()
    first = server._seen[trial._trial_id]
    eventually(lambda: server._seen[trial._trial_id] > first + 1.0, "renewals for longer than the lease")
    assert opened.study.trials[0].state == "running"
    study.close()


def test_a_report_goes_with_the_question_to_the_pruner_and_alone_if_none_comes(server: StudyServer, log: Path) -> None:
    study = eventhpo.connect(f"127.0.0.1:{server.port}")
    trial = study.ask()
    [opened] = server.storage.studies()
    for step in range(3):
        trial.report(1.0, step)
        assert not trial.should_prune()
    trial.report(2.0, 3)
    eventually(lambda: 3 in opened.study.trials[0].points, "the report that nobody asked about")
    trial.report(3.0, 4)
    trial.set_user_attr("after", 1)  # sends it first
    assert opened.study.trials[0].points == {0: 1.0, 1: 1.0, 2: 1.0, 3: 2.0, 4: 3.0}
    study.close()
    server.stop(0.1)
    judged = [row.event for row in read(log).rows if isinstance(row.event, PointJudged)]
    assert [(p.step, p.value, p.prune) for p in judged[-4:]] == [
        (1, 1.0, False),
        (2, 1.0, False),
        (3, 2.0, None),
        (4, 3.0, None),
    ]
    assert redecide(log).divergences == ()


def test_a_report_that_waited_and_came_late_is_refused_at_the_next_call(server: StudyServer) -> None:
    study = eventhpo.connect(f"127.0.0.1:{server.port}")
    [opened] = server.storage.studies()
    calls = [lambda t: t.should_prune(), lambda t: t.report(1.0, 2), lambda t: t.set_user_attr("a", 1)]
    for number, call in enumerate(calls):
        trial = study.ask()
        trial.report(1.0, 0)
        trial.should_prune()
        opened.lose(opened.study.trials[0], "a test")
        trial.report(1.0, 1)
        with pytest.raises(UpdateFinishedTrialError):
            call(trial)
        assert opened.study.trials[0].points == {}, number
    study.close()


def test_another_distribution_is_refused_before_it_is_recorded(server: StudyServer) -> None:
    study = eventhpo.connect(f"127.0.0.1:{server.port}")
    study.ask().suggest_float("x", 0.0, 1.0)
    with pytest.raises(ValueError, match="different distribution kind"):
        study.ask().suggest_categorical("x", ["a", "b"])
    [opened] = server.storage.studies()
    assert [sorted(trial.parameters) for trial in opened.study.trials] == [["x"], []]
    study.close()


def test_nobody_at_the_address_and_a_wrong_address_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventhpo.study.patient_proxy.PATIENCE", 0.2)
    with pytest.raises(Unanswered):
        eventhpo.connect("127.0.0.1:1")
    with pytest.raises(Usage, match="host:port"):
        eventhpo.connect("13000")


def test_a_study_whose_sampler_is_not_known_is_for_optunas_client(tmp_path: Path) -> None:
    optuna.create_study(storage=eventhpo.EventStorage(tmp_path / "s.db"))
    server = StudyServer(tmp_path / "s.db", "127.0.0.1", 0)
    server.start()
    with pytest.raises(Usage, match="GrpcStorageProxy"):
        eventhpo.connect(f"127.0.0.1:{server.port}")
    server.stop(0.1)


# ---------------------------------------------------------------- processes that are killed


@pytest.mark.parametrize("rounds", [3])
def test_kills_of_server_and_workers_lose_nothing_that_was_answered(log: Path, tmp_path: Path, rounds: int) -> None:
    total, ledger, alive = 40, tmp_path / "ledger", []

    def worker() -> subprocess.Popen[bytes]:
        alive.append(start_worker(port, total, ledger))
        return alive[-1]

    process, port = start_server(log)
    alive.append(process)
    try:
        workers = [worker() for _ in range(3)]
        for _ in range(rounds):
            reached = finished(log)
            eventually(lambda reached=reached: finished(log) > reached, "a trial more")
            victim = workers.pop(0)
            for killed in (victim, process):
                killed.kill()
                killed.wait()
            process, _ = start_server(log, port)
            alive.append(process)
            workers.append(worker())
        for running in workers:
            assert running.wait() == 0
        process.terminate()
        assert process.wait() in (0, 143)
    finally:
        for left in alive:
            left.kill()
            left.wait()
    report = redecide(log)
    assert report.undecided == ()
    state = fold(read(log, verify=True).rows)
    assert sum(state.totals.trials.values()) == total
    assert [trial.number for trial in state.trials] == list(range(total))
    assert told_otherwise(state, ledger) == []


def test_a_trial_that_ran_with_another_point_than_the_log_has_is_seen(log: Path, tmp_path: Path) -> None:
    """Negative control."""
    eventhpo.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), log, total_trials=1).close()
    state = fold(read(log).rows)
    value = state.trials[0].finished.values[0]  # type: ignore[union-attr,index]
    ledger = tmp_path / "ledger"
    for lines, wrong in ((f"0 {value!r}\n", 0), ("0 17.0\n", 1), (f"0 {value!r}\n0 17.0\n", 1)):
        ledger.write_text(lines)
        assert len(told_otherwise(state, ledger)) == wrong


def test_sigterm_ends_the_server_and_the_log_rests(log: Path) -> None:
    process, _ = start_server(log)
    process.send_signal(signal.SIGTERM)
    assert process.wait() in (0, 143)
    assert not log.with_name(f"{log.name}-wal").exists()


def test_the_address_is_told_with_who_can_reach_it(log: Path) -> None:
    process, _ = start_server(log)
    process.terminate()
    process.wait()
    command = [sys.executable, "-m", "eventhpo", "serve", str(log), "--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert "without authentication" in first_line(other)
    other.terminate()
    other.wait()
