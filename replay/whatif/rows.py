"""A counterfactual search compared with its record, as one row of cells. Each cell is known, or says why it is not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.event_parts import TrialState
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import Num, to_num
from replay.whatif.answer import Best, Correlation, Regret, Row, RuleKind, Searched, Spread, Totals, TrialRow
from replay.whatif.correlation import at_cuts
from replay.whatif.cost import charge
from replay.whatif.counterfactual import Counterfactual
from replay.whatif.rules import text_of


class Record:
    """A recorded search with the numbers that rows compare: what was charged, and the completed trials, best first."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.tried = [t for t in state.trials if t.attempts]
        self.completed = rank.top(state, only_completed=True) if state.single else []

    @property
    def winner(self) -> Trial | None:
        """The best completed trial."""
        return next(iter(self.completed), None)

    def value(self, trial: Trial) -> float | None:
        """Return the value by which *trial* is ranked, None with several objectives."""
        return rank.values(self.state, trial)[0] if self.state.single else None

    def iterations(self) -> int:
        """Return the iterations that all jobs are charged; running jobs count up to now."""
        return sum(charge(self.state, a) for t in self.tried for a in t.attempts)

    def compute_time(self) -> int:
        """Return how long all jobs ran, in microseconds."""
        return sum(budget.compute_time(a, self.state.jobs_clock) for t in self.tried for a in t.attempts)


# ---------------------------------------------------------------- trial by trial


def trial_rows(record: Record, counterfactual: Counterfactual) -> tuple[TrialRow, ...]:
    """Return each trial of *record* as it is in *counterfactual*."""
    return tuple(_trial_row(record, counterfactual, trial) for trial in record.tried)


def _trial_row(record: Record, counterfactual: Counterfactual, trial: Trial) -> TrialRow:
    unknown, cut = counterfactual.unknown.get(trial.number), counterfactual.cuts.get(trial.number)
    gone_on = unknown is not None and unknown.gone_on
    iterations, saved, time = (None, None, None) if gone_on else _saved(record.state, counterfactual.state, trial)
    return TrialRow(
        trial=trial.number,
        recorded="running" if trial.finished is None else trial.finished.state,
        known=unknown is None,
        why="" if unknown is None else unknown.why,
        started=trial.number < len(counterfactual.state.trials),
        outcome=None if gone_on else _outcome(counterfactual, trial.number),
        pruned=None if gone_on else cut is not None,
        iteration=None if cut is None else cut.iteration,
        iterations=iterations,
        iterations_saved=saved,
        compute_time_saved=time,
    )


def _outcome(counterfactual: Counterfactual, number: int) -> TrialState | Literal["running"] | None:
    if number >= len(counterfactual.state.trials):
        return None
    finished = counterfactual.state.trials[number].finished
    if finished is not None:
        return finished.state
    return "pruned" if number in counterfactual.cuts else "running"


def _saved(record: State, counterfactual: State, trial: Trial) -> tuple[int, int, int]:
    """Return what *trial* is charged in *counterfactual*, and the iterations and microseconds that are saved."""
    attempts = counterfactual.trials[trial.number].attempts if trial.number < len(counterfactual.trials) else []
    iterations = saved = time = 0
    for attempt in trial.attempts:
        full = charge(record, attempt)
        here = charge(counterfactual, attempts[attempt.number]) if attempt.number < len(attempts) else 0
        ran = budget.compute_time(attempt, record.jobs_clock)
        iterations += here
        saved += full - here
        # A retry that does not take place saves all its time. Otherwise a share; late iterations took time too.
        share = full + attempt.late
        time += ran if attempt.number >= len(attempts) else ran * (full - here) // share if share else 0
    return iterations, saved, time


def totals(rows: Iterable[TrialRow]) -> Totals:
    """Return the sums over *rows*; a trial that goes on after its recorded curve is counted, and adds nothing else."""
    trial_rows = list(rows)
    return Totals(
        trials=sum(r.started for r in trial_rows),
        pruned=sum(r.pruned is True for r in trial_rows),
        iterations=sum(r.iterations or 0 for r in trial_rows),
        iterations_saved=sum(r.iterations_saved or 0 for r in trial_rows),
        compute_time_saved=sum(r.compute_time_saved or 0 for r in trial_rows),
    )


