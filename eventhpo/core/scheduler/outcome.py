"""How an attempt and its trial end: the table of ends, as one function."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.curve import worth
from eventhpo.core.fold.events import TrialFinished
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.search.spec import to_num

AttemptOutcome: TypeAlias = Literal["completed", "pruned", "failed", "no value", "lost", "aborted"]


class AttemptEnd(msgspec.Struct, frozen=True):
    """An attempt's outcome and the reason in words."""

    outcome: AttemptOutcome
    why: str = ""


def told_values(state: State, attempt: Attempt) -> list[float | None]:
    """Return each objective's value over the points that are not late, None where there is none."""
    pairs = zip(state.search.objectives, attempt.curves, strict=True)
    exact = () if attempt.ended is None else attempt.ended.exact
    return [worth(objective, curve, curve.in_time, exact) for objective, curve in pairs]


def end_of(state: State, attempt: Attempt) -> AttemptEnd:
    """Return how *attempt* ended: what was settled first counts, else what its job did."""
    assert attempt.ended is not None
    has_value = not state.search.space or all(c.in_time for c in attempt.curves)  # in a study the value is told
    match attempt.fate:
        case "pruned":
            return AttemptEnd("pruned")
        case "aborted":
            return AttemptEnd("aborted", attempt.fate_why or "stopped with the run or the search")
        case "limit":
            return AttemptEnd("completed") if has_value else AttemptEnd("no value", _no_value(state, attempt))
        case "time":
            why = "reached time_limit_per_job"
            return (
                AttemptEnd("completed", why)
                if has_value
                else AttemptEnd("no value", f"{why}; {_no_value(state, attempt)}")
            )
        case None:
            return _by_its_job(state, attempt, has_value)


def _by_its_job(state: State, attempt: Attempt, has_value: bool) -> AttemptEnd:
    assert attempt.ended is not None
    ended = attempt.ended
    match ended.how:
        case "completed":
            return AttemptEnd("completed") if has_value else AttemptEnd("no value", _no_value(state, attempt))
        case "failed" | "launch_failed":
            return AttemptEnd("failed", ended.why or ended.how.replace("_", " "))
        case "lost":
            return AttemptEnd("lost", ended.why or "lost")
        case "stopped" | "cancelled":
            return AttemptEnd("aborted", ended.why or f"{ended.how} from outside")


def _no_value(state: State, attempt: Attempt) -> str:
    """Return which objectives have no value, and what was reported in their place."""
    triples = list(zip(state.search.objectives, attempt.curves, told_values(state, attempt), strict=True))
    lacking = [(f"{o.title}/{o.series}", curve.iterations) for o, curve, value in triples if value is None]
    missing = ", ".join(name for name, _ in lacking)
    late = " in time" if any(iterations for _, iterations in lacking) else ""
    reported = [f"{o.title}/{o.series}" for o, _, value in triples if value is not None]
    reported += [f"{name} too late, from iteration {iterations[0]} on" for name, iterations in lacking if iterations]
    reported += [f"{title}/{series}" for title, series in sorted(attempt.others)]
    message = f"reported no {missing}{late}; it did report {', '.join(reported) or 'nothing'}"
    faults = report_faults(attempt) if state.policy >= 2 else ""  # the words are part of a decision
    return f"{message}; {faults}" if faults else message


def report_faults(attempt: Attempt) -> str:
    """Return how many faults the reports of *attempt* have, and the first of them; empty if they have none."""
    if attempt.first_bad is None:
        return ""
    first = f"at {attempt.first_bad.place}: {attempt.first_bad.why}"
    return (
        f"1 fault in its reports, {first}"
        if attempt.bad == 1
        else f"{attempt.bad} faults in its reports, first {first}"
    )


def retry_due(state: State, trial: Trial) -> bool:
    """Whether *trial*'s last attempt ended in a way that another attempt may mend."""
    attempt = trial.last
    if trial.finished or trial.cancelled is not None or attempt is None or attempt.charge is None:
        return False
    outcome = end_of(state, attempt).outcome
    if outcome not in ("failed", "lost"):
        return False
    same = sum(end_of(state, a).outcome == outcome for a in trial.attempts)
    allowed = state.limits.max_failures_per_trial if outcome == "failed" else state.limits.max_lost_per_trial
    return same <= allowed


def finish(state: State, trial: Trial) -> TrialFinished:
    """Return *trial*'s outcome by its last attempt; a lost one that is not retried has failed."""
    attempt = trial.last
    assert attempt is not None
    end = end_of(state, attempt)
    match end.outcome:
        case "completed":
            return _completed(state, trial, attempt, end.why)
        case "pruned":
            return TrialFinished(trial=trial.number, state="pruned", why=end.why)
        case "aborted":
            return TrialFinished(trial=trial.number, state="aborted", why=end.why)
        case "failed" | "lost" if trial.cancelled is not None:
            return TrialFinished(trial=trial.number, state="aborted", why=f"{trial.cancel_why}; after: {end.why}")
        case _:
            return TrialFinished(trial=trial.number, state="failed", why=end.why)


def _completed(state: State, trial: Trial, attempt: Attempt, why: str) -> TrialFinished:
    values = [v for v in told_values(state, attempt) if v is not None]
    if not any(map(math.isnan, values)):
        return TrialFinished(trial=trial.number, state="completed", values=tuple(map(to_num, values)), why=why)
    if state.search.nan_policy == "fail":
        return TrialFinished(trial=trial.number, state="failed", why="its value is NaN (nan_policy = fail)")
    if not state.totals.worst:
        return TrialFinished(
            trial=trial.number, state="failed", why="its value is NaN, and no completed trial has a worst value yet"
        )
    told = [w if math.isnan(v) else v for v, w in zip(values, state.totals.worst, strict=True)]
    return TrialFinished(
        trial=trial.number,
        state="completed",
        values=tuple(map(to_num, told)),
        why="its value is NaN: told as the worst",
    )
