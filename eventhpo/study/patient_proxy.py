"""Optuna's client of a server, as a worker of `eventhpo.connect` uses it: fewer calls, and each repeated if need be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from eventhpo.errors import Unanswered
from eventhpo.study.open_study import COMMIT_WITHIN

T = TypeVar("T")

PATIENCE = 60.0  # seconds for which one call waits for the server, which may be starting again
RETRY = 0.5  # seconds between two attempts of one call


class _UnsentReport(NamedTuple):
    step: int
    value: float


class PatientProxy(GrpcStorageProxy):
    """Optuna's client, which repeats a call while the server is away: it may be starting again.

    The server knows a change that it made before its answer was lost. Two calls are saved: a parameter
    that the server recorded when it answered is not set again, and a report goes with the question to
    the pruner. It waits for that question for at most `COMMIT_WITHIN`, and only in a trial that
    has asked before; any other call of the trial sends it first.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host=host, port=port)
        self._address = f"{host}:{port}"
        self._recorded: dict[int, tuple[str, float]] = {}  # by trial id: the parameter that its last answer recorded
        self._reports = threading.Condition(threading.RLock())
        self._held: dict[int, _UnsentReport] = {}  # by trial id: a report that is not sent yet
        self._refused: dict[int, Exception] = {}  # by trial id: why a report that waited could not be sent
        self._asking: set[int] = set()  # ids of trials that ask the pruner after their reports
        self._sender: threading.Thread | None = None

    def _patiently(self, call: Callable[..., T], *args: Any) -> T:
        return patiently(self._address, lambda: call(*args))

    # ---------------------------------------------------------------- reports that wait

    def take_held(self, trial_id: int) -> tuple[int, float] | None:
        """Return the report of a trial that waits, for the caller to send: the trial asks the pruner.

        Raises:
            Exception: an earlier report could not be sent.
        """
        with self._reports:
            self._raise_refused(trial_id)
            self._asking.add(trial_id)
            return self._held.pop(trial_id, None)

    def send_held(self, trial_id: int) -> None:
        """Send the report of a trial that waits.

        Raises:
            Exception: it, or an earlier one, could not be sent.
        """
        with self._reports:
            self._raise_refused(trial_id)
            if (point := self._held.pop(trial_id, None)) is not None:
                self._patiently(super().set_trial_intermediate_value, trial_id, point.step, point.value)

    def _raise_refused(self, trial_id: int) -> None:
        if (error := self._refused.pop(trial_id, None)) is not None:
            raise error

    def _hold(self, trial_id: int, point: _UnsentReport) -> None:
        if self._sender is None:
            self._sender = threading.Thread(target=self._send_late, name=f"reports to {self._address}", daemon=True)
            self._sender.start()
        if not self._held:
            self._reports.notify()
        self._held[trial_id] = point

    def _send_late(self) -> None:
        """Send the reports that nobody asked the pruner about, for as long as the process lives."""
        with self._reports:
            while True:
                self._reports.wait_for(lambda: bool(self._held))
                self._reports.wait_for(lambda: False, COMMIT_WITHIN)
                for trial_id in list(self._held):
                    try:
                        self.send_held(trial_id)
                    except Exception as error:  # noqa: BLE001  the trial's next call is told
                        self._refused[trial_id] = error

    # ---------------------------------------------------------------- calls

    def recorded(self, trial_id: int, name: str, internal: float) -> None:
        """Note that the server recorded this parameter when it answered: to set it takes no call more."""
        self._recorded[trial_id] = name, internal

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.send_held(trial_id)
        if self._recorded.pop(trial_id, None) != (param_name, param_value_internal):
            self._patiently(super().set_trial_param, trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        self.send_held(trial_id)
        self._asking.discard(trial_id)
        try:
            return self._patiently(super().set_trial_state_values, trial_id, state, values)
        except UpdateFinishedTrialError:
            told = self.get_trial(trial_id)
            if told.state == state and told.values == (None if values is None else list(values)):
                return True  # by the first of several calls
            raise

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        with self._reports:
            self.send_held(trial_id)
            if trial_id in self._asking:
                self._hold(trial_id, _UnsentReport(step, float(intermediate_value)))
                return
        self._patiently(super().set_trial_intermediate_value, trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.send_held(trial_id)
        self._patiently(super().set_trial_user_attr, trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.send_held(trial_id)
        self._patiently(super().set_trial_system_attr, trial_id, key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        self.send_held(trial_id)
        return self._patiently(super().get_trial, trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        for trial_id in list(self._held):
            self.send_held(trial_id)
        return self._patiently(super().get_all_trials, study_id, deepcopy, states)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._patiently(super().get_study_id_from_name, study_name)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._patiently(super().get_study_directions, study_id)


def patiently(address: str, call: Callable[[], T]) -> T:
    """Return what *call* returns; repeat it while the server is away, for at most `PATIENCE` seconds.

    Raises:
        Unanswered: it stayed away.
    """
    import grpc  # noqa: PLC0415  an extra

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            if time.monotonic() >= deadline:
                raise Unanswered(f"{address} does not answer: {error.details()}") from error
            time.sleep(RETRY)
