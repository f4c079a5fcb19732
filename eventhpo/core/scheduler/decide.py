"""The whole scheduler: what comes next is a function of the state, in one total order.

Judge points; settle ended attempts; finish trials; end the search; stop what must
stop; retry; suggest and create; carry on open intents; poll. Decisions of one kind
go by trial number. A rule looks at its candidates only (`Candidates`), which may be kept
from decision to decision; what it decides is a function of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from eventhpo.core.fold import budget
from eventhpo.core.fold.event_parts import EffectName
from eventhpo.core.fold.events import BudgetUpdated, JobCreated, RequestLapsed, TrialFinished, TrialSuggested
from eventhpo.core.fold.job_key import job_key
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import actions, ending, outcome
from eventhpo.core.scheduler.candidates import (
    AT_A_TURN,
    FAILING,
    STARTING,
    STOPPING,
    UNCHARGED,
    UNJUDGED,
    WATCHED,
    Candidates,
)
from eventhpo.core.search import points


def next_action(state: State, kept: Candidates | None = None) -> actions.Action:
    """Return the one thing to do next; *kept* candidates on *state* save looking at each active trial."""
    candidates = Candidates(state) if kept is None else kept
    candidates.refresh()
    if state.run_stop is not None and state.run_stop.leave:
        return actions.Rest("run stopped")
    for rule in _RULES:
        action = rule(state, candidates)
        if action is not None:
            return action
    raise AssertionError(f"no rule says what follows event {state.head.seq}: a defect of eventhpo")


# ---------------------------------------------------------------- what the rules look at


def attempts(state: State) -> Iterator[Attempt]:
    """Yield the attempts of the active trials, by trial number."""
    for trial in state.active.values():
        yield from trial.attempts


def unfinished(state: State) -> Iterator[Trial]:
    """Yield the trials that have no outcome yet, by number."""
    return (t for t in state.active.values() if t.finished is None)


def judgeable(state: State, kept: Candidates | None = None) -> Iterator[Attempt]:
    """Yield the attempts that have points to be judged, by trial number."""
    if not state.single:
        return
    for trial in unfinished(state) if kept is None else kept.trials(UNJUDGED):
        attempt = trial.last
        if attempt is not None and not attempt.closed and attempt.judged < attempt.curves[0].in_time:
            yield attempt


def free_slot(state: State) -> int | None:
    """Return the lowest slot that nobody holds, None if all workers are busy."""
    candidates = Candidates(state)
    candidates.refresh()
    return _free_slot(state, candidates)


def _free_slot(state: State, candidates: Candidates) -> int | None:
    return None if candidates.busy >= state.limits.num_concurrent_workers else candidates.lowest_free_slot()


def blocked(attempt: Attempt, effect: EffectName) -> bool:
    """Whether *effect* failed and its back-off is not over."""
    failure = attempt.failures.get(effect)
    return failure is not None and failure.until is not None


def key(state: State, trial: int, attempt: int) -> str:
    """Return the key of an intent decided now: it names the last row before it."""
    return job_key(state.search_id, state.head, trial, attempt)


def _ends_at_once(state: State) -> bool:
    return state.ending is not None and state.ending.at_once


# ---------------------------------------------------------------- the rules, in their order


def _judge(state: State, candidates: Candidates) -> actions.Action | None:
    return actions.Judge() if next(judgeable(state, candidates), None) is not None else None


def _settle(state: State, candidates: Candidates) -> actions.Action | None:
    for attempt in candidates.attempts(UNCHARGED):
        if attempt.ended is not None and attempt.charge is None:
            return actions.Decide(_budget_updated(state, attempt))
    return None


def _budget_updated(state: State, attempt: Attempt) -> BudgetUpdated:
    charge = budget.charge(state, attempt)
    return BudgetUpdated(
        trial=attempt.trial,
        attempt=attempt.number,
        iterations=charge,
        late=budget.late(state, attempt),
        compute_time=budget.compute_time(attempt, state.jobs_clock),
        used=state.totals.charged + charge,
        reserved=budget.reserved(state) - budget.reservation(state),
    )


def _finish(state: State, candidates: Candidates) -> actions.Action | None:
    for trial in candidates.trials(AT_A_TURN):
        event = _outcome(state, candidates, trial)
        if event is not None:
            return actions.Decide(event)
    return None


def _outcome(state: State, candidates: Candidates, trial: Trial) -> TrialFinished | None:
    """Return *trial*'s finish if nothing more can come of it."""
    if trial.last is None:
        return _never_run(state, candidates, trial)
    if trial.last.charge is None:
        return None
    if outcome.retry_due(state, trial):
        if _ends_at_once(state):
            return outcome.finish(state, trial)
        if _no_room_ever(state, candidates):
            why = outcome.end_of(state, trial.last).why
            return TrialFinished(trial=trial.number, state="failed", why=f"no budget for another attempt after: {why}")
        return None
    return outcome.finish(state, trial)


def _never_run(state: State, candidates: Candidates, trial: Trial) -> TrialFinished | None:
    if trial.cancelled is not None:
        return TrialFinished(trial=trial.number, state="aborted", why=trial.cancel_why)
    if _ends_at_once(state):
        return TrialFinished(trial=trial.number, state="aborted", why="the search ended before it had a job")
    if _no_room_ever(state, candidates):
        return TrialFinished(trial=trial.number, state="aborted", why="no budget for a job")
    return None


def _no_room_ever(state: State, candidates: Candidates) -> bool:
    """Whether no job fits and nothing runs, not even a lost job that is back."""
    return not budget.fits(state) and not candidates.busy


