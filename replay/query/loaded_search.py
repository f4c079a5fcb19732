"""A log as typed Python objects, for scripts and notebooks: `eventhpo.load`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from eventhpo.core.fold import budget
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import Attempt, Trial
from eventhpo.core.scheduler import rank
from eventhpo.core.search.space import job_names
from eventhpo.errors import Usage
from eventhpo.views import as_of, formatting, status, statuses
from eventhpo.views.top import describe_trial
from replay.explain.collect import of_rows as explanation_of
from replay.explain.explanation import Explanation
from replay.query.decisions import DecisionRow, decisions_of
from replay.query.loaded_parts import LoadedAttempt, LoadedCurve, LoadedObjective, LoadedTrial
from replay.query.point_events import folded
from replay.verified_rows import moment, whole

if TYPE_CHECKING:
    import pandas as pd

FrameKind: TypeAlias = Literal["trials", "attempts", "curves", "decisions"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load(log: str | os.PathLike[str]) -> LoadedSearch:
    """Return the search or study recorded in *log*, as it is now: verified, and read once.

    Raises:
        Usage: there is no such file.
        DamagedLog: it is no log, is damaged, or lost its tail; `eventhpo salvage` copies what is left.
        Busy, StorageFailed: it cannot be read now.
    """
    return LoadedSearch(Path(log), whole(log))


class LoadedSearch:
    """A search or a study as of one event; `load` makes one. Nothing in it changes when the log grows.

    name, search_id: as the log has them.
    log: the path that it was loaded from.
    seq: the last event that it knows.
    """

    def __init__(self, log: Path, rows: Sequence[Recorded]) -> None:
        self.log = log
        self.rows = rows
        self._state, self._points = folded(rows)
        self.name = self._state.search.name
        self.search_id = self._state.search_id
        self.seq = self._state.head.seq

    @property
    def head(self) -> str:
        """The hash of the event `seq`."""
        return self._state.head.hash

    @property
    def recorded(self) -> datetime:
        """When the event `seq` was recorded."""
        return _time(self._state.last_at)

    @property
    def state(self) -> Literal["finished", "stopped", "unfinished"]:
        """Whether it has ended as of event `seq`. Whether a controller runs it now is what `eventhpo status` says."""
        return "unfinished" if self._state.finished is None else self._state.finished.state

    @property
    def ending(self) -> str:
        """Why it ends or has ended, as text; empty as long as it does not."""
        why = status.ending_of(self._state)
        return "" if why is None else status.describe_ending(why)

    @property
    def objectives(self) -> tuple[LoadedObjective, ...]:
        """What is optimised, in order."""
        return tuple(LoadedObjective(formatting.metric(o), o.maximize) for o in self._state.search.objectives)

    @property
    def sampler(self) -> str:
        """The name of its sampler."""
        return self._state.search.sampler.name

    @property
    def pruner(self) -> str:
        """The name of its pruner."""
        return self._state.search.pruner.name

    @property
    def seed(self) -> int:
        """The seed that all its random numbers come from."""
        return self._state.search.seed

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters: those of the space in its order, then others that a trial has."""
        names = dict.fromkeys(job_names(self._state.search.space))
        return (*names, *sorted({name for trial in self._state.trials for name in trial.params} - set(names)))

    @cached_property
    def trials(self) -> tuple[LoadedTrial, ...]:
        """All trials, by number."""
        order = {trial.number: place for place, trial in enumerate(rank.top(self._state), 1)}
        return tuple(self._trial(trial, order.get(trial.number)) for trial in self._state.trials)

    @property
    def attempts(self) -> tuple[LoadedAttempt, ...]:
        """All attempts: by trial, then by number."""
        return tuple(attempt for trial in self.trials for attempt in trial.attempts)

    @cached_property
    def decisions(self) -> tuple[DecisionRow, ...]:
        """All decisions in the order of the log: suggestions, launches, verdicts with their reasons, ends.

        The reasons of verdicts are computed again, from all curves that the pruner saw: a log of 2,000 trials takes
        some seconds.

        Raises:
            DamagedLog: a verdict cannot be computed again.
        """
        return tuple(decisions_of(self.rows))

    @property
    def verdicts(self) -> tuple[DecisionRow, ...]:
        """Those of `decisions` that a pruner made, as `eventhpo prunes` lists them."""
        return tuple(decision for decision in self.decisions if decision.verdict is not None)

    @property
    def best(self) -> LoadedTrial | None:
        """The first trial of `top`, None if no trial has a value."""
        return next((trial for trial in self.top(1) if None not in trial.values), None)

    def top(self, k: int | None = None, *, only_completed: bool = False) -> list[LoadedTrial]:
        """Return the best *k* trials (default: all), best first, in the order of `eventhpo top`."""
        return [self.trials[trial.number] for trial in rank.top(self._state, k, only_completed=only_completed)]

    def at(self, event: int | str | datetime) -> LoadedSearch:
        """Return the search as of *event*: its seq, or a time, which means the last event at or before it.

        A time without a zone is UTC.

        Raises:
            Usage: the log has no such event or time.
        """
        return LoadedSearch(self.log, as_of.rows_at(self.rows, moment(event)))

    def explain(self, trial: int) -> Explanation:
        """Return why *trial* was suggested, launched, continued, pruned, retried or failed, as `eventhpo explain`.

        Raises:
            Usage: there is no such trial.
        """
        return explanation_of(self.rows, trial)

    def to_dataframe(self, kind: FrameKind = "trials") -> pd.DataFrame:
        """Return the trials, attempts, points of curves or decisions as a table of pandas, a row each.

        trials: number, status, rank, `value` (of several objectives: `values_NAME`), `params_NAME` in the parameter's
        own type, and the rest as in `LoadedTrial`. Needs the extra `pandas`.

        Raises:
            Usage: pandas is not installed, or there is no such kind.
        """
        from replay.query import data_frame  # noqa: PLC0415  pandas is an extra

        match kind:
            case "trials":
                return data_frame.of_trials(self.trials, self.objectives, self.parameters)
            case "attempts":
                return data_frame.of_attempts(self.attempts)
            case "curves":
                return data_frame.of_curves(self.attempts)
            case "decisions":
                return data_frame.of_decisions(self.decisions)
        raise Usage(f"there is no data frame {kind!r}; there are {', '.join(get_args(FrameKind))}")

    def _repr_html_(self) -> str:
        from replay.query.notebook import html  # noqa: PLC0415  only a notebook asks

        return html(self.log, self.rows, self._state)

    def __repr__(self) -> str:
        ranked = rank.top(self._state, 1)
        best = f", best: {describe_trial(self._state, ranked[0])}" if ranked else ""
        trials = formatting.plural(len(self._state.trials), "trial")
        return f"<{formatting.line(self.name)}: {self.state} as of event {self.seq}, {trials}{best}>"

    # ------------------------------------------------------------ parts

    def _trial(self, trial: Trial, place: int | None) -> LoadedTrial:
        finished_seq = self._points.finished.get(trial.number)
        attempts = tuple(self._attempt(attempt) for attempt in trial.attempts)
        return LoadedTrial(
            number=trial.number,
            status=statuses.trial_status(trial),
            rank=place,
            params=formatting.ordered(self._state.search, trial.params),
            values=tuple(rank.values(self._state, trial)),
            why="" if trial.finished is None else trial.finished.why,
            source=trial.source,
            imported=trial.imported is not None,
            imported_from=self._state.source_of(trial),
            seq=trial.seq,
            suggested=_time(self.rows[trial.seq - 1].at),
            finished_seq=finished_seq,
            finished=None if finished_seq is None else _time(self.rows[finished_seq - 1].at),
            attempts=attempts,
            curve=attempts[-1].curves[0] if attempts else self._imported_curve(trial),
        )

    def _imported_curve(self, trial: Trial) -> LoadedCurve | None:
        imported = trial.imported
        if imported is None or not imported.iterations:
            return None
        values = tuple(map(float, imported.reported))
        seqs = (trial.seq,) * len(values)
        return LoadedCurve(self.objectives[0].name, imported.iterations, values, seqs, None)

    def _attempt(self, attempt: Attempt) -> LoadedAttempt:
        state, ended = self._state, attempt.ended
        finished = attempt.finished
        return LoadedAttempt(
            trial=attempt.trial,
            attempt=attempt.number,
            status=statuses.job_status(state, attempt),
            slot=attempt.slot,
            key=attempt.key,
            job_id=attempt.job_id,
            seq=attempt.seq,
            started=_job_time(attempt.started_at),
            ended=_job_time(None if finished is None else finished.wall),
            iterations=attempt.charge,
            late=attempt.late,
            compute_time=budget.compute_time(attempt, state.jobs_clock) / 1e6,
            code=None if ended is None else ended.code,
            signal=None if ended is None else ended.signal,
            why=attempt.fate_why or ("" if ended is None else ended.why),
            output=None if ended is None else ended.output,
            curves=tuple(
                _curve(objective.name, curve, self._points.seqs((attempt.trial, attempt.number), place))
                for place, (objective, curve) in enumerate(zip(self.objectives, attempt.curves, strict=True))
            ),
        )


def _curve(objective: str, curve: Curve, seqs: Sequence[int]) -> LoadedCurve:
    cut = curve.cut if curve.cut is not None and curve.cut < len(curve.iterations) else None
    return LoadedCurve(objective, tuple(curve.iterations), tuple(curve.values), tuple(seqs), cut)


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _job_time(microseconds: int | None) -> datetime | None:
    """Return when a job started or ended; None for a time that no calendar has, which a stranger's log may hold."""
    try:
        return None if microseconds is None else _time(microseconds)
    except OverflowError:
        return None
