"""What the events of an Optuna study add up to, next to the trials that a search has as well."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.study_events import StudyParameter, StudyTrialState

AttributeWriter: TypeAlias = Literal["sampler", "pruner", "tell", "user", "template"]


NO_CONTROLLER = (
    "this log is of an Optuna study, which no controller runs: run the script that made it again to go on, or "
    "`eventhpo serve LOG`; points are enqueued with study.enqueue_trial, a run is ended by Ctrl-C in its script, "
    "limits are total_trials or timeout there; `eventhpo note` and `eventhpo cancel` take its log"
)


class Attribute(msgspec.Struct, frozen=True):
    """An attribute's JSON text, and who wrote it: it decides what a trial that is asked for again keeps."""

    value: str
    writer: AttributeWriter


class StudyTrial(msgspec.Struct):
    """A trial as Optuna sees it. `state.trials` has the same trial, under the same number, for all other readers."""

    number: int
    trial_id: int  # of its newest attempt
    state: StudyTrialState
    attempt: int = -1  # -1: it was never asked for
    epoch: int = 0  # of the process that runs it
    loop: bool = False
    worker: str = ""
    lease: float | None = None
    parameters: dict[str, StudyParameter] = {}
    relative: tuple[StudyParameter, ...] | None = None  # None: the sampler was not asked yet
    points: dict[int, float] = {}
    verdicts: dict[int, bool] = {}
    values: tuple[float, ...] | None = None
    user_attrs: dict[str, Attribute] = {}
    system_attrs: dict[str, Attribute] = {}
    started: int | None = None  # microseconds, UTC, of the row
    seen: int = 0  # likewise, of the newest row that its process wrote about it: when it lived for sure
    completed: int | None = None
    local_times: bool = False  # the two times are of a template: the local clock
    imported: bool = False
    changes: int = 0  # how often it changed: a copy made from it is good as long as this is the same

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.state in ("completed", "pruned", "failed")


class StudyState(msgspec.Struct):
    """The study as of the last event."""

    trials: list[StudyTrial] = []
    ids: dict[int, tuple[int, int]] = {}  # trial and attempt by trial id, of all attempts that ever were
    next_id: int = 0
    user_attrs: dict[str, str] = {}  # JSON text
    system_attrs: dict[str, str] = {}
    latched: int | None = None
    longest: int | None = None  # last step of the longest completed trial
    stopped: bool = False  # the sampler ended the study

    @property
    def running(self) -> bool:
        """Whether a trial runs, as far as the log shows."""
        return any(trial.state == "running" for trial in self.trials)

    def current(self, trial_id: int) -> StudyTrial | None:
        """Return the trial whose newest attempt has this id; None for an attempt that was lost.

        Raises:
            KeyError: no attempt ever had it.
        """
        trial = self.trials[self.ids[trial_id][0]]
        return trial if trial.trial_id == trial_id else None
