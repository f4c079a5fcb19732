"""The lines of `eventhpo postmortem`: one fact per line, what matters most first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import rank
from eventhpo.views import budget_use, formatting, same_code, top
from eventhpo.views.formatting import duration, plural, rfc3339
from eventhpo.views.imports import describe_import
from replay.next_step import Next, describe_jobs, of_attempt
from replay.postmortem.acts import PersonsAct
from replay.postmortem.controllers import Epoch, Gap
from replay.postmortem.ending import SearchEnd
from replay.postmortem.jobs import Failures, LostJob, Retried, Trouble
from replay.postmortem.progress import Progress
from replay.postmortem.report import Postmortem
from replay.postmortem.slots import Slots
from replay.postmortem.spending import Cost, Spending

MOST = 8  # lines of one kind; --json has all


def render_postmortem(report: Postmortem, state: State) -> Iterator[str]:
    """Yield the lines of *report*; damage comes first."""
    for fault in report.damage:
        yield _fact("damaged", formatting.line(fault))
    if report.end.how == "cut off":
        yield _fact("", f"all below is about the verified part, {plural(report.head.seq, 'row')}")
    yield _fact("search", f"{formatting.line(report.name)} ({report.search_id})")
    lasting = duration(max(0, report.ended - report.began))
    yield _fact(
        "log", f"{plural(report.head.seq, 'row')}, {rfc3339(report.began)} to {rfc3339(report.ended)}, {lasting}"
    )
    yield from _ending(report.end)
    yield from _several(_controllers(report.controllers))
    yield from _several([("act", describe_act(person_act)) for person_act in report.acts])
    yield _fact("trials", _counts(report.trials))
    yield from _several([("imported", describe_import(part)) for part in report.imports])
    yield _fact("jobs", _counts(report.jobs))
    yield from _several([("code", same_code.describe_change(change)) for change in report.code_changes])
    yield from _trouble(report.trouble)
    yield from _checked(report)
    if state.study is None:  # a study has no budget, and no slots
        yield from _spending(report.spending)
        yield from _slots(report.slots)
    yield from _costs(report.spending)
    if report.winner is not None:
        front = None if state.single else top.describe_front(state, rank.top(state, only_completed=True))
        yield _fact("winner", front or top.describe_trial(state, state.trials[report.winner.trial]))
    yield from _progress(report.progress, state)
    yield from _next(report.next)


def _fact(label: str, fact: str) -> str:
    return f"{label:<11} {fact}".rstrip()


def _several(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines; of more than `MOST`, only the first and the last, and the number left out between them."""
    half = MOST // 2
    out = len(lines) - MOST
    for place, (label, fact) in enumerate(lines):
        if out > 0 and half <= place < half + out:
            if place == half:
                yield _fact("", f"... {plural(out, 'more line')} of this kind (--json has all) ...")
            continue
        yield _fact(label, fact)


def _counts(counts: Mapping[str, int]) -> str:
    parts = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    total = sum(counts.values())
    return f"{total}: {parts}" if parts else str(total)


# ---------------------------------------------------------------- end and controllers


def _ending(end: SearchEnd) -> Iterator[str]:
    yield _fact("ended", end.what)
    yield _fact("", f"after {end.behind}" + (f"; what came next was to {end.before}" if end.before else ""))
    for fact in end.evidence:
        yield _fact("evidence", fact)
    for fact in end.unknown:
        yield _fact("not known", fact)


