"""What a person sees of a running search at one look: best, running jobs, prunes, budget, time left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import MINUTE, Scalar, to_num
from eventhpo.views import formatting, statuses, top

PRUNED = 3  # newest pruned trials that are shown
SPARK = 12  # characters of a sparkline
_BLOCKS = "▁▂▃▄▅▆▇█"
_REASONS = {
    "MedianPruner": "worse than the median",
    "PercentilePruner": "worse than the percentile",
    "SuccessiveHalvingPruner": "not among its rung's best",
    "HyperbandPruner": "not among its rung's best",
    "ThresholdPruner": "outside the pruner's bounds",
    "PatientPruner": "no gain for too long",
    "WilcoxonPruner": "worse than the best trial",
}


class LiveJob(msgspec.Struct, frozen=True):
    """A job that runs: its last values, the course of the first objective, and its parameters under short names."""

    slot: int
    trial: int
    status: str
    iteration: int | None
    values: list[str]
    spark: str
    params: str


class BudgetBar(msgspec.Struct, frozen=True):
    """One limited resource: `used` and `limit` are in `unit`, `limit` is above 0."""

    name: str
    used: float
    limit: float
    unit: str

    @property
    def share(self) -> float:
        """The part of the limit that is used, 0 to 1."""
        return min(1.0, max(0.0, self.used / self.limit))


class LiveView(msgspec.Struct, frozen=True):
    """All that the live view shows; `left` (microseconds) is None where no limit or no pace is known."""

    title: str
    best: str
    metrics: list[str]
    running: list[LiveJob]
    pruned: list[str]
    bars: list[BudgetBar]
    elapsed: int
    left: int | None


def live_view(state: State, now: int | None = None) -> LiveView:
    """Return what to show of *state*; it follows from the arguments alone.

    *now* is the time (microseconds since 1970) of a search that runs, by default the time of its last event.
    """
    names = short_names(state.job_names)
    bars = list(budget_bars(state))
    elapsed = max(0, max(now or 0, state.last_at) - state.created_at)
    return LiveView(
        title=f"{formatting.line(state.search.name)}: {statuses.footer(state)}",
        best=_best(state, names),
        metrics=[formatting.line(formatting.metric(o)) for o in state.search.objectives],
        running=[_job(state, attempt, names) for attempt in _live_attempts(state)],
        pruned=list(islice(_pruned(state), PRUNED)),
        bars=bars,
        elapsed=elapsed,
        left=None if state.finished is not None else time_left(bars, elapsed - state.unattended),
    )


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return for each name the part after its section, or the whole name where two would be alike."""
    last = {name: name.rpartition("/")[2] or name for name in names}
    counts = Counter(last.values())
    return {name: formatting.line(short if counts[short] == 1 else name) for name, short in last.items()}


def sparkline(values: Sequence[float], width: int = SPARK) -> str:
    """Return the last *width* values as blocks of eight heights, lowest to highest; `x` for NaN and infinities."""
    newest = values[-width:]
    finite = [value for value in newest if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(value, low, high) for value in newest)


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "x"
    # Halves: the difference of two large floats may be infinite.
    span = high / 2 - low / 2
    return _BLOCKS[round((value / 2 - low / 2) / span * (len(_BLOCKS) - 1)) if span > 0 else 0]


def budget_bars(state: State) -> Iterator[BudgetBar]:
    """Yield what the search may use and has used: iterations, trials, compute time, wall time, as far as limited."""
    attempts = [a for t in state.active.values() for a in t.attempts if a.charge is None]
    if limit := budget.limit(state):
        running = sum(budget.charge(state, attempt) for attempt in attempts)
        yield BudgetBar("iterations", state.totals.charged + running, limit, "")
    most = budget.most_trials(state)
    if most is not None and most.number:
        yield BudgetBar("trials", len(state.trials) - state.imported, most.number, "")
    if minutes := state.limits.compute_time_limit:
        yield BudgetBar("compute time", budget.compute_used(state) / MINUTE, minutes, "min")
    if minutes := state.limits.wall_time_limit:
        yield BudgetBar("wall time", budget.wall_used(state) / MINUTE, minutes, "min")


def time_left(bars: Sequence[BudgetBar], worked: int) -> int | None:
    """Return the microseconds until the first limit is reached at the pace of the *worked* ones.

    *worked* is the time with a controller: a night without one says nothing of the pace.
    """
    share = max((bar.share for bar in bars), default=0.0)
    return round(max(0, worked) * (1 - share) / share) if share > 0 else None


def render_summary(view: LiveView) -> str:
    """Return best, budget and time left in one line, for output that nobody watches live."""
    return "; ".join([f"best: {view.best}", *map(render_bar, view.bars), render_time(view)])


def render_bar(bar: BudgetBar) -> str:
    """Return *bar* in words: `iterations 30 of 60 (50 %)`."""
    unit = f" {bar.unit}" if bar.unit else ""
    return f"{bar.name} {bar.used:.4g} of {bar.limit:.4g}{unit} ({bar.share:.0%})".replace("%", " %")


def render_time(view: LiveView) -> str:
    """Return how long the search has taken, and how long it may still take."""
    left = "" if view.left is None else f", about {formatting.duration(view.left)} left at this pace"
    return f"elapsed {formatting.duration(view.elapsed)}{left}"


# ---------------------------------------------------------------- parts


def _live_attempts(state: State) -> list[Attempt]:
    live = (a for t in state.active.values() for a in t.attempts if a.live)
    return sorted(live, key=lambda a: (a.slot, a.trial))


def _job(state: State, attempt: Attempt, names: Mapping[str, str]) -> LiveJob:
    curves = attempt.curves
    return LiveJob(
        slot=attempt.slot,
        trial=attempt.trial,
        status=statuses.job_status(state, attempt),
        iteration=attempt.highest,
        values=[formatting.number(to_num(c.values[-1])) if c.values else "-" for c in curves],
        spark=sparkline(curves[0].values[-SPARK:]) if curves else "",
        params=_params(state, attempt.trial, names),
    )


def _params(state: State, trial: int, names: Mapping[str, str]) -> str:
    given: dict[str, Scalar] = formatting.ordered(state.search, state.trials[trial].params)
    return " ".join(
        f"{names.get(name, formatting.line(name))}={formatting.scalar(value)}" for name, value in given.items()
    )


def _best(state: State, names: Mapping[str, str]) -> str:
    best = next(iter(rank.top(state, 1)), None)
    if best is None or None in rank.values(state, best):
        return "no trial has a value"
    value = formatting.line(top.describe_value(state, best))
    return f"trial {best.number}: {value}  {_params(state, best.number, names)}"


def _pruned(state: State) -> Iterator[str]:
    """Yield the newest pruned trials, newest first, and why in at most five words."""
    reason = _REASONS.get(state.search.pruner.name, "the pruner ended it")
    for trial in reversed(state.trials):
        if trial.last is not None and trial.last.fate == "pruned":
            judged = trial.last.judged
            curve = trial.last.curves[0]
            at = f" at {curve.iterations[judged - 1]}" if 0 < judged <= len(curve.iterations) else ""
            yield f"trial {trial.number}{at}: {reason}"
