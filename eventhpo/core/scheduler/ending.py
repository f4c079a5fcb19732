"""When and why a search ends."""

from __future__ import annotations

from eventhpo.core.fold import budget
from eventhpo.core.fold.events import EndReason, SearchEnding, SearchFinished
from eventhpo.core.fold.state import Reached, State


def _too_many_failures(state: State) -> Reached | None:
    failed, most = state.totals.trials["failed"], state.limits.max_failed_trials
    if most is None or failed < most:
        return None
    return Reached("failures", f"{failed} trials failed (max_failed_trials = {most})")


def search_ending(state: State) -> SearchEnding | None:
    """Return the end that is due now; one at once may follow one that lets jobs finish."""
    if state.ending is not None and state.ending.at_once:
        stopped_meanwhile = state.stop_asked is not None and state.ending.reason != "stop"
        return _ends("stop", at_once=True) if stopped_meanwhile else None
    return _at_once(state) or (_softly(state) if state.ending is None else None)


def _at_once(state: State) -> SearchEnding | None:
    limits = state.limits
    if state.stop_asked is not None:
        return _ends("stop", at_once=True)
    compute = limits.compute_time_limit
    if compute is not None and budget.compute_used(state) >= budget.minutes(compute):
        return _ends("compute_time_limit", at_once=True)
    wall = limits.wall_time_limit
    if wall is not None and budget.wall_used(state) >= budget.minutes(wall):
        return _ends("wall_time_limit", at_once=True)
    return None


def _softly(state: State) -> SearchEnding | None:
    reached = state.reached or _too_many_failures(state)
    if reached is not None:
        return _ends(reached.reason, at_once=False, detail=reached.detail)
    if budget.used_up(state):
        return _ends("budget", at_once=False, detail=_which_budget(state))
    if not state.waiting and not points_left(state) and not _open(state):
        return _ends("space", at_once=False, detail=f"all {state.space_size} points were tried")
    return None


def _which_budget(state: State) -> str:
    """Return which budget is used up, empty if it is `total_max_jobs` times the iterations of a job."""
    return f"max_trials = {state.limits.max_trials}" if budget.exhausted(state) == ("max_trials",) else ""


def _ends(reason: EndReason, *, at_once: bool, detail: str = "") -> SearchEnding:
    return SearchEnding(reason=reason, at_once=at_once, detail=detail)


def points_left(state: State) -> bool:
    """Whether the sampler has a point left that no trial holds."""
    return state.space_size is None or state.totals.tried < state.space_size


def to_raise(state: State) -> tuple[str, ...]:
    """Return the limits that are to be raised so that a finished search goes on: with new ones it is ended anew.

    Those that hold still; where none does, the one that ended it. Nothing, if no limit lets it go on.
    """
    ended_at_once = _at_once(state)
    holding: list[str] = [] if ended_at_once is None or ended_at_once.reason == "stop" else [ended_at_once.reason]
    if _too_many_failures(state) is not None:
        holding.append("max_failed_trials")
    holding += budget.exhausted(state)
    if holding or state.finished is None or not points_left(state):
        return tuple(holding)
    return _ENDED_BY.get(state.finished.reason, ())


_ENDED_BY: dict[EndReason, tuple[str, ...]] = {
    "compute_time_limit": ("compute_time_limit",),
    "wall_time_limit": ("wall_time_limit",),
    "failures": ("max_failed_trials",),
    "target_value": ("target_value",),
    "patience": ("patience",),
}


def _open(state: State) -> bool:
    return any(t.finished is None or any(a.live for a in t.attempts) for t in state.active.values())


def search_finished(state: State) -> SearchFinished | None:
    """Return the finish of a search that is ending and has nothing left, else None."""
    if state.ending is None or _open(state):
        return None
    reason = state.ending.reason
    return SearchFinished(state="stopped" if reason == "stop" else "finished", reason=reason)