# ---------------------------------------------------------------- cells


def best(record: Record, rows: Sequence[TrialRow]) -> Best:
    """Return the best of the trials that are known to complete."""
    by_number = {row.trial: row for row in rows}
    completing = [t for t in record.completed if _completes(by_number[t.number])]
    best_trial = next(iter(completing), None)
    unknown = [r.trial for r in rows if not r.known]
    return Best(
        known=not unknown,
        why=f"{_trials(unknown)} may be better" if unknown else "",
        trial=None if best_trial is None else best_trial.number,
        value=None if best_trial is None else number(record.value(best_trial)),
    )


def _completes(row: TrialRow) -> bool:
    return row.known and row.outcome == "completed"


def number(value: float | None) -> Num | None:
    """Return *value* as JSON can carry it."""
    return None if value is None else to_num(value)


def regret(record: Record, rows: Sequence[TrialRow], reached: Best) -> Regret:
    """Return whether the record's winner is pruned or not started, and how much worse *reached*, the best, is then."""
    winner = record.winner
    if winner is None:
        return _regret(None, None, None, _no_winner(record))
    row = next(r for r in rows if r.trial == winner.number)
    if not row.known:
        return _regret(None, None, None, f"trial {winner.number} {row.why}")
    if _completes(row):
        return _regret(False, None, 0.0, "")
    if not reached.known:
        return _regret(True, row.iteration, None, reached.why)
    if reached.trial is None:
        return _regret(True, row.iteration, None, "no trial would have completed")
    return _regret(True, row.iteration, loss(record, winner, record.state.trials[reached.trial]), "")


def _no_winner(record: Record) -> str:
    if not record.state.single:
        return "with several objectives no trial is the winner"
    return "no trial of the record completed"


def _regret(killed: bool | None, iteration: int | None, cost: float | None, why: str) -> Regret:
    return Regret(killed=killed, iteration=iteration, cost=number(cost), why=why)


def loss(record: Record, winner: Trial, other: Trial) -> float:
    """Return how much worse *other* is than *winner*: never below 0, NaN if one of them has no number."""
    a, b = record.value(winner), record.value(other)
    assert a is not None
    assert b is not None
    return 0.0 if a == b else abs(a - b) if not math.isnan(a - b) else math.nan


def searched(record: Record, counterfactual: Counterfactual, rows: Sequence[TrialRow]) -> Searched:
    """Return how far the search itself would have been the same."""
    end = len(record.state.trials) if counterfactual.first_unmade is None else counterfactual.first_unmade.trial
    same = [row for row in rows if row.trial < end]
    sums = totals(row for row in same if row.known)
    unknown = [row.trial for row in same if not row.known]
    room = None
    if counterfactual.first_unmade is not None:
        why = counterfactual.first_unmade.why
    elif unknown:
        why = f"the end of {_trials(unknown)} is not known"
    else:
        why, room = _what_is_saved(record, sums)
    return Searched(
        known=not why,
        trials=len(same),
        seq=None if counterfactual.first_unmade is None else counterfactual.first_unmade.seq,
        why=why,
        totals=sums,
        room=room,
    )


def _what_is_saved(record: Record, sums: Totals) -> tuple[str, int | None]:
    """Return in words what the saved iterations would have paid for, and for how many jobs (None: not known)."""
    end = record.state.ending
    if not sums.iterations_saved or (end is not None and end.reason not in (*_OF_TIME, "budget")):
        return "", 0
    limit, most = budget.limit(record.state), record.state.search.max_iteration_per_job
    room = None
    if limit is not None and most is not None:
        room = max(0, limit - (record.iterations() - sums.iterations_saved)) // most
        if (trials := budget.most_trials(record.state)) is not None:
            room = min(room, max(0, trials.number - len(record.state.trials) + record.state.imported))
    if end is None or end.reason in _OF_TIME:
        return "what is saved would have gone into more jobs", room
    return (f"what is saved would have paid for more ({room})" if room else ""), room or 0


_OF_TIME = ("stop", "wall_time_limit", "compute_time_limit")


