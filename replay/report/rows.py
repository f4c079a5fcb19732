"""The rows of each chart as of an event. `page.js` has the same rules, and a test compares the two in a browser."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from eventhpo.core.search.spec import Num
from eventhpo.views.formatting import number
from replay.report.data import ReportData

ChartRow: TypeAlias = dict[str, Any]  # of a chart: names of its columns to JSON values
SHORTEST = 250  # an idle stretch is drawn if it is longer than this part of the whole time
PARTS = ("winner", "completed", "pruned", "failed", "aborted")


class AsOfEvent:
    """A report's data as of event *seq*: the newest version of each trial and attempt, and the rows of the charts."""

    def __init__(self, data: ReportData, seq: int | None = None) -> None:
        self.data = data
        self.seq = data.seq if seq is None else seq
        versions = data.versions
        known = bisect_right(versions.seq, self.seq)
        self.version = {versions.trial[k]: k for k in range(known)}  # of each trial
        jobs = data.attempt_versions
        self.job_status = {jobs.attempt[k]: jobs.status[k] for k in range(bisect_right(jobs.seq, self.seq))}
        self.at = self._time_of(self.seq)

    def _time_of(self, seq: int) -> int:
        return sum(self.data.events.at[:seq])

    def status(self, trial: int) -> str:
        """Return the status of *trial*, "imported" for one of another study."""
        if self.data.trials.imported[trial]:
            return "imported"
        return self.data.versions.status[self.version[trial]]

    def text(self, trial: int, parameter: int) -> str | None:
        """Return the value of a parameter of *trial* as text, None if it has none, or none that is known yet."""
        rows = self.data.trials
        if rows.known and rows.known[parameter][trial] > self.seq:
            return None
        return rows.text[parameter][trial]

    def value(self, trial: int, objective: int) -> float | None:
        """Return the value of *trial* for *objective*, None if it is no finite number."""
        return finite(self.data.versions.values[objective][self.version[trial]])

    def shown_value(self, trial: int, objective: int) -> str:
        """Return the value of *trial* for *objective* as `eventhpo top` shows it."""
        return number(self.data.versions.values[objective][self.version[trial]])

    def costs(self, trial: int) -> list[tuple[int, float]]:
        """Return what sorts better trials first, for each objective."""
        return [self._cost(trial, o) for o in range(len(self.data.objectives))]

    def best_completed(self) -> int | None:
        """Return the best completed trial, None if none has completed; of several objectives the first of the front."""
        completed = [t for t in self.version if self.status(t) == "completed"]
        if len(self.data.objectives) > 1:
            front = self._front(completed)
            return min(front, default=None)
        return min(completed, key=lambda t: (self._cost(t, 0), t), default=None)

    def _cost(self, trial: int, objective: int) -> tuple[int, float]:
        """Return what sorts better values first: numbers, then NaN, then none."""
        value = self.data.versions.values[objective][self.version[trial]]
        if value is None:
            return (2, 0.0)
        as_float = float(value)
        if math.isnan(as_float):
            return (1, 0.0)
        return (0, -as_float if self.data.objectives[objective].maximize else as_float)

    def _front(self, trials: Sequence[int]) -> set[int]:
        costs = {t: self.costs(t) for t in trials}

        def dominates(a: int, b: int) -> bool:
            return costs[a] != costs[b] and all(x <= y for x, y in zip(costs[a], costs[b], strict=True))

        return {t for t in trials if not any(dominates(other, t) for other in trials)}

    # ------------------------------------------------------------ the charts

    def rows(self) -> dict[str, list[ChartRow]]:
        """Return the rows of all charts by the name of their data."""
        return {
            "history": list(self._history()),
            "curves": list(self._curves()),
            "prunes": list(self._prunes()),
            "timeline": [*self._idle(), *self._jobs()],
            "controllers": list(self._controllers()),
            "parallel": list(self._parallel()),
            "slices": list(self._slices()),
            "spending": self._spending(),
            "pareto": list(self._pareto()),
            "importance": list(self._importance()),
        }

    def _history(self) -> Iterator[ChartRow]:
        for trial in sorted(self.version):
            for objective in range(len(self.data.objectives)):
                value = self.value(trial, objective)
                if value is not None:
                    yield {"trial": trial, "o": objective, "value": value, "status": self.status(trial)}

    def _curves(self) -> Iterator[ChartRow]:
        curves, attempts = self.data.curves, self.data.attempts
        for place, attempt in enumerate(curves.attempt):
            trial, number = attempts.trial[attempt], attempts.number[attempt]
            cut = curves.cut[place]
            for k in range(bisect_right(curves.seq[place], self.seq)):
                value = finite(curves.values[place][k])
                if value is not None:
                    yield {
                        "trial": trial,
                        "attempt": number,
                        "o": curves.objective[place],
                        "iteration": curves.iterations[place][k],
                        "value": value,
                        "status": self.job_status.get(attempt, "running"),
                        "late": cut is not None and k >= cut,
                    }

    def _prunes(self) -> Iterator[ChartRow]:
        prunes = self.data.prunes
        for k in range(bisect_right(prunes.seq, self.seq)):
            value = finite(prunes.value[k])
            if value is not None:
                yield {
                    "trial": prunes.trial[k],
                    "iteration": prunes.iteration[k],
                    "value": value,
                    "needed": finite(prunes.needed[k]),
                    "needed_text": prunes.needed_text[k],
                    "event": prunes.seq[k],
                }

    def _jobs(self) -> Iterator[ChartRow]:
        attempts = self.data.attempts
        for k in range(bisect_right(attempts.seq, self.seq)):
            ended, ended_at = attempts.ended[k], attempts.ended_at[k]
            over = ended is not None and ended <= self.seq
            yield {
                "slot": attempts.slot[k],
                "begin": _milliseconds(attempts.at[k]),
                "end": _milliseconds(ended_at if over and ended_at is not None else self.at),
                "status": self.job_status.get(k, "created"),
                "trial": attempts.trial[k],
                "attempt": attempts.number[k],
                "why": "retry" if attempts.number[k] else "",
            }

    def _idle(self) -> Iterator[ChartRow]:
        idle = self.data.idle
        events = self.data.events
        least = (self._time_of(self.data.seq) - events.at[0]) / SHORTEST
        for k in range(len(idle.slot)):
            if idle.seq[k] <= self.seq and idle.end[k] - idle.begin[k] > least:
                yield {
                    "slot": idle.slot[k],
                    "begin": _milliseconds(idle.begin[k]),
                    "end": _milliseconds(idle.end[k]),
                    "status": "idle",
                    "why": idle.why[k],
                }

    def _controllers(self) -> Iterator[ChartRow]:
        controllers = self.data.controllers
        for k in range(bisect_right(controllers.seq, self.seq)):
            at, gap = controllers.at[k], controllers.gap[k]
            yield {
                "begin": _milliseconds(at - gap),
                "at": _milliseconds(at),
                "controller": k + 1,
                "event": controllers.seq[k],
            }

    def _parallel(self) -> Iterator[ChartRow]:
        trials, parameters = self.data.trials, self.data.parameters
        values = {t: self.value(t, 0) for t in sorted(self.version)}
        numbers = [v for v in values.values() if v is not None]
        low, high = min(numbers, default=0.0), max(numbers, default=0.0)
        for trial, value in values.items():
            if value is None:
                continue
            status = self.status(trial)
            for k, parameter in enumerate(parameters):
                position, text = trials.position[k][trial], self.text(trial, k)
                if position is not None and text is not None:
                    yield {
                        "trial": trial,
                        "order": k,
                        "axis": parameter.short,
                        "position": position,
                        "text": text,
                        "value": value,
                        "status": status,
                    }
            yield {
                "trial": trial,
                "order": len(parameters),
                "axis": self.data.objectives[0].name,
                "position": 0.5 if high <= low else (value / 2 - low / 2) / (high / 2 - low / 2),
                "text": "",
                "value": value,
                "status": status,
            }

    def _slices(self) -> Iterator[ChartRow]:
        trials = self.data.trials
        for trial in sorted(self.version):
            value, status = self.value(trial, 0), self.status(trial)
            for k in range(len(self.data.parameters)):
                text = self.text(trial, k)
                if value is not None and text is not None:
                    yield {
                        "trial": trial,
                        "p": k,
                        "x": trials.numbers[k][trial],
                        "text": text,
                        "value": value,
                        "status": status,
                    }

    def _spending(self) -> list[ChartRow]:
        attempts, winner = self.data.attempts, self.best_completed()
        rows: dict[str, ChartRow] = {p: {"part": p, "jobs": 0, "iterations": 0, "minutes": 0.0} for p in PARTS}
        for k, charged in enumerate(attempts.charged):
            if charged is not None and charged <= self.seq:
                status = self.job_status[k]
                part = status if status in PARTS else "failed"
                if part == "completed" and attempts.trial[k] == winner:
                    part = "winner"
                rows[part]["jobs"] += 1
                rows[part]["iterations"] += attempts.charge[k]
                rows[part]["minutes"] += attempts.compute[k] / 60e6
        return list(rows.values())

    def _pareto(self) -> Iterator[ChartRow]:
        if len(self.data.objectives) < 2:
            return
        completed = [t for t in sorted(self.version) if self.status(t) in ("completed", "imported")]
        front = self._front(completed)
        for trial in completed:
            values = [self.value(trial, o) for o in range(len(self.data.objectives))]
            if None not in values:
                yield {"trial": trial, "front": trial in front, **{f"v{o}": v for o, v in enumerate(values)}}

    def _importance(self) -> Iterator[ChartRow]:
        rows = self.data.importance
        for objective, parameter, value in zip(rows.objective, rows.parameter, rows.importance, strict=True):
            yield {"o": objective, "parameter": parameter, "importance": value}


def finite(value: Num | None) -> float | None:
    """Return *value* if it is a finite number, else None: an axis has no place for others."""
    return None if value is None or isinstance(value, str) or not math.isfinite(value) else value


def _milliseconds(at: int) -> float:
    return at / 1000
