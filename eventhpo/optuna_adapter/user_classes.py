"""Instances of a user's own classes beside a log: who is there to be asked, and what cannot be decided again.

A log recognises such an instance (`foreign`) and builds none, so whoever decides is
handed it. Each question is put to two copies; the first one's answer counts, and a
decision says so if the second one's is another (`not_again`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from eventhpo.core.fold.events import Event, JobPruned, JobsContinued, TrialSuggested
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.core.search.spec import ComponentConfig, Search
from eventhpo.core.validation.mistakes import Mistake
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.object_digest import known_by_version, name_of
from eventhpo.optuna_adapter.user_class_record import is_foreign, same


class UserClasses(NamedTuple):
    """The sampler and the pruner that no log can build; None where Optuna's own is used, or nobody gave it."""

    sampler: BaseSampler | None = None
    pruner: BasePruner | None = None


NOTHING = UserClasses()


def pristine(sampler: object, pruner: object) -> UserClasses:
    """Return copies of those that are instances of a user's own classes: what becomes of the originals is nothing here.

    Both must be describable (`foreign.describe`).
    """
    return UserClasses(
        copy.deepcopy(sampler) if isinstance(sampler, BaseSampler) and is_foreign(sampler) else None,
        copy.deepcopy(pruner) if isinstance(pruner, BasePruner) and is_foreign(pruner) else None,
    )


def user_classes_of(search: Search, sampler: BaseSampler | None, pruner: BasePruner | None) -> UserClasses:
    """Return *sampler* and *pruner*, which are to decide for *search*, if they are the recorded ones.

    Raises:
        Usage: one is not, or the search uses one of Optuna's own; a line for each difference.
    """
    wrong = []
    for role, named, given in (("sampler", search.sampler, sampler), ("pruner", search.pruner, pruner)):
        if given is not None:
            wrong += [f"{role}: {difference}" for difference in same(named, given)]
    if wrong:
        raise Usage("\n".join(wrong))
    return pristine(sampler, pruner)


def not_there(role: str, named: ComponentConfig) -> Usage:
    """Return the error of a question that only an instance could answer which nobody passed in."""
    return Usage(
        f"the {role} of this search is an instance of {named.name}, which is not Optuna's own: no log can build it, "
        f"and nothing that a log names is imported; run the script that made the search"
    )


def require_buildable(search: Search) -> None:
    """Return if *search* can be decided from its log alone.

    Raises:
        Usage: its sampler or pruner is of a class that is not Optuna's own.
    """
    for role, named in (("sampler", search.sampler), ("pruner", search.pruner)):
        if named.is_foreign:
            raise not_there(role, named)


# ---------------------------------------------------------------- decided again


def absent(state: State, own: UserClasses, action: actions.Action) -> bool:
    """Whether *action* asks somebody who is not there."""
    match action:
        case actions.Suggest():
            return state.search.sampler.is_foreign and own.sampler is None
        case actions.Judge():
            return state.search.pruner.is_foreign and own.pruner is None
    return False


def not_again(state: State, own: UserClasses, action: actions.Action, event: Event) -> str | None:
    """Return why *event*, recorded where *action* was due, cannot be decided again; None if it can.

    What needs nobody's answer is still looked at: that it is a decision of the kind that
    was due, and of the next trial.
    """
    match action, event:
        case actions.Suggest(), TrialSuggested(trial=trial) if trial == len(state.trials):
            named = state.search.sampler
        case actions.Judge(), JobsContinued() | JobPruned():
            named = state.search.pruner
        case _:
            return None
    if event.not_again is not msgspec.UNSET and named.is_foreign:
        return f"{named.name}: {event.not_again}"
    return f"{named.name} is not Optuna's own" if absent(state, own, action) else None


# ---------------------------------------------------------------- what cannot be used


def sampler_mistakes(instance: BaseSampler) -> Iterator[Mistake]:
    """Yield what would go unnoticed: here `after_trial` is called for no sampler."""
    for kind in type(instance).__mro__:
        if not known_by_version(kind.__module__) and "after_trial" in vars(kind):
            what = "a class without after_trial, which is never called: read finished trials when asked for the next"
            yield Mistake("", f"{name_of(kind)}.after_trial", what)
    if getattr(instance, "_constraints_func", None) is not None:
        yield Mistake(
            "constraints_func", "a function", "None: constraints are told by after_trial, which is not called"
        )
