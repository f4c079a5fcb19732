"""What a new search imports from the log of an earlier one: its finished trials, as if they had been told.

A completed or pruned trial is imported if its point lies in the new space and names no other
parameter. Then every sampler can learn from it: a trial that lacks a parameter would narrow what
samplers of Optuna's can model together, and a value that rests on another parameter misleads.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from eventhpo.core.fold.curve import extend_meaning
from eventhpo.core.fold.event_parts import EarlierLog, ImportedTrial, NotImported
from eventhpo.core.fold.events import TrialsImported
from eventhpo.core.fold.state import State, Trial
from eventhpo.core.search import points
from eventhpo.core.search.ranges import described, full_name
from eventhpo.core.search.space import job_names, parameter_sets, single_ranges
from eventhpo.core.search.spec import Num, Objective, Scalar, Search, to_num
from eventhpo.core.validation.mistakes import SHOWN
from eventhpo.errors import Usage

# What makes two imported trials one: the id of the search (or the name of a study that was no log), the number there,
# what it tried and what it was told. Copies of one log that went on apart have the id and the numbers in common.
TrialName: TypeAlias = tuple[str, int, tuple[tuple[str, Scalar], ...], tuple[Num, ...] | None]

MOST_TRIALS = 1_000  # in one event, so that no row of a log grows without end
MOST_POINTS = 100_000  # of the curves in one event: 3 MB
MOST_REASONS = 20  # that are counted apart; the names and values in them are a stranger's


def imports_from(earlier: State, file: str, search: Search, known: set[TrialName]) -> list[TrialsImported]:
    """Return the events that import the finished trials of *earlier* into *search*; at least one.

    The trials that *earlier* had imported itself come before its own, as those of the log or study
    that they ran in.

    Args:
        earlier: The state of the earlier search or study, as of the end of its log.
        file: The name of its log, without a path.
        search: The new search.
        known: The trials that were imported already, from other logs. Those that this call
            imports are added.

    Raises:
        Usage: the two searches have different objectives.
    """
    _require_same_objectives(earlier, file, search)
    ran_in: defaultdict[int | None, list[Trial]] = defaultdict(list)  # by the seq of the event that imported them
    for trial in earlier.trials:
        ran_in[None if trial.imported is None else trial.seq].append(trial)
    events: list[TrialsImported] = []
    for seq, source in earlier.imports.items():
        events += _imported(earlier, ran_in[seq], source.study, source.log, search, known)
    log = EarlierLog(file=file, search_id=earlier.search_id, seq=earlier.head.seq, hash=earlier.head.hash)
    return events + _imported(earlier, ran_in[None], earlier.search.name, log, search, known)


def _require_same_objectives(earlier: State, file: str, search: Search) -> None:
    had, wanted = earlier.search.objectives, search.objectives
    same = had == wanted if earlier.study is None else _directions(had) == _directions(wanted)
    if not same:
        raise Usage(
            f"{file} has the objective {_described(had)}, the new search has {_described(wanted)}: the values of one "
            "say nothing about the other; name a log with the same objective, or leave out --from"
        )


def _directions(objectives: Sequence[Objective]) -> list[bool]:
    return [objective.maximize for objective in objectives]


def _described(objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{o.title}/{o.series} ({o.sign})" for o in objectives)


def _imported(
    earlier: State,
    trials: Sequence[Trial],
    study: str,
    log: EarlierLog | None,
    search: Search,
    known: set[TrialName],
) -> list[TrialsImported]:
    """Return the events for *trials*, which all ran in one log or study."""
    fitting: list[ImportedTrial] = []
    reasons: Counter[str] = Counter()
    names = set(job_names(search.space))
    for trial in trials:
        told = _told(earlier, trial, search)
        if isinstance(told, str):
            reasons[told] += 1
            continue
        name = (study if log is None else log.search_id, told.number, tuple(told.params.items()), told.values)
        why = "imported already" if name in known else _misfit(told, search, names)
        if why:
            reasons[why] += 1
        else:
            known.add(name)
            fitting.append(told)
    batches = list(_batches(fitting)) or [()]
    events = [TrialsImported(study=study, trials=batch, log=log) for batch in batches]
    events[0] = msgspec.structs.replace(events[0], left_out=_counted(reasons))
    return events


def _counted(reasons: Counter[str]) -> tuple[NotImported, ...]:
    """Return the most frequent reasons, and the rest as one."""
    counted = [NotImported(count, why) for why, count in reasons.most_common()]
    rest = sum(left.trials for left in counted[MOST_REASONS:])
    return (*counted[:MOST_REASONS], *([NotImported(rest, "for other reasons")] if rest else []))


def _batches(trials: Sequence[ImportedTrial]) -> Iterator[tuple[ImportedTrial, ...]]:
    batch: list[ImportedTrial] = []
    count = 0
    for trial in trials:
        if batch and (len(batch) == MOST_TRIALS or count + len(trial.iterations) > MOST_POINTS):
            yield tuple(batch)
            batch, count = [], 0
        batch.append(trial)
        count += len(trial.iterations)
    if batch:
        yield tuple(batch)


# ---------------------------------------------------------------- one trial


def _told(earlier: State, trial: Trial, search: Search) -> ImportedTrial | str:
    """Return *trial* as the sampler of the earlier search saw it in the end; or why there is nothing to see."""
    finished = trial.finished
    if finished is None:
        return "not finished"
    if finished.state in ("failed", "aborted"):
        return finished.state
    values = finished.values if finished.state == "completed" else None
    if finished.state == "completed" and len(values or ()) != len(search.objectives):
        return "without a value"
    if trial.imported is not None:
        params, number = trial.imported.params, trial.imported.number
        curve = list(zip(trial.imported.iterations, trial.imported.reported, strict=False))
    else:
        params, number, curve = trial.params, trial.number, _curve(earlier, trial)
    given = {full_name(name): value for name, value in sorted(params.items())}
    return ImportedTrial(
        number=number,
        params=given,
        point=_point(search, given),
        state="completed" if finished.state == "completed" else "pruned",
        values=values,
        iterations=tuple(iteration for iteration, _ in curve),
        reported=tuple(value for _, value in curve),
    )


def _point(search: Search, params: dict[str, Scalar]) -> dict[str, Scalar]:
    try:
        return points.known(search.space, params)
    except OverflowError:  # a whole number that no float holds
        return {}


def _curve(earlier: State, trial: Trial) -> list[tuple[int, Num]]:
    """Return the points that the sampler and the pruner saw, by iteration; none where there are several objectives."""
    if not earlier.single:
        return []
    if earlier.study is not None:
        return [(step, to_num(value)) for step, value in sorted(earlier.study.trials[trial.number].points.items())]
    attempt = trial.last
    if attempt is None:
        return []
    seen: list[tuple[int, Num]] = []
    best: float | None = None
    curve = attempt.curves[0]
    for iteration, value in zip(curve.iterations[: attempt.judged], curve.values, strict=False):
        best = extend_meaning(earlier.search.objectives[0], best, value)
        seen.append((iteration, to_num(best)))
    return seen


def _misfit(trial: ImportedTrial, search: Search, names: set[str]) -> str:
    """Return why *trial* does not fit the new space, as what follows a number of trials; empty if it does."""
    for p in single_ranges(search.space):
        if p.name not in trial.params:
            return f"without {p.name}"
        if p.name not in trial.point:
            return f"with a {p.name} that is not {described(p)}"
    for parameter_set in parameter_sets(search.space):
        if parameter_set.name not in trial.point:
            return f"with the parameters of no set of {parameter_set.name}"
    if foreign := sorted(trial.params.keys() - names):
        return f"with {foreign[0][:SHOWN]}, which is not in the space"
    return ""
