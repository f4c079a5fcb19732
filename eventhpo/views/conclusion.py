"""How a search came out: its last lines, what its last job printed, and what lets it go on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from eventhpo.core.fold.state import State, Trial
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import ClearmlTasks
from eventhpo.views import formatting, status, top

TAIL = 20  # lines of a failed job's output: a traceback's end
_TAIL_BYTES = 65_536
_NAMED = 5  # metrics that are named where the objective was not reported


def render_end(log: Path, state: State) -> Iterator[str]:
    """Yield the last lines of a search: how it ended, its best trial, where the log is."""
    why = status.ending_of(state)
    if state.finished is not None and why is not None:
        yield f"{state.finished.state}: {status.describe_ending(why)}"
    best = _best(state)
    yield "best: no trial has a value" if best is None else f"best: {top.describe_trial(state, best)}"
    yield f"log: {log}"


def _best(state: State) -> Trial | None:
    """Return the best trial if it has a value of each objective."""
    best = next(iter(rank.top(state, 1)), None)
    return None if best is None or None in rank.values(state, best) else best


def is_bad(state: State) -> bool:
    """Whether the search has ended by failures, or by itself and without any value."""
    if state.finished is None or state.finished.reason == "stop":
        return False
    return state.finished.reason == "failures" or _best(state) is None


def missing_objective(state: State) -> str | None:
    """Return what to correct where every trial failed because no job reported the objective; else None."""
    attempts = [t.last for t in state.trials if t.last is not None and t.finished is not None]
    unreported = [
        a
        for a in attempts
        if a.ended is not None and a.ended.how == "completed" and not all(curve.iterations for curve in a.curves)
    ]
    if not attempts or len(unreported) < len(attempts):
        return None
    objective = state.search.objectives[0]
    reported = sorted({f"{title}/{series}" for a in unreported for title, series in a.others})
    if not reported and not isinstance(state.search.jobs, ClearmlTasks):
        return (
            "no job reported anything; have the script report the objective:\n"
            "  from eventhpo import job\n"
            f"  job.report_scalar({objective.title!r}, {objective.series!r}, value=..., iteration=...)"
        )
    names = ", ".join(formatting.metric(o) for o in state.search.objectives)
    what = formatting.line(", ".join(reported[:_NAMED])) if reported else "nothing"
    return (
        f"the search is for {names}, and the jobs reported {what}: correct the script and go on; or correct the "
        "objective, which a log keeps, in the search file, and begin anew with `eventhpo run SEARCH_FILE --start-over`"
    )


def last_output(state: State, lies: Callable[[str], str] = lambda path: path) -> Iterator[str]:
    """Yield the last lines of what the newest failed job printed, and where it lies; else of the newest aborted one.

    *lies* says where a file lies now that was recorded at a path.
    """
    for trial in (*_newest(state, "failed"), *_newest(state, "aborted")):
        path = status.output(trial.last) if trial.last is not None else None
        if trial.finished is None or path is None:
            continue
        yield f"trial {trial.number} {trial.finished.state}: {formatting.line(trial.finished.why)}"
        yield from _tail_lines(lies(path))
        return


def _newest(state: State, how: str) -> Iterator[Trial]:
    return (t for t in reversed(state.trials) if t.finished is not None and t.finished.state == how)


def _tail_lines(path: str) -> Iterator[str]:
    lines = tail(Path(path))
    if lines is None:
        yield f"its output: {path}"
    elif not lines:
        yield f"it printed nothing ({path} is empty)"
    else:
        yield f"the last {formatting.plural(len(lines), 'line')} of {path}:"
        yield from (f"  | {text}" for text in lines)


def tail(path: Path) -> list[str] | None:
    """Return the last `TAIL` lines of *path* without control characters; None if it cannot be read from here."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    return [formatting.line(output_line) for output_line in deque(text.splitlines(), TAIL)]