def _trials(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"trial {listed}" if len(numbers) == 1 else f"trials {listed}{more}"


# ---------------------------------------------------------------- rows


def recorded_row(record: Record, kind: RuleKind = "recorded", rule: str | None = None) -> Row:
    """Return the record itself as a row; *kind* and *rule* name a rule that changes nothing."""
    prunes = {t.number: t.last for t in record.tried if t.last is not None and t.last.fate == "pruned"}
    rows = tuple(_as_recorded(record, trial, prunes.get(trial.number)) for trial in record.tried)
    cuts = [row.iteration for row in rows if row.iteration is not None]
    reached = best(record, rows)
    return Row(
        kind=kind,
        rule=text_of(record.state.search.pruner) if rule is None else rule,
        pruner=record.state.search.pruner,
        known=True,
        why="",
        totals=totals(rows),
        unknown=Totals(),
        gone_on=0,
        best=reached,
        regret=regret(record, rows, reached),
        correlation=at_cuts(record.state, cuts),
        search=Searched(known=True, trials=len(rows), seq=None, why="", totals=totals(rows), room=None),
        orders=None,
        trials=rows,
    )


def unknown_row(record: Record, kind: RuleKind, rule: str, why: str) -> Row:
    """Return a row in which nothing is known, because of *why*."""
    rows = tuple(msgspec.structs.replace(row, **_NOTHING, why=why) for row in recorded_row(record).trials)
    return Row(
        kind=kind,
        rule=rule,
        pruner=record.state.search.pruner,
        known=False,
        why=why,
        totals=Totals(),
        unknown=Totals(trials=len(rows)),
        gone_on=0,
        best=Best(known=False, why=why, trial=None, value=None),
        regret=_regret(None, None, None, why),
        correlation=Correlation(value=None, cuts=0, why=why, at=()),
        search=Searched(known=False, trials=0, seq=None, why=why, totals=Totals(), room=None),
        orders=None,
        trials=rows,
    )


_NOTHING: dict[str, Any] = {
    "known": False,
    "outcome": None,
    "pruned": None,
    "iteration": None,
    "iterations": None,
    "iterations_saved": None,
    "compute_time_saved": None,
}


def _as_recorded(record: Record, trial: Trial, cut: Attempt | None) -> TrialRow:
    return TrialRow(
        trial=trial.number,
        recorded="running" if trial.finished is None else trial.finished.state,
        known=True,
        why="",
        started=True,
        outcome="running" if trial.finished is None else trial.finished.state,
        pruned=cut is not None,
        iteration=None if cut is None or not cut.judged else cut.curves[0].iterations[cut.judged - 1],
        iterations=sum(charge(record.state, a) for a in trial.attempts),
        iterations_saved=0,
        compute_time_saved=0,
    )


def pruner_row(record: Record, counterfactual: Counterfactual, orders: Spread | None) -> Row:
    """Return the row of *counterfactual*, a search with another pruner."""
    return compared("pruner", text_of(counterfactual.pruner), record, counterfactual, orders)


def compared(
    kind: RuleKind,
    rule: str,
    record: Record,
    counterfactual: Counterfactual,
    orders: Spread | None = None,
    search: Searched | None = None,
) -> Row:
    """Return the row that compares *counterfactual* with *record*."""
    rows = trial_rows(record, counterfactual)
    known, unknown = [r for r in rows if r.known], [r for r in rows if not r.known]
    reached = best(record, rows)
    gone_on = sum(r.pruned is None for r in unknown)
    return Row(
        kind=kind,
        rule=rule,
        pruner=counterfactual.pruner,
        known=not unknown,
        why=_why(unknown, gone_on),
        totals=totals(known),
        unknown=totals(unknown),
        gone_on=gone_on,
        best=reached,
        regret=regret(record, rows, reached),
        correlation=at_cuts(record.state, [r.iteration for r in known if r.iteration is not None]),
        search=search or searched(record, counterfactual, rows),
        orders=orders,
        trials=rows,
    )


def _why(unknown: Sequence[TrialRow], gone_on: int) -> str:
    """Return in words which trials are unknown and why."""
    if not unknown:
        return ""
    on = [r.trial for r in unknown if r.pruned is None]
    parts = []
    if on:
        parts.append(f"{_trials(on)} would have gone on where the record stopped {'it' if gone_on == 1 else 'them'}")
    if others := [r.trial for r in unknown if r.pruned is not None]:
        parts.append(f"{_trials(others)} {'is' if len(others) == 1 else 'are'} compared with what is not known")
    return "; ".join(parts)
