"""Samplers and pruners of a user's own classes, passed in as instances.

A log can recognise such an instance (`user_class_record`) but not build it, so the
caller passes it in. Each question goes to two copies of it. The answer of the first
copy counts; if the second one answers differently, the decision records that
(`not_again`).
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
from eventhpo.optuna_adapter.object_walk import known_by_version, name_of
from eventhpo.optuna_adapter.user_class_record import is_foreign, same, why_foreign


class UserClasses(NamedTuple):
    """The sampler and the pruner that a log cannot build; None if it is one of Optuna's own, or was not passed in."""

    sampler: BaseSampler | None = None
    pruner: BasePruner | None = None


NOTHING = UserClasses()


def pristine(sampler: object, pruner: object) -> UserClasses:
    """Copy the sampler and pruner of a user's own classes, so that later changes to the originals have no effect.

    Both must have passed `user_class_record.describe`.
    """
    return UserClasses(
        copy.deepcopy(sampler) if isinstance(sampler, BaseSampler) and is_foreign(sampler) else None,
        copy.deepcopy(pruner) if isinstance(pruner, BasePruner) and is_foreign(pruner) else None,
    )


def user_classes_of(search: Search, sampler: BaseSampler | None, pruner: BasePruner | None) -> UserClasses:
    """Return copies of *sampler* and *pruner* if they are those that *search* was recorded with.

    Raises:
        Usage: One is not, or the search uses one of Optuna's own; the message has a line for each difference.
    """
    wrong = []
    for role, named, given in (("sampler", search.sampler, sampler), ("pruner", search.pruner, pruner)):
        if given is not None:
            wrong += [f"{role}: {difference}" for difference in same(named, given)]
    if wrong:
        raise Usage("\n".join(wrong))
    return pristine(sampler, pruner)


def not_there(role: str, named: ComponentConfig) -> Usage:
    """Return the error for a question to a user's own sampler or pruner that was not passed in."""
    return Usage(
        f"the {role} of this search cannot be built from its log: {why_foreign(named)}; "
        f"and nothing that a log names is imported; run the script that made the search"
    )


def require_buildable(search: Search) -> None:
    """Check that *search* can be decided from its log alone.

    Raises:
        Usage: Its sampler or pruner is of a user's own class.
    """
    for role, named in (("sampler", search.sampler), ("pruner", search.pruner)):
        if named.is_foreign:
            raise not_there(role, named)


# ---------------------------------------------------------------- decided again


def absent(state: State, own: UserClasses, action: actions.Action) -> bool:
    """Whether *action* asks a user's own sampler or pruner that was not passed in."""
    match action:
        case actions.Suggest():
            return state.search.sampler.is_foreign and own.sampler is None
        case actions.Judge():
            return state.search.pruner.is_foreign and own.pruner is None
    return False


def not_again(state: State, own: UserClasses, action: actions.Action, event: Event) -> str | None:
    """Return why *event*, recorded when *action* was due, cannot be decided again; None if it can.

    An event of another kind than *action* asks for, or of another trial than the next
    one, gives None: it is compared as usual.
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
    return why_foreign(named) if absent(state, own, action) else None


# ---------------------------------------------------------------- what cannot be used


def sampler_mistakes(instance: BaseSampler) -> Iterator[Mistake]:
    """Yield the methods and arguments of *instance* that eventhpo would ignore: it never calls `after_trial`."""
    for kind in type(instance).__mro__:
        if not known_by_version(kind.__module__) and "after_trial" in vars(kind):
            what = "a class without after_trial, which is never called: read finished trials when asked for the next"
            yield Mistake("", f"{name_of(kind)}.after_trial", what)
    if getattr(instance, "_constraints_func", None) is not None:
        yield Mistake(
            "constraints_func", "a function", "None: constraints are told by after_trial, which is not called"
        )
