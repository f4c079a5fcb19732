"""A search in three sentences, and what was lost or run twice in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eventhpo.core.fold.events import EndReason, JobAdopted, Recorded, TasksLeft
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import to_num
from eventhpo.views import formatting, statuses, unused_reports
from eventhpo.views.formatting import duration, number, plural
from eventhpo.views.imports import describe_sources, imported_from
from replay.next_step import describe_jobs, of_attempt
from replay.postmortem.report import Postmortem
from replay.postmortem.text import (
    describe_act,
    describe_epoch,
    describe_failures,
    describe_gap,
    describe_lost,
    describe_retry,
)
from replay.report.data import AnsweredQuestion

MOST_PARAMETERS = 6  # that a sentence names
MOST_ANSWERS = 100  # of one kind: a page is read by people, and `eventhpo postmortem --json` has all


class Oddities:
    """Rows that say that a log is not the whole story: jobs taken up after a loss, jobs of another copy."""

    def __init__(self) -> None:
        self.adopted: list[str] = []
        self.left: list[str] = []

    def add(self, row: Recorded) -> None:
        """Take in *row*."""
        match row.event:
            case JobAdopted(trial=trial, attempt=attempt):
                self.adopted.append(f"the job{of_attempt(trial, attempt)}, at event {row.seq}")
            case TasksLeft(job_ids=job_ids):
                names = formatting.named_some([formatting.line(job_id) for job_id in job_ids])
                self.left.append(f"{names}: tasks of another copy of this log, found at event {row.seq}")


# ---------------------------------------------------------------- three sentences


def verdict(state: State, report: Postmortem, names: dict[str, str]) -> list[str]:
    """Return what was searched and how it ended, what was best, and what it cost; *names* are the short ones."""
    cost = _cost(report) if state.study is None else _time(state, report)
    return [_searched(state, report), _best(state, names), cost]


_ENDS: dict[EndReason, str] = {
    "stop": "was stopped by a person",
    "budget": "finished because its budget was used up",
    "space": "finished because every point of its space was tried",
    "target_value": "finished because a trial reached the target value",
    "patience": "finished because no better value came for a while",
    "failures": "ended because too many trials failed",
    "compute_time_limit": "finished because its compute time was used up",
    "wall_time_limit": "finished because its time was over",
}


def _searched(state: State, report: Postmortem) -> str:
    if state.study is not None:
        return _studied(state)
    trials = plural(len(state.trials) - state.imported, "trial")
    sources = describe_sources(imported_from(state))
    imported = f" (and imported {state.imported} {sources})" if state.imported else ""
    name = formatting.line(state.search.name)
    return f'The search "{name}" made {trials}{imported} to get {_goals(state)}, and {_ended(state, report)}.'


def _studied(state: State) -> str:
    counts = statuses.trial_counts(state)
    over = sum(count for name, count in counts.items() if name not in ("running", "imported"))
    open_ = counts["running"]
    rest = f", and {plural(open_, 'trial')} {'is' if open_ == 1 else 'are'} not finished" if open_ else ""
    name = formatting.line(state.search.name)
    return f'The Optuna study "{name}" finished {plural(over, "trial")} to get {_goals(state)}{rest}.'


def _goals(state: State) -> str:
    return " and ".join(
        f"{formatting.line(formatting.metric(o))} as {'large' if o.maximize else 'small'} as possible"
        for o in state.search.objectives
    )


def _ended(state: State, report: Postmortem) -> str:
    if report.end.how in ("finished", "stopped") and state.finished is not None:
        return _ENDS[state.finished.reason]
    match report.end.how:
        case "running":
            return "still runs"
        case "goes on":
            return "had not ended at this event"
        case "cut off":
            return "nobody can tell how it went on, because the log is damaged after that"
        case "record stops":
            return "has not ended: the record of its last controller just stops"
        case "at rest":
            return "goes on whenever its script is run again"
        case "not begun":
            return "has not begun"
    return "has not ended: it waits to be resumed"


def _best(state: State, names: dict[str, str]) -> str:
    ranked = rank.top(state)
    best = next((t for t in ranked if None not in rank.values(state, t)), None)
    if best is None:
        return "No trial has a value, so there is no best one."
    if not state.single:
        return _front(state)
    value = _values(state, best)
    status = "" if best.finished is not None and best.finished.state == "completed" else f", which {_is(best)}"
    after = len([t for t in state.trials if t.number > best.number])
    since = f"; no trial after it was better ({after} came)" if after else ""
    return f"The best is trial {best.number}{status}: {value} with {_given(state, best, names)}{since}."


def _is(trial: Trial) -> str:
    return "still runs" if trial.finished is None else f"was {trial.finished.state}"


def _values(state: State, trial: Trial) -> str:
    pairs = zip(state.search.objectives, rank.values(state, trial), strict=True)
    return " and ".join(
        f"{formatting.line(formatting.metric(o))} = {number(None if v is None else to_num(v))}" for o, v in pairs
    )


def _given(state: State, trial: Trial, names: dict[str, str]) -> str:
    params = formatting.ordered(state.search, trial.params)
    shown = [f"{names.get(name, formatting.line(name))} = {formatting.scalar(v)}" for name, v in params.items()]
    if not shown:
        return "no parameter"
    more = f" and {plural(len(shown) - MOST_PARAMETERS, 'more parameter')}" if len(shown) > MOST_PARAMETERS else ""
    return ", ".join(shown[:MOST_PARAMETERS]) + more


def _front(state: State) -> str:
    trials = [t for t in rank.top(state, only_completed=True) if None not in rank.values(state, t)]
    front = rank.pareto_front(state, trials)
    objectives = len(state.search.objectives)
    if not front:
        return f"No trial completed with a value of each of its {objectives} objectives, so there is no Pareto front."
    shown = formatting.named_some([str(t.number) for t in front], 10)
    return (
        f"With {objectives} objectives there is no one best: no trial is better in all of them than "
        f"{plural(len(front), 'trial')} on the Pareto front ({shown})."
    )


def _cost(report: Postmortem) -> str:
    spent = report.spending.spent
    jobs = sum(report.jobs.values())
    limit = "" if spent.limit is None else f" of {spent.limit}"
    compute = duration(sum(share.compute_time for share in spent.parts.values()))
    pruned = spent.parts["pruned"]
    on_pruned = ""
    if pruned.jobs and spent.used:
        percent = 100 * pruned.iterations / spent.used
        on_pruned = f", {percent:.0f} % of the iterations on {plural(pruned.jobs, 'job')} that it pruned"
    return (
        f"It used {spent.used}{limit} iterations and {compute} of compute time in {plural(jobs, 'job')}{on_pruned}; "
        f"{_losses(report)}."
    )


def _time(state: State, report: Postmortem) -> str:
    ended = [a for t in state.trials for a in t.attempts if a.ended is not None and a.started is not None]
    took = sum(max(0, (a.ended.finished_at or 0) - a.started.wall) for a in ended if a.ended and a.started)
    reports = sum(a.reported for t in state.trials for a in t.attempts)
    pruned = report.trials["pruned"]
    return (
        f"Its objective ran for {duration(took)} and reported {plural(reports, 'value')} on the way; "
        f"{plural(pruned, 'trial')} {'was' if pruned == 1 else 'were'} pruned, and {_losses(report)}."
    )


def _losses(report: Postmortem) -> str:
    lost, twice = len(report.trouble.lost), sum(job.back for job in report.trouble.lost)
    retried = len(report.trouble.retried)
    if not lost and not retried:
        return "no job was lost, retried or run twice"
    were = f"{plural(lost, 'job')} {'was' if lost == 1 else 'were'} lost" if lost else "no job was lost"
    again = f"{retried} retried" if retried else "none retried"
    ran = (
        f"{twice} may have run next to {'its retry' if twice == 1 else 'their retries'}" if twice else "none ran twice"
    )
    return f"{were}, {again}, and {ran}"


# ---------------------------------------------------------------- what was lost or run twice


def trouble(state: State, report: Postmortem, oddities: Oddities) -> list[AnsweredQuestion]:
    """Return the questions of a reader who does not trust the search, with their answers."""
    lost = report.trouble.lost
    facts = [
        ("Damage to the log", list(map(formatting.line, report.damage))),
        ("Jobs that were lost", [describe_lost(job) for job in lost]),
        ("Jobs that ran twice, or next to their retry", [*_twice(report), *oddities.left]),
        ("Trials that were retried", [describe_retry(retry) for retry in report.trouble.retried]),
        ("Times without a controller", list(_gaps(report))),
        ("Jobs made by one controller and found by a later one", _bound_later(report)),
        ("Jobs taken up again after the end of the log was lost", oddities.adopted),
        ("Points that were tried more than once", _repeats(report)),
        ("Reports that count for nothing", list(_unused(state))),
        ("Iterations reported too late, and not charged", _late(report)),
        ("Effects that failed and were tried again", [describe_failures(f) for f in report.trouble.failures]),
        ("What people asked for while it ran", [describe_act(act) for act in report.acts if act.seq > 1]),
        ("Scripts that changed while the search ran", list(map(formatting.line, state.changed_scripts))),
    ]
    return [AnsweredQuestion(question, _some(answers)) for question, answers in facts]


def _some(answers: Sequence[str]) -> list[str]:
    more = len(answers) - MOST_ANSWERS
    return [*answers[:MOST_ANSWERS], *([f"and {more} more; eventhpo postmortem --json has all"] if more > 0 else [])]


def _twice(report: Postmortem) -> Iterator[str]:
    for job in report.trouble.lost:
        if job.back:
            yield (
                f"the job{of_attempt(job.trial, job.attempt)}: it was taken for lost, showed itself alive, and was "
                "stopped; its points after that count for nothing"
            )


def _gaps(report: Postmortem) -> Iterator[str]:
    epochs = report.controllers
    for place, epoch in enumerate(epochs):
        if epoch.gap is not None:
            yield f"{describe_epoch(epoch, epochs[place + 1])}; then {describe_gap(epoch.gap)}"


def _bound_later(report: Postmortem) -> list[str]:
    jobs = report.trouble.bound_later
    return [describe_jobs(jobs)] if jobs else []


def _repeats(report: Postmortem) -> list[str]:
    repeats = report.spending.repeats
    if not repeats.trials:
        return []
    named = formatting.named_some([str(trial) for trial in repeats.trials], 20)
    return [
        f"trials {named} have the point of an earlier trial; {plural(repeats.iterations, 'iteration')} went to them"
    ]


def _unused(state: State) -> Iterator[str]:
    for attempt in (a for t in state.trials for a in t.attempts):
        text = unused_reports.describe_unused(state, attempt)
        if text:
            yield f"trial {attempt.trial}, attempt {attempt.number}: {text}"


def _late(report: Postmortem) -> list[str]:
    return [f"{iterations} after {ended}" for ended, iterations in report.spending.late.items()]
