"""The finished trials of an Optuna study, as one input of a new search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.event_parts import ImportedTrial
from eventhpo.core.fold.events import TrialsImported
from eventhpo.core.fold.state import State
from eventhpo.core.search import points
from eventhpo.core.search.ranges import full_name
from eventhpo.core.search.space import is_whole, job_names, parameter_sets, single_ranges
from eventhpo.core.search.spec import Scalar, Search, to_num
from eventhpo.errors import Usage
from eventhpo.views import formatting

_ARGUMENT = "continue_previous_study"
_NAMED = 20  # names that get a line each


def imported(study: Any, search: Search) -> TrialsImported:
    """Return the completed and pruned trials of *study*, of any storage, in its order.

    Raises:
        Usage: it is no study, or its directions are not those of the search.
    """
    try:
        name, trials, directions = study.study_name, study.get_trials(deepcopy=False), study.directions
    except AttributeError as error:
        raise Usage(f"continue_previous_study is {study!r}; expected an optuna.Study") from error
    search_directions = ["MAXIMIZE" if o.maximize else "MINIMIZE" for o in search.objectives]
    study_directions = [d.name for d in directions]
    if search_directions != study_directions:
        raise Usage(
            f"continue_previous_study has the directions {study_directions}, but the objective has "
            f"{search_directions}; give a study with the same directions"
        )
    done = (t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED))
    return TrialsImported(study=str(name), trials=tuple(_trial(t, search) for t in done))


def describe_import(event: TrialsImported, search: Search) -> tuple[str, list[str]]:
    """Return how many trials a new search imports, and a line for each kind of value that no sampler will see.

    A sampler sees only what lies in the space: not a value outside of it, and not a name
    that the space lacks.
    """
    whole = sum(is_whole(search.space, trial.point) for trial in event.trials)
    count = formatting.plural(len(event.trials), "completed or pruned trial")
    head = f"{_ARGUMENT}: {count} of {formatting.line(event.study)}, {whole} with a value in the space for each name"
    lost = (*_lacking(event, search), *_outside_sets(event, search), *_foreign(event, search))
    return head, [f"{_ARGUMENT}: {text}" for text in lost]


def _lacking(event: TrialsImported, search: Search) -> Iterator[str]:
    for p in single_ranges(search.space):
        without = sum(p.name not in trial.params for trial in event.trials)
        outside = [
            trial.params[p.name] for trial in event.trials if p.name in trial.params and p.name not in trial.point
        ]
        if without:
            yield f"{without} of {len(event.trials)} trials have no {p.name}"
        if outside:
            have = "trial has" if len(outside) == 1 else "trials have"
            yield f"{len(outside)} {have} a {p.name} that is not in the space, as {formatting.scalar(outside[0])}"


def _outside_sets(event: TrialsImported, search: Search) -> Iterator[str]:
    for p in parameter_sets(search.space):
        outside = sum(p.name not in trial.point for trial in event.trials)
        if outside:
            yield f"{formatting.plural(outside, 'trial')} of no set of {p.name}"


def _foreign(event: TrialsImported, search: Search) -> Iterator[str]:
    names = set(job_names(search.space))
    counts = Counter(name for trial in event.trials for name in trial.params if name not in names)
    for name, count in sorted(counts.items())[:_NAMED]:
        yield f"{formatting.line(name)}, of {formatting.plural(count, 'trial')}, is not in the space"
    if len(counts) > _NAMED:
        yield f"{len(counts) - _NAMED} more names are not in the space"


def parted(state: State, study: Any) -> list[str]:
    """Return where *study* is not the one whose trials are recorded, both sides; a study may have grown since.

    Raises:
        Usage: as `imported`.
    """
    now = imported(study, state.search)
    recorded = tuple(t.imported for t in state.trials if t.imported is not None)
    if state.imported_study == now.study or (state.imported_study is not None and recorded == now.trials):
        return []
    old = "nothing" if state.imported_study is None else f"{state.imported_study} ({len(recorded)} trials)"
    return [
        f"continue_previous_study: recorded {old}, now {now.study} ({len(now.trials)} trials): a study is put into a "
        "new log only"
    ]


def _trial(trial: FrozenTrial, search: Search) -> ImportedTrial:
    params = {full_name(name): _scalar(value) for name, value in sorted(trial.params.items())}
    steps = sorted(trial.intermediate_values)
    completed = trial.state == TrialState.COMPLETE
    return ImportedTrial(
        number=trial.number,
        params=params,
        point=points.known(search.space, params),
        state="completed" if completed else "pruned",
        values=tuple(to_num(float(v)) for v in trial.values) if completed and trial.values is not None else None,
        iterations=tuple(int(s) for s in steps),
        reported=tuple(to_num(float(trial.intermediate_values[s])) for s in steps),
    )


def _scalar(value: Any) -> Scalar:
    plain = value.item() if hasattr(value, "item") else value
    return plain if plain is None or isinstance(plain, bool | int | float | str) else str(plain)