def _controllers(epochs: Sequence[Epoch]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for place, epoch in enumerate(epochs):
        lines.append(("controller", describe_epoch(epoch, epochs[place + 1] if place + 1 < len(epochs) else None)))
        if epoch.gap is not None:
            lines.append(("gap", describe_gap(epoch.gap)))
    return lines


def describe_epoch(epoch: Epoch, following: Epoch | None) -> str:
    """Describe a controller in a line: its rows, its time, how it ended; *following* is the controller after it."""
    lasting = duration(max(0, epoch.ended - epoch.began))
    took = ", took the log over" if epoch.took_over else ""
    up = f"; took up {plural(len(epoch.took_up), 'job')}" if epoch.took_up else ""
    process = f"{epoch.pid} on {epoch.host}, seq {epoch.first} to {epoch.last}"
    return f"epoch {epoch.epoch}: {process}, {lasting}{took}{up}; {_describe_end(epoch, following)}"


def _describe_end(epoch: Epoch, following: Epoch | None) -> str:
    why = f": {formatting.line(epoch.why)}" if epoch.why else ""
    match epoch.how:
        case "request":
            return "only wrote what a user asked for"
        case "lease lost":
            return f"lost its lease after {epoch.last_event}{why}"
        case "record stops":
            if following is None:
                return "its record just stops"
            between = f"between {epoch.last_event}, and seq {following.first}, the next ControllerStarted"
            came_next = f"; what came next was to {epoch.came_next}" if epoch.came_next else ""
            return f"its record stops {between}{came_next}"
        case "at rest":
            return "left no trial running"
        case "by hand":
            return "rested, driven by hand"
        case "holds the log":
            return "holds the log now"
        case "goes on":
            return "goes on after that"
        case "cut off":
            return f"how it went on is lost with the rows after {epoch.last_event}"
        case "finished" | "stopped" | "interrupted":
            return f"ended well, {epoch.how}{why}"


def describe_gap(gap: Gap) -> str:
    """Describe a time without a controller in a line."""
    if gap.microseconds < 0:
        time = f"for an unknown time (the clock of the later host was {duration(-gap.microseconds)} slow)"
    else:
        time = duration(gap.microseconds)
    unwatched = f", {plural(gap.unwatched, 'job')} unwatched" if gap.unwatched else ""
    boot = {True: ", the machine was restarted meanwhile", False: "", None: f", then on another host, {gap.host}"}
    lost = ""
    if gap.prunes_lost:
        lost = f"; {plural(gap.prunes_lost, 'job')} ended in it, too early for a prune that the pruner asked for"
    return f"{time} without a controller{unwatched}{boot[gap.rebooted]}{lost}"


def describe_act(act: PersonsAct) -> str:
    """Describe what a person did, in a line."""
    uid = "" if act.uid is None else f" (uid {act.uid})"
    who = f" by {formatting.line(act.by)}{uid}" if act.by else ""
    what = f": {formatting.line(act.what)}" if act.what else ""
    why = f"; reason: {formatting.line(act.why)}" if act.why else ""
    return f"event {act.seq}, {rfc3339(act.at)}, {act.event}{who}{what}{why}"


# ---------------------------------------------------------------- jobs and effects


def _trouble(trouble: Trouble) -> Iterator[str]:
    if not trouble.lost:
        yield _fact("lost", "nothing: no job was lost")
    yield from _several([("lost", describe_lost(job)) for job in trouble.lost])
    back = [(job.trial, job.attempt) for job in trouble.lost if job.back]
    yield _fact(
        "ran twice", f"perhaps {describe_jobs(back)}, which came back after it was given up" if back else "none"
    )
    yield from _several([("retried", describe_retry(retry)) for retry in trouble.retried])
    if trouble.bound_later:
        jobs = describe_jobs(trouble.bound_later)
        yield _fact("adopted", f"{jobs}, made or found by a later controller than the one that announced it")
    for failures in trouble.failures:
        yield _fact("failing", describe_failures(failures))


def _checked(report: Postmortem) -> Iterator[str]:
    """Yield what this rests on, and what it does not."""
    if not report.damage:
        yield _fact("checked", f"the chain of all {plural(report.head.seq, 'row')}, and that each fits those before it")
    signature = "a signature is next to it" if report.signature else "no signature is next to it"
    yield _fact(
        "not checked",
        "the decisions (eventhpo replay), the jobs' own reports (eventhpo verify), who vouches for it (eventhpo verify "
        f"--signed-by; {signature})",
    )


def describe_lost(job: LostJob) -> str:
    """Describe a lost job in a line."""
    return f"the job{of_attempt(job.trial, job.attempt)}: {formatting.line(job.why)}{'; it came back' * job.back}"


def describe_retry(retry: Retried) -> str:
    """Describe a retry in a line."""
    attempt = f"trial {retry.trial}, attempt {retry.attempt}"
    return f"{attempt}, after one that was {retry.after}: {formatting.line(retry.why)}"


def describe_failures(failures: Failures) -> str:
    """Describe the failures of one kind of effect in a line."""
    jobs = f" of {plural(failures.jobs, 'job')}" if failures.jobs else ""
    doubt = f", {failures.in_doubt} in doubt" if failures.in_doubt else ""
    waits = f"over {duration(failures.lasting)}, waits up to {duration(failures.back_off)}"
    still = "; it has not worked since" if failures.going_on else ""
    times = f"{plural(failures.count, 'time')}{doubt}, at most {failures.in_a_row} in a row {waits}"
    return f"{failures.effect}{jobs} failed {times}; last: {formatting.line(failures.error)}{still}"


# ---------------------------------------------------------------- budget and slots


def _spending(spending: Spending) -> Iterator[str]:
    yield from budget_use.render_spent(spending.spent)
    if spending.late:
        parts = ", ".join(f"{iterations} after {ended}" for ended, iterations in spending.late.items())
        yield f"  {'':<10} {'':>6} of these {parts}"
    if spending.held:
        yield f"  {'held':<10} {spending.held:>6} iterations reserved by jobs that are not settled"
    limit = spending.spent.limit
    if limit is not None and limit > spending.spent.used + spending.held:
        yield f"  {'unused':<10} {limit - spending.spent.used - spending.held:>6} iterations"
    repeats = spending.repeats
    if repeats.trials:
        trials = plural(len(repeats.trials), "trial")
        yield f"  {'repeats':<10} {repeats.iterations:>6} iterations of {trials} whose point an earlier trial has"


def _slots(slots: Slots) -> Iterator[str]:
    if not slots.total:
        return
    yield f"slots: {duration(slots.total)} of slot time, from the first controller to the last row"
    parts = [(f"held, {use}", time) for use, time in slots.held.items()]
    parts += [(f"idle, {why}", time) for why, time in slots.idle.items()]
    shown = [part for part in parts if part[1] >= slots.total / 200]  # the others would show as 0 %
    for what, time in sorted(shown, key=lambda part: -part[1]):
        yield f"  {what:<35} {100 * time / slots.total:4.0f} %  {duration(time)}"
    if slots.beyond:
        yield f"  {'more jobs than slots':<35} {100 * slots.beyond / slots.total:4.0f} %  {duration(slots.beyond)}"


def _costs(spending: Spending) -> Iterator[str]:
    if spending.costliest:
        if spending.slowest:
            yield _fact("slowest", "; ".join(_describe_cost(cost) for cost in spending.slowest))
        yield _fact("costliest", "; ".join(_describe_cost(cost) for cost in spending.costliest))


def _describe_cost(cost: Cost) -> str:
    time = [] if cost.compute_time is None else [duration(cost.compute_time)]
    attempts = [plural(cost.attempts, "attempt")] if cost.attempts > 1 else []
    return f"trial {cost.trial} ({', '.join([*time, plural(cost.iterations, 'iteration'), cost.status, *attempts])})"


# ---------------------------------------------------------------- progress and what comes next


def _progress(progress: Progress | None, state: State) -> Iterator[str]:
    if progress is None:
        yield _fact("improving", "not asked: with several objectives there is no one best")
        return
    if not progress.gains:
        yield _fact("improving", "never: no trial has completed with a value")
        return
    last, metric = progress.gains[-1], formatting.metric(state.search.objectives[0])
    place = f"the {_ordinal(last.completed)} of {progress.completed} to complete"
    used = "" if state.study is not None else f", at {last.iterations} of {progress.iterations} iterations"
    where = f"{place}{used}"
    yield _fact("improving", f"last with trial {last.trial}, {metric} = {formatting.number(last.value)}: {where}")
    if progress.since:
        yield _fact("", f"{plural(progress.since, 'trial')} completed since without a gain")
    yield _fact("", _describe_last_third(progress, "iterations used" if state.study is None else "completed trials"))


def _describe_last_third(progress: Progress, counted: str) -> str:
    where = f"in the last third of the {counted} (after {progress.third})"
    if not progress.in_last_third:
        return f"nothing gained {where}"
    before = "none" if progress.before is None else formatting.number(progress.before)
    return f"{where} the best went from {before} to {formatting.number(progress.gains[-1].value)}"


def _ordinal(n: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{n}{'th' if n % 100 in (11, 12, 13) else ends.get(n % 10, 'th')}"


def _next(upcoming: Next) -> Iterator[str]:
    yield _fact("next", upcoming.what)
    for wait in upcoming.waits:
        yield _fact("", f"waits for {wait}")
    if upcoming.way_on:
        yield _fact("", upcoming.way_on)
