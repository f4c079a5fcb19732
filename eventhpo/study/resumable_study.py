"""An `optuna.Study` that goes on where an earlier run of the same script ended, here or on a server."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import optuna
from optuna.study import MaxTrialsCallback, Study
from optuna.trial import FrozenTrial, Trial


class EnoughTrials(BaseException):
    """Other processes have finished the trials that were left."""


class ResumableStudy(Study):
    """What `optimize` adds to Optuna's: it counts the trials of the log, and no trial fails by a signal."""

    total_trials: int | None = None  # of the `optimize` under way

    @property
    @abstractmethod
    def finished_trials(self) -> int:
        """How many trials are over: completed, pruned or failed."""

    @property
    @abstractmethod
    def is_used_up(self) -> bool:
        """Whether the sampler has nothing left to suggest."""

    @abstractmethod
    def note_error(self, trial_id: int, error: str) -> None:
        """Keep what the objective raised for the row that says that the trial failed."""

    @abstractmethod
    def give_back(self, why: str) -> None:
        """Have the trials that this process asked for in `optimize` and did not finish asked for again."""

    def optimize(
        self,
        func: Callable[[Trial], float | Sequence[float]],
        n_trials: int | None = None,
        timeout: float | None = None,
        n_jobs: int = 1,
        catch: Iterable[type[Exception]] | type[Exception] = (),
        callbacks: Iterable[Callable[[Study, FrozenTrial], None]] | None = None,
        gc_after_trial: bool = False,
        show_progress_bar: bool = False,
        *,
        total_trials: int | None = None,
    ) -> None:
        """Run trials, as `optuna.Study.optimize`.

        *total_trials* counts the finished trials of the log and not those of this call: a script that
        is run again goes on to that number. Ctrl-C, SIGTERM and `kill -9` leave the running trial to be
        asked for next. A study that its sampler has ended (a grid that is used up) runs nothing more.
        """
        callbacks = None if callbacks is None else list(callbacks)
        left = self._left(n_trials, total_trials, callbacks or ())
        if left is not None and left <= 0:
            return
        self.total_trials = total_trials
        try:
            with _terminated_by_an_exception():
                super().optimize(
                    self._noting(func), left, timeout, n_jobs, catch, callbacks, gc_after_trial, show_progress_bar
                )
        except EnoughTrials:
            return
        except _Interrupted as interrupted:
            self.give_back("it was interrupted")
            raise KeyboardInterrupt from interrupted
        except BaseException:
            self.give_back("its process ended")
            raise

    def _left(self, n_trials: int | None, total_trials: int | None, callbacks: Iterable[object]) -> int | None:
        """Return how many trials are left to run, None for no limit; callbacks are not called again after a kill."""
        if self.is_used_up:
            return 0
        limits = [] if n_trials is None else [n_trials]
        if total_trials is not None:
            limits.append(total_trials - self.finished_trials)
        for callback in callbacks:
            if isinstance(callback, MaxTrialsCallback):
                done = len(self.get_trials(deepcopy=False, states=callback._states))
                if done >= callback._n_trials:
                    return 0
        return min(limits) if limits else None

    def _noting(self, func: Callable[[Trial], Any]) -> Callable[[Trial], Any]:
        """Return *func*, its errors noted for the log; Ctrl-C is kept from Optuna, which would fail the trial."""

        def noted(trial: Trial) -> Any:
            try:
                value = func(trial)
            except KeyboardInterrupt as interrupt:
                raise _Interrupted from interrupt
            except optuna.TrialPruned:
                raise
            except Exception as error:
                self.note_error(trial._trial_id, f"{type(error).__name__}: {error}"[:2000])
                raise
            else:
                if (trouble := _no_number(value)) is not None:
                    self.note_error(trial._trial_id, trouble)
                return value

        return noted


class _Interrupted(BaseException):
    """Ctrl-C in the objective."""


def _no_number(value: Any) -> str | None:
    """Return why Optuna fails a trial with this value of its objective, None if it does not."""
    for part in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        try:
            number = float(part)
        except (TypeError, ValueError, OverflowError):
            return f"the objective returned {part!r}, which is no number"[:2000]
        if math.isnan(number):
            return "the objective returned nan"
    return None


@contextlib.contextmanager
def _terminated_by_an_exception() -> Iterator[None]:
    """Let SIGTERM end the block by `SystemExit(143)`, where nobody else handles it and this is the main thread."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