def _end(state: State, candidates: Candidates) -> actions.Action | None:
    if state.finished is not None:
        return None
    event = ending.search_ending(state) or ending.search_finished(state)
    return None if event is None else actions.Decide(event)


def _stop(state: State, candidates: Candidates) -> actions.Action | None:
    """Tell what is to stop; one that a poll saw go on is told again (its `JobRunsOn` waits for a back-off)."""
    wanted = [a for a in candidates.attempts(STOPPING) if a.stop is not None and not a.stop_sent and a.live]
    unbound = _names(a for a in wanted if a.job_id is None and not blocked(a, "cancel"))
    if unbound:
        return actions.Cancel(unbound)
    bound = _names(a for a in wanted if a.job_id is not None and not blocked(a, "stop"))
    return actions.Stop(bound) if bound else None


def _lapse(state: State, candidates: Candidates) -> actions.Action | None:
    """Answer a request for a job that comes when nothing new is started any more."""
    if not state.asked or (state.ending is None and state.run_stop is None):
        return None
    return _lapsed(state, "the search is ending" if state.ending is not None else "the run was stopped")


def _lapsed(state: State, why: str) -> actions.Action:
    return actions.Decide(RequestLapsed(request=state.asked[0].request, why=why))


def _end_run(state: State, candidates: Candidates) -> actions.Action | None:
    if state.end_command_due:
        return actions.RunEndCommand()
    if state.finished is not None:
        return actions.Rest("finished")
    return actions.Rest("run stopped") if state.run_stop is not None else None


def _retry(state: State, candidates: Candidates) -> actions.Action | None:
    if _ends_at_once(state) or state.paused is not None:
        return None
    for trial in candidates.trials(AT_A_TURN):
        if outcome.retry_due(state, trial) and not _waits(trial):
            return _create(state, candidates, trial)
    return None


def _waits(trial: Trial) -> bool:
    """Whether *trial*'s retry waits for the second end of an attempt that was lost."""
    return any(a.returned for a in trial.attempts)


def _create(state: State, candidates: Candidates, trial: Trial) -> actions.Action | None:
    slot = _free_slot(state, candidates)
    if slot is None or not budget.fits(state):
        return None
    number = len(trial.attempts)
    return actions.Decide(
        JobCreated(trial=trial.number, attempt=number, key=key(state, trial.number, number), slot=slot)
    )


def _suggest(state: State, candidates: Candidates) -> actions.Action | None:
    if _ends_at_once(state):
        return None
    if state.paused is not None:
        return _lapsed(state, "the search is paused") if state.asked else None
    for trial in candidates.trials(AT_A_TURN):
        if trial.last is None:
            return _create(state, candidates, trial)
    lacking = _lacking(state, candidates)
    if state.asked:
        return _lapsed(state, lacking) if lacking is not None else _answer(state)
    return actions.Suggest() if lacking is None and state.ending is None and not state.by_hand else None


def _lacking(state: State, candidates: Candidates) -> str | None:
    """Return what a new trial lacks now, None if there is room for one."""
    if _free_slot(state, candidates) is None:
        return "no slot is free"
    waiting = sum(1 for t in candidates.trials(AT_A_TURN) if _waits(t) and outcome.retry_due(state, t))
    if not (budget.fits(state, 1 + waiting) and budget.trials_left(state)):  # a retry goes first, also one that waits
        return "no budget is left"
    named = bool(state.asked) and state.asked[0].params is not None
    return None if named or state.waiting or ending.points_left(state) else "no point is left"


def _answer(state: State) -> actions.Action:
    """Take up the oldest request of a caller: the next suggestion, or a trial of the caller's own parameters."""
    request = state.asked[0]
    if request.params is None:
        return actions.Suggest()
    return actions.Decide(
        TrialSuggested(
            trial=len(state.trials),
            params=request.params,
            source="caller",
            request=request.request,
            point=points.known(state.search.space, request.params),
        )
    )


def _carry_on(state: State, candidates: Candidates) -> actions.Action | None:
    if state.paused is not None:
        return None
    wanted = [a for a in candidates.attempts(STARTING) if a.ended is None and a.stop is None]
    drafts = _names(a for a in wanted if a.job_id is None and not blocked(a, "draft"))
    if drafts:
        return actions.Draft(drafts)
    launches = _names(
        a
        for a in wanted
        if a.job_id is not None and not a.launched and not blocked(a, "launch") and not _held(state, a)
    )
    return actions.Launch(launches) if launches else None


def _held(state: State, attempt: Attempt) -> bool:
    """Whether a caller made this job by hand and has not asked for its launch."""
    by_caller = state.by_hand and attempt.number == 0 and state.trials[attempt.trial].request is not None
    return by_caller and not attempt.released


def _poll(state: State, candidates: Candidates) -> actions.Action | None:
    watched = _names(a for a in candidates.attempts(WATCHED) if a.watched and not blocked(a, "poll"))
    if state.poll_failure is not None and state.poll_failure.until is not None:
        return actions.Wait()
    if watched:
        return actions.Poll(watched)
    if any(f.until is not None for a in candidates.attempts(FAILING) for f in a.failures.values()):
        return actions.Wait()
    if state.paused is not None:  # also by hand: its caller goes on when it is unpaused
        return actions.Wait()
    return actions.Rest("by hand") if state.by_hand else None


def _names(attempts_due: Iterable[Attempt]) -> actions.Attempts:
    return tuple((a.trial, a.number) for a in attempts_due)


_RULES: tuple[Callable[[State, Candidates], actions.Action | None], ...] = (
    _judge,
    _settle,
    _finish,
    _end,
    _stop,
    _lapse,
    _end_run,
    _retry,
    _suggest,
    _carry_on,
    _poll,
)
