"""`eventhpo serve`: one writer of a study's log, and any number of workers that reach it by gRPC.

The server speaks Optuna's own protocol, so `optuna.storages.GrpcStorageProxy` works with it; a study
of `eventhpo.connect` also asks it for suggestions and verdicts (`calls`). Each answer is on the disk
before it is sent; calls that come at the same time share a commit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.study_events import TrialAsked
from eventhpo.core.search.spec import Search, StudyJobs, to_num
from eventhpo.errors import StorageFailed, Usage, not_installed
from eventhpo.optuna_adapter.study_components import Component
from eventhpo.study import calls
from eventhpo.study.frozen_trials import distribution
from eventhpo.study.open_study import OpenStudy
from eventhpo.study.recorded_study import RecordedDecisions
from eventhpo.study.storage import EventStorage, require_compatible

THREADS = 32  # calls at a time; each holds the study's lock for less than a commit takes
LOOKS = 4  # how often a lease is looked at while it lasts


class ServedStorage(EventStorage):
    """The storage of the server: every change is on the disk before the call returns."""

    def __init__(self, path: str | Path, seen: Callable[[int], None]) -> None:
        super().__init__(path)
        self._seen = seen

    def _durable(self, trial_id: int) -> None:
        self._seen(trial_id)
        self._of_trial(trial_id).make_durable()

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return super().create_new_study(directions, study_name)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id, template_trial)
        self._seen(trial_id)
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._durable(trial_id)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._durable(trial_id)

    def hold_report(self, trial_id: int, step: int, value: float) -> None:
        """Take a report about which the pruner is asked next: both are one row."""
        super().set_trial_intermediate_value(trial_id, step, value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        self._durable(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        self._durable(trial_id)


class StudyServer:
    """Serves the study of one log, or those of a folder, until it is stopped.

    Args:
        path: A log, a folder, or a path to make either at.
        host: The address to listen at.
        port: The port, 0 for a free one; `port` has it.
        client_lease: Seconds for which a trial of Optuna's own client may be silent; None: for ever, as a silent
            objective cannot be told from a dead process there.

    Raises:
        Usage: grpcio is not installed, or the path is no study.
        Busy: another process has the log.
        StorageFailed: the address cannot be listened at.
    """

    def __init__(self, path: Path, host: str, port: int, client_lease: float | None = None) -> None:
        try:
            import grpc  # noqa: PLC0415  an extra
            from optuna.storages._grpc.auto_generated.api_pb2_grpc import (  # noqa: PLC0415
                add_StorageServiceServicer_to_server,
            )
            from optuna.storages._grpc.servicer import OptunaStorageProxyService  # noqa: PLC0415
        except ImportError as error:
            raise not_installed("grpcio is", "serve") from error
        self._seen: dict[int, float] = {}  # by trial id: when a call named it last
        self._client_lease, self._start = client_lease, time.monotonic()
        self._stopped = threading.Event()
        self.storage = ServedStorage(path, self._see)
        self._decisions: dict[int, RecordedDecisions] = {}
        self._server = grpc.server(ThreadPoolExecutor(max_workers=THREADS))
        add_StorageServiceServicer_to_server(  # type: ignore[no-untyped-call]
            OptunaStorageProxyService(self.storage), self._server
        )
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(calls.SERVICE, {"Call": handler}),))
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            self.storage.close()
            raise StorageFailed(f"cannot listen at {host}:{port}: {error}; choose another --port") from error
        self._code = grpc.StatusCode
        self._watch = threading.Thread(target=self._watch_leases, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        self._watch.start()

    def stop(self, grace: float = 5.0) -> None:
        """Answer the calls under way, at most for *grace* seconds, and let the log rest."""
        self._stopped.set()
        self._server.stop(grace).wait()
        self.storage.close()

    # ---------------------------------------------------------------- leases

    def _see(self, trial_id: int) -> None:
        self._seen[trial_id] = time.monotonic()

    def _watch_leases(self) -> None:
        while not self._stopped.wait(self._pause()):
            for study in self.storage.studies():
                with study.lock:
                    for trial in list(study.study.trials):
                        lease = trial.lease if trial.worker else self._client_lease
                        seen = self._seen.get(trial.trial_id, self._start)
                        if trial.state == "running" and lease is not None and time.monotonic() - seen > lease:
                            study.lose(trial, f"its worker was silent for {lease:g} s")

    def _pause(self) -> float:
        leases = [t.lease for s in self.storage.studies() for t in s.study.trials if t.state == "running" and t.lease]
        return min([1.0, *(lease / LOOKS for lease in leases), (self._client_lease or LOOKS) / LOOKS])

    # ---------------------------------------------------------------- calls of our own

    def _answer(self, body: bytes, context: Any) -> bytes:
        try:
            return msgspec.json.encode(self._done(calls.decode_call(body)))
        except UpdateFinishedTrialError as error:
            context.abort(self._code.FAILED_PRECONDITION, str(error))
        except KeyError as error:
            context.abort(self._code.NOT_FOUND, str(error))
        except (Usage, msgspec.DecodeError) as error:
            context.abort(self._code.INVALID_ARGUMENT, str(error))
        except ValueError as error:
            context.abort(self._code.OUT_OF_RANGE, str(error))
        raise AssertionError("abort raises")

    def _done(self, call: Any) -> Any:
        match call:
            case calls.Hello():
                search = self._study().state.search
                return calls.Served(name=search.name, decides=_decides(search))
            case calls.Ask():
                return self._ask(call)
            case calls.AskProgress():
                study = self._study()
                return calls.SoFar(finished=sum(study.state.totals.trials.values()), used_up=study.study.stopped)
            case calls.Renew(worker=worker) | calls.GiveBack(worker=worker):
                self._of_worker(call, worker)
                return calls.Done()
        study = self.storage.study_of(call.trial_id)
        self._see(call.trial_id)
        answer = self._of_trial(self._decisions_of(study), call)
        study.make_durable()
        return answer

    def _of_trial(self, decisions: RecordedDecisions, call: Any) -> Any:
        match call:
            case calls.AskRelative(trial_id=trial_id):
                return calls.Chosen(parameters=decisions.recorded_relative(trial_id))
            case calls.AskIndependent(trial_id=trial_id, name=name):
                kind = distribution(call.distribution)
                require_compatible(decisions.opened, name, kind)  # before the row: a worker sets no parameter again
                value = decisions.recorded_independent(trial_id, name, kind)
                return calls.ChosenAlone(internal=to_num(kind.to_internal_repr(value)))
            case calls.AskPruner(trial_id=trial_id):
                with decisions.opened.lock:  # a report and its verdict are one row: no other call comes between
                    decisions.current(trial_id)
                    if call.step is not None and call.value is not None:
                        self.storage.hold_report(trial_id, call.step, float(call.value))
                    return calls.Pruned(prune=decisions.prune(self.storage.get_trial(trial_id)))
            case calls.TellAfter(trial_id=trial_id):
                values = None if call.values is None else [float(value) for value in call.values]
                return calls.AfterTold(stop=decisions.after(trial_id, TrialState(call.state), values))
            case calls.NoteError(trial_id=trial_id, error=error):
                decisions.why[trial_id] = error
                return calls.Done()
        raise Usage(f"{type(call).__name__} is no call that is known here")

    def _ask(self, call: calls.Ask) -> calls.TrialGiven:
        study = self._study()
        decisions = self._decisions_of(study)
        with study.lock:
            for trial in study.study.trials:
                if trial.state == "running" and trial.worker == call.worker and trial.trial_id not in call.known:
                    decisions.deciding.add(trial.trial_id)
                    return calls.TrialGiven(trial_id=trial.trial_id)
            if call.total is not None:
                finished = sum(study.state.totals.trials.values())
                if finished >= call.total or study.study.stopped:
                    return calls.TrialGiven(trial_id=None, over=True)
                if finished + len(study.state.active) >= call.total:
                    return calls.TrialGiven(trial_id=None)
            waiting = next((t for t in study.study.trials if t.state == "waiting"), None)
            number = len(study.study.trials) if waiting is None else waiting.number
            trial_id = study.study.next_id if waiting is None else waiting.trial_id
            attempt = 0 if waiting is None else waiting.attempt + 1
            event = TrialAsked(
                trial=number,
                attempt=attempt,
                trial_id=trial_id,
                loop=call.loop,
                worker=call.worker,
                lease=call.lease,
            )
            study.record(event)
            decisions.deciding.add(trial_id)
            self._see(trial_id)
        study.make_durable()
        return calls.TrialGiven(trial_id=trial_id)

    def _of_worker(self, call: Any, worker: str) -> None:
        study = self._study()
        with study.lock:
            for trial in list(study.study.trials):
                if trial.state == "running" and trial.worker.partition("#")[0] == worker:
                    self._see(trial.trial_id)
                    if isinstance(call, calls.GiveBack) and trial.loop:
                        study.lose(trial, call.why)

    def _study(self) -> OpenStudy:
        studies = self.storage.studies()
        if not studies:
            raise Usage(
                "the server has no study yet: end it, make its log with eventhpo.create_study(LOG, ...), and serve that"
            )
        if len(studies) != 1:
            raise Usage(f"the server has {len(studies)} studies, and eventhpo.connect needs one: serve its log alone")
        return studies[0]

    def _decisions_of(self, study: OpenStudy) -> RecordedDecisions:
        decisions = self._decisions.get(id(study))
        if decisions is None:
            search = study.state.search
            if not _decides(search):
                raise Usage(
                    "the sampler of this study is not known to the server: use optuna.storages.GrpcStorageProxy with "
                    "a sampler of your own, or make the study with eventhpo.create_study"
                )
            decisions = RecordedDecisions(study, Component(search.sampler), Component(search.pruner))
            self._decisions[id(study)] = decisions
        return decisions


def _decides(search: Search) -> bool:
    """Whether the server can ask the study's sampler and pruner: they are known, and Optuna's own."""
    jobs = search.jobs
    foreign = search.sampler.is_foreign or search.pruner.is_foreign
    return isinstance(jobs, StudyJobs) and jobs.decides and not foreign
