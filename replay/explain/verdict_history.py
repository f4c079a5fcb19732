"""Verdicts of a log, computed again: what the pruner saw at each point, taken from the state before the row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from eventhpo.core.fold.curve import extend_meaning
from eventhpo.core.fold.event_parts import Attr, Verdict
from eventhpo.core.fold.events import JobPruned, JobsContinued
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.search.spec import to_num
from eventhpo.optuna_adapter.auto_resource import is_auto, latched_args, latched_resource
from replay.explain import pruner_rules
from replay.explain.explanation import JudgedPoint
from replay.explain.pruner_rules.findings import AnyFinding
from replay.explain.pruner_rules.pruner_view import PrunerView, TrialCurve, VisibleState

RUNG = "completed_rung_"  # what a pruner with rungs writes on a trial, followed by the rung's number
_MOST = 3  # differing values that a line names

RecordedVerdict: TypeAlias = Literal["go on", "prune", "too late"]


class _Judged(msgspec.Struct):
    """How far the verdicts of the row under way go with one attempt."""

    judged: int
    attrs: list[Attr]


class VerdictHistory:
    """What pruners saw, row by row; keeps the curves of trials that cannot change any more."""

    def __init__(self) -> None:
        self._settled: dict[int, TrialCurve] = {}

    def points(self, state: State, seq: int, event: JobsContinued | JobPruned, trial: int) -> list[JudgedPoint]:
        """Return the points of *trial* that the row judges, each with what the rule finds.

        *state* is the one before the row: the pruner sees each answer of a row when it
        is asked the next.
        """
        verdicts = [_prune_as_verdict(event)] if isinstance(event, JobPruned) else event.verdicts
        so_far: dict[int, _Judged] = {}
        judged_points: list[JudgedPoint] = []
        for verdict in verdicts:
            attempt = state.attempt(verdict.trial, verdict.attempt)
            mine = so_far.setdefault(verdict.trial, _Judged(attempt.judged, list(attempt.attrs)))
            if verdict.trial == trial:
                last: RecordedVerdict = "too late" if verdict.too_late else "go on"
                last = "prune" if isinstance(event, JobPruned) else last
                for point in self._entry(state, verdict, mine, so_far, last, event.latched):
                    judged_points.append(msgspec.structs.replace(point, seq=seq))
            mine.judged = verdict.judged
            mine.attrs += verdict.attrs
        return judged_points

    def _entry(
        self,
        state: State,
        verdict: Verdict,
        mine: _Judged,
        so_far: Mapping[int, _Judged],
        last: RecordedVerdict,
        latched: int | None,
    ) -> Iterator[JudgedPoint]:
        attempt = state.attempt(verdict.trial, verdict.attempt)
        curve = attempt.curves[0]
        end = min(verdict.judged, len(curve.iterations))
        others = [self._curve(state, t, so_far) for t in state.trials if t.number != verdict.trial]
        values = _meanings(state, curve.values[:end])
        for position in range(mine.judged, end):
            iteration = curve.iterations[position]
            # What it wrote at this point itself was not there yet.
            earlier = mine.attrs + [a for a in verdict.attrs if a.iteration < iteration]
            own = TrialCurve(
                trial=verdict.trial,
                state="running",
                points=dict(zip(curve.iterations[: position + 1], values, strict=False)),
                rungs=_rungs(earlier),
            )
            sight = PrunerView(state.search.name, state.search.objectives[0].maximize, own, others)
            asked = state.search.min_iteration_per_job is None or iteration >= state.search.min_iteration_per_job
            found = _find(state, sight) if asked else None
            recorded: RecordedVerdict = last if position == verdict.judged - 1 else "go on"
            wrote = [a for a in verdict.attrs if a.iteration == iteration]
            differs = _differs(state, attempt, iteration, recorded, found, wrote)
            if position == verdict.judged - 1:
                strayed = _strayed(verdict, found, curve.iterations[mine.judged : end])
                differs = differs or _misplaced(verdict, iteration) or strayed or _mislatched(state, latched)
            yield JudgedPoint(
                seq=0,
                position=position + 1,
                iteration=iteration,
                value=to_num(values[position]),
                recorded=recorded,
                asked=asked,
                found=found,
                differs=differs,
            )
        if not mine.judged < verdict.judged <= len(curve.iterations):
            yield _verdict_without_point(verdict, mine.judged, len(curve.iterations), last)

    def _curve(self, state: State, trial: Trial, so_far: Mapping[int, _Judged]) -> TrialCurve:
        if trial.number in self._settled:
            return self._settled[trial.number]
        judged = so_far.get(trial.number)
        curve = _curve_seen(state, trial, judged)
        if curve.state != "running":
            self._settled[trial.number] = curve
        return curve


def _prune_as_verdict(event: JobPruned) -> Verdict:
    return Verdict(
        trial=event.trial, attempt=event.attempt, judged=event.judged, iteration=event.iteration, attrs=event.attrs
    )


def _curve_seen(state: State, trial: Trial, judged: _Judged | None) -> TrialCurve:
    """Return *trial* as a pruner sees it: a running one up to its last verdict."""
    attempt = trial.last
    points: dict[int, float] = {}
    attrs: Sequence[Attr] = ()
    if trial.imported is not None:
        points = dict(zip(trial.imported.iterations, map(float, trial.imported.reported), strict=True))
    elif attempt is not None:
        count = attempt.judged if judged is None else judged.judged
        attrs = attempt.attrs if judged is None else judged.attrs
        curve = attempt.curves[0]
        points = dict(zip(curve.iterations[:count], _meanings(state, curve.values[:count]), strict=True))
    state_seen = _state_of(trial)
    value = None
    if state_seen == "completed" and trial.finished is not None and trial.finished.values is not None:
        value = float(trial.finished.values[0])
    return TrialCurve(trial=trial.number, state=state_seen, points=points, value=value, rungs=_rungs(attrs))


def _state_of(trial: Trial) -> VisibleState:
    if trial.finished is None:
        return "pruned" if trial.last is not None and trial.last.fate == "pruned" else "running"
    if trial.finished.state == "aborted":
        return "failed"
    return trial.finished.state


def _meanings(state: State, values: Sequence[float]) -> list[float]:
    meanings: list[float] = []
    for value in values:
        meanings.append(extend_meaning(state.search.objectives[0], meanings[-1] if meanings else None, value))
    return meanings


def _rungs(attrs: Sequence[Attr]) -> dict[int, float]:
    return {int(a.name.removeprefix(RUNG)): float(a.value) for a in attrs if _is_rung(a)}


def _is_rung(attr: Attr) -> bool:
    """Whether *attr* is the value that a trial had at a rung."""
    return attr.name.startswith(RUNG) and attr.name.removeprefix(RUNG).isdecimal()


def _find(state: State, sight: PrunerView) -> AnyFinding:
    pruner = state.search.pruner
    return pruner_rules.find(pruner.name, latched_args(pruner, _latched(state)), sight)


def _latched(state: State) -> int | None:
    """Return what an "auto" resource is, or becomes at this question; None before a completed curve."""
    pruner, longest = state.search.pruner, state.totals.longest
    if state.latched is None and longest is not None and is_auto(pruner):
        return latched_resource(pruner, longest)
    return state.latched


def _mislatched(state: State, recorded: int | None) -> str | None:
    if recorded is None or recorded == _latched(state):
        return None
    return f"the record says that 'auto' is {recorded}; these numbers say {_latched(state)}"


def _misplaced(verdict: Verdict, iteration: int) -> str | None:
    if verdict.iteration == iteration:
        return None
    return f"the record says iteration {verdict.iteration}; its point {verdict.judged} is at {iteration}"


def _strayed(verdict: Verdict, found: AnyFinding | None, iterations: Sequence[int]) -> str | None:
    """Return which attributes on record no rule writes on points at *iterations*, None if there are none."""
    if found is not None and not pruner_rules.is_known(found):
        return None
    stray = [a for a in verdict.attrs if not _is_rung(a) or a.iteration not in iterations]
    if not stray:
        return None
    named = ", ".join(f"{a.name} at iteration {a.iteration}" for a in stray[:_MOST])
    return f"the record has attributes that the pruner does not write there: {named}"


def _verdict_without_point(verdict: Verdict, judged: int, there: int, recorded: RecordedVerdict) -> JudgedPoint:
    """Return what stands for a verdict that names no point that waited for one."""
    return JudgedPoint(
        seq=0,
        position=verdict.judged,
        iteration=verdict.iteration,
        value=to_num(math.nan),
        recorded=recorded,
        asked=False,
        found=None,
        differs=f"the record judges {verdict.judged} points; there are {there}, {judged} of them judged before",
    )


def _differs(
    state: State,
    attempt: Attempt,
    iteration: int,
    recorded: RecordedVerdict,
    found: AnyFinding | None,
    wrote: Sequence[Attr],
) -> str | None:
    """Return how the verdict and the rungs on record are not what the rule comes to, None if they are."""
    if found is not None and not pruner_rules.is_known(found):
        return None
    computed: RecordedVerdict = "go on"
    if found is not None and found.prune:
        computed = "prune" if too_late(state, attempt, iteration) is None else "too late"
    if computed != recorded:
        return f"the record says {_describe_verdict(recorded)}; these numbers say {_describe_verdict(computed)}"
    rungs = None if found is None else pruner_rules.rungs_of(found)
    expected = {} if rungs is None else {r.number: float(rungs.value) for r in rungs.reached}
    if _rungs(wrote) == expected:
        return None
    return f"the record has the values {_listed(_rungs(wrote))} at its rungs; these numbers say {_listed(expected)}"


def _listed(rungs: Mapping[int, float]) -> str:
    listed = [f"{value:.6g} at rung {rung}" for rung, value in sorted(rungs.items())[:_MOST]]
    return ", ".join(listed) or "none"


def _describe_verdict(verdict: RecordedVerdict) -> str:
    return {"prune": "pruned", "go on": "go on", "too late": "pruned, but too late"}[verdict]


def too_late(state: State, attempt: Attempt, iteration: int) -> Literal["ended", "limit"] | None:
    """Return why a prune at this point changes nothing: "ended", "limit", or None where it counts."""
    if attempt.ended is not None:
        return "ended"
    most = state.search.max_iteration_per_job
    return "limit" if most is not None and iteration >= most else None
