"""The steps of a trial of an Optuna study: asked for, suggested, judged, lost, told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from eventhpo.core.fold.events import Event, Recorded, trial_of
from eventhpo.core.fold.state import State
from eventhpo.core.fold.study_events import (
    AttributeSet,
    LateCall,
    ParameterSuggested,
    PointJudged,
    StudyParameter,
    TrialAdded,
    TrialAsked,
    TrialLost,
    TrialTold,
)
from eventhpo.core.fold.study_state import StudyState
from eventhpo.views import event_lines
from eventhpo.views.formatting import number
from replay.decide.check_study import UNKNOWN, check_study
from replay.decide.checked import WHOLE, Checked
from replay.explain import pruner_rules
from replay.explain.explanation import AnyStep, StudyStep
from replay.explain.study_verdicts import study_finding


def step(state: State, seq: int, event: Event) -> StudyStep | None:
    """Return what *event* did to its trial and why, from the *state* before it; None if it did nothing worth a line."""
    study = state.study
    if study is None:
        return None
    match event:
        case TrialAsked(attempt=attempt):
            return StudyStep(seq=seq, word="asked", attempt=attempt, said=_asked(event))
        case TrialAdded():
            what = "imported" if event.imported else "added"
            values = "" if event.values is None else f" with {', '.join(number(value) for value in event.values)}"
            return StudyStep(seq=seq, word=what, attempt=-1, said=f"{event.state}{values}")
        case ParameterSuggested(attempt=attempt):
            return StudyStep(
                seq=seq, word="suggested", attempt=attempt, said="; ".join(_suggested(state, study, event))
            )
        case PointJudged(attempt=attempt, prune=prune):
            said, differs = _judged(state, event)
            return StudyStep(seq=seq, word="pruned" if prune else "judged", attempt=attempt, said=said, differs=differs)
        case TrialTold(attempt=attempt):
            return StudyStep(seq=seq, word="told", attempt=attempt, said=_told(event))
        case TrialLost(attempt=attempt, why=why):
            said = f"{why}: the trial keeps its parameters and is asked for again"
            return StudyStep(seq=seq, word="lost", attempt=attempt, said=said)
        case AttributeSet(attempt=attempt, name=name) if attempt is not None and not event.system:
            return StudyStep(seq=seq, word="attribute", attempt=attempt, said=f"{name} = {event.value}")
        case LateCall(attempt=attempt, call=call, detail=detail):
            said = f"{call} came after the attempt was lost, and changed nothing{f': {detail}' if detail else ''}"
            return StudyStep(seq=seq, word="late", attempt=attempt, said=said)
    return None


def asked_again(rows: Sequence[Recorded], trial: int) -> dict[int, Checked]:
    """Return what the sampler and the pruner of a study say today to the questions about *trial*, by seq of the row."""
    return {check.seq: check for check in check_study(rows, None, None, WHOLE, trial)}


def all_asked_again(rows: Sequence[Recorded]) -> dict[int, dict[int, Checked]]:
    """Return what `asked_again` returns for each trial, by number; trials that nobody was asked about are left out."""
    by_trial: dict[int, dict[int, Checked]] = {}
    for check in check_study(rows, None, None, WHOLE):
        number = trial_of(rows[check.seq - 1].event)
        if number is not None:
            by_trial.setdefault(number, {})[check.seq] = check
    return by_trial


def with_answer(step: AnyStep, check: Checked | None) -> AnyStep:
    """Return *step* with what came of asking again; it is *step* itself where nobody was asked."""
    if check is None or not isinstance(step, StudyStep):
        return step
    if check.divergence is not None:
        today = check.divergence.failed or _answer(check.divergence.decided)
        return msgspec.structs.replace(step, differs=step.differs or f"asked again, the answer is {today}")
    if check.skipped == UNKNOWN:
        return step  # which its own words say
    if check.skipped is not None:
        return msgspec.structs.replace(step, said=f"{step.said}; not asked again: {check.skipped}")
    same = "the same" if check.rounded is None else "the same up to rounding, on another platform"
    return msgspec.structs.replace(step, said=f"{step.said}; asked again: {same}")


def _answer(decided: Event | None) -> str:
    match decided:
        case ParameterSuggested(parameter=parameter, relative=relative):
            chosen = () if relative is None else relative
            alone = () if parameter is None or parameter in chosen else (parameter,)
            return ", ".join(map(_parameter, (*chosen, *alone))) or "nothing"
        case PointJudged(prune=prune):
            return "prune" if prune else "go on"
    return "none" if decided is None else event_lines.describe_event(decided)


def _asked(event: TrialAsked) -> str:
    who = f"by the worker {event.worker}" if event.worker else "in this process"
    lease = "" if event.lease is None else f", which may be silent for {event.lease:g} s"
    return f"{'in optimize' if event.loop else 'by ask()'} {who}{lease}"


def _suggested(state: State, study: StudyState, event: ParameterSuggested) -> Iterator[str]:
    if event.relative is not None:
        chosen = ", ".join(map(_parameter, event.relative)) or "nothing"
        yield f"{state.search.sampler.name} chose for the trial as a whole: {chosen}{_saw(study)}"
    if event.parameter is None:
        return
    how = {
        "relative": "of that choice",
        "independent": f"by {state.search.sampler.name} alone{_saw(study)}",
        "fixed": "as it was enqueued",
        "single": "the one value that there is",
        "unknown": "by a sampler that the log does not know",
    }[event.source]
    yield f"{_parameter(event.parameter)} {how}"


def _parameter(parameter: StudyParameter) -> str:
    return f"{parameter.name}={parameter.value}"


def _saw(study: StudyState) -> str:
    counts = {state: sum(trial.state == state for trial in study.trials) for state in ("completed", "pruned", "failed")}
    seen = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no finished trial"
    return f" (it saw {seen})"


def _judged(state: State, event: PointJudged) -> tuple[str, str | None]:
    """Return the verdict in words, and how it differs from the rule's, computed again."""
    point = f"step {event.step}" if event.value is None else f"{number(event.value)} at step {event.step}"
    if event.prune is None:
        return f"{point}; the pruner was not asked", None
    rule, finding = state.search.pruner.name, study_finding(state, event)
    if finding is None or not pruner_rules.is_known(finding):
        return f"{point}; {rule} says {'prune' if event.prune else 'go on'}", None
    words = pruner_rules.words(finding)
    needed = pruner_rules.needed(finding) if event.prune else None
    differs = None if finding.prune == event.prune else "these numbers say the contrary of what is recorded"
    return f"{point}: {words}{f'; needed: {needed}' if needed else ''}", differs


def _told(event: TrialTold) -> str:
    values = "" if event.values is None else f" with {', '.join(number(value) for value in event.values)}"
    why = f": {event.why}" if event.why else ""
    stop = "; the sampler has nothing left to suggest" if event.stop else ""
    return f"{event.state}{values}{why}{stop}"
