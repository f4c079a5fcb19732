"""A study that another process serves: `eventhpo.connect`."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import threading
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from eventhpo.core.search.spec import to_num
from eventhpo.errors import Unanswered, Usage, not_installed
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.study import calls, patient_proxy
from eventhpo.study.frozen_trials import distribution
from eventhpo.study.patient_proxy import PatientProxy, patiently
from eventhpo.study.resumable_study import EnoughTrials, ResumableStudy

LOOK_AGAIN = 0.5  # seconds between two questions for a trial while enough of them run
RENEWALS = 3  # how often a lease is renewed while it lasts


def connect(address: str, *, lease: float = 600.0) -> ServedStudy:
    """Return the study that `eventhpo serve` serves at *address* ("host:port"), as an `optuna.Study`.

    Sampler and pruner are those of the log, and run in the server, so that the log can be decided again.
    *lease* is the number of seconds after which the trials of this process are given to others if it is
    not heard of; it says by itself that it lives.

    Raises:
        Usage: the address is no "host:port", grpcio is not installed, or the study's sampler is not known there.
        Unanswered: nobody answers there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise Usage(f'connect: expected "host:port", as "localhost:13000", not {address!r}')
    line = _Connection(host, int(port))
    served: calls.Served = line.send(calls.Hello())
    if not served.decides:
        raise Usage(
            f"the sampler of the study {served.name!r} is not known to the server: use "
            f'optuna.storages.GrpcStorageProxy(host="{host}", port={port}) with a sampler of your own'
        )
    with quiet():
        storage = PatientProxy(host, int(port))
    return ServedStudy(served.name, storage, line, lease)


class _Connection:
    """The calls of our own to one server."""

    def __init__(self, host: str, port: int) -> None:
        try:
            import grpc  # noqa: PLC0415  an extra
        except ImportError as error:
            raise not_installed("grpcio is", "serve") from error
        self._grpc, self._address = grpc, f"{host}:{port}"
        self._call = grpc.insecure_channel(self._address).unary_unary(f"/{calls.SERVICE}/Call")

    def send(self, call: Any) -> Any:
        """Send *call*; return its answer.

        Raises:
            UpdateFinishedTrialError: it is about a trial that was given to another worker.
            ValueError: it has a distribution that does not go with the one of earlier trials.
            Usage: the server refuses it.
            Unanswered: the server does not answer.
        """
        try:
            return patiently(self._address, lambda: calls.send(self._send, call))
        except self._grpc.RpcError as error:
            code, text = error.code(), error.details()
            if code == self._grpc.StatusCode.FAILED_PRECONDITION:
                raise UpdateFinishedTrialError(text) from error
            if code == self._grpc.StatusCode.OUT_OF_RANGE:
                raise ValueError(text) from error
            if code == self._grpc.StatusCode.INVALID_ARGUMENT:
                raise Usage(text) from error
            raise Unanswered(f"{self._address} does not answer: {text}") from error

    def _send(self, body: bytes) -> bytes:
        answer: bytes = self._call(body, timeout=patient_proxy.PATIENCE, wait_for_ready=True)
        return answer


class ServedStudy(ResumableStudy):
    """An `optuna.Study` whose log another process writes; made by `eventhpo.connect`."""

    def __init__(self, name: str, storage: PatientProxy, line: _Connection, lease: float) -> None:
        self._line, self._lease = line, lease
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._asking = threading.local()  # each thread's number, and the trials that it runs
        self._threads = itertools.count()
        super().__init__(name, storage, sampler=_ServedSampler(line, storage), pruner=_ServedPruner(line, storage))
        self._ended = threading.Event()
        threading.Thread(target=self._renew, name=f"lease of {self.worker}", daemon=True).start()

    def _renew(self) -> None:
        while not self._ended.wait(self._lease / RENEWALS):
            try:
                self._line.send(calls.Renew(worker=self.worker))
            except Unanswered:
                continue  # the server may be starting again; the trial's own calls tell if it stays away

    def close(self) -> None:
        """Stop renewing the lease."""
        self._ended.set()

    def ask(self, fixed_distributions: dict[str, BaseDistribution] | None = None) -> Trial:
        """Return the next trial: one that waits, if there is one, otherwise a new one."""
        self._thread_local.cached_all_trials = None
        loop = bool(self._thread_local.in_optimize_loop)
        trial = Trial(self, self._asked(loop))
        for name, kind in (fixed_distributions or {}).items():
            trial._suggest(name, kind)
        return trial

    def _asked(self, loop: bool) -> int:
        total = self.total_trials if loop else None
        if not hasattr(self._asking, "name"):
            self._asking.name, self._asking.known = f"{self.worker}#{next(self._threads)}", []
        known: list[int] = self._asking.known
        if loop:
            known.clear()  # in `optimize` a thread runs one trial at a time
        while True:
            call = calls.Ask(worker=self._asking.name, lease=self._lease, loop=loop, known=tuple(known), total=total)
            asked: calls.TrialGiven = self._line.send(call)
            if asked.trial_id is not None:
                known.append(asked.trial_id)
                return asked.trial_id
            if asked.over:
                raise EnoughTrials
            self._ended.wait(LOOK_AGAIN)  # the trials that are missing run elsewhere, and may come back

    @property
    def finished_trials(self) -> int:
        """How many trials are over: completed, pruned or failed."""
        return int(self._line.send(calls.AskProgress()).finished)

    @property
    def is_used_up(self) -> bool:
        """Whether the sampler has nothing left to suggest."""
        return bool(self._line.send(calls.AskProgress()).used_up)

    def note_error(self, trial_id: int, error: str) -> None:
        """Keep what the objective raised for the row that says that the trial failed."""
        self._line.send(calls.NoteError(trial_id=trial_id, error=error))

    def give_back(self, why: str) -> None:
        """Have the trials that this worker asked for in `optimize` and did not finish asked for again."""
        self._line.send(calls.GiveBack(worker=self.worker, why=why))


class _ServedSampler(BaseSampler):
    def __init__(self, line: _Connection, storage: PatientProxy) -> None:
        self._line, self._storage = line, storage
        self._chosen: dict[int, calls.Chosen] = {}  # by trial id, between two calls of Optuna's

    def reseed_rng(self) -> None:
        """Do nothing: the server seeds each question."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        chosen: calls.Chosen = self._line.send(calls.AskRelative(trial_id=trial._trial_id))
        self._chosen[trial._trial_id] = chosen
        return {p.name: distribution(p.distribution) for p in chosen.parameters}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        chosen = self._chosen.pop(trial._trial_id).parameters
        return {p.name: distribution(p.distribution).to_external_repr(float(p.internal)) for p in chosen}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        text = distribution_to_json(param_distribution)
        call = calls.AskIndependent(trial_id=trial._trial_id, name=param_name, distribution=text)
        internal = float(self._line.send(call).internal)
        self._storage.recorded(trial._trial_id, param_name, internal)
        return param_distribution.to_external_repr(internal)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._storage.send_held(trial._trial_id)
        told = None if values is None else tuple(to_num(float(value)) for value in values)
        if self._line.send(calls.TellAfter(trial_id=trial._trial_id, state=int(state), values=told)).stop:
            study.stop()


class _ServedPruner(BasePruner):
    def __init__(self, line: _Connection, storage: PatientProxy) -> None:
        self._line, self._storage = line, storage

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        if trial.last_step is None:
            return False
        point = self._storage.take_held(trial._trial_id)
        step, value = (None, None) if point is None else (point[0], to_num(point[1]))
        return bool(self._line.send(calls.AskPruner(trial_id=trial._trial_id, step=step, value=value)).prune)
