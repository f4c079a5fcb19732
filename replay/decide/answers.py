"""What answers when a log is decided again: today's samplers and pruners, or nobody, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventhpo.core.fold.events import Event
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler import actions
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.optuna_adapter.user_classes import absent, not_again, user_classes_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class Answers:
    """Optuna's answers, and those of instances that were passed in, on one state that moves forward.

    Raises:
        Usage: what was passed in is not what the log recorded, or the log names its own.
    """

    def __init__(
        self,
        state: State,
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        *,
        oracle: bool = False,
    ) -> None:
        for role, named, given in (("sampler", state.search.sampler, sampler), ("pruner", state.search.pruner, pruner)):
            if given is not None and not named.is_foreign:
                raise Usage(
                    f"search {state.search.name}: the log names its {role}, {named.name}, which is Optuna's own; "
                    f"leave out the {role} that is passed in"
                )
        self._state = state
        self._own = user_classes_of(state.search, sampler, pruner)
        self._asker = OptunaAdapter(state, self._own, oracle=oracle)

    def tell(self, event: Event) -> None:
        """Take in an event that was folded into the state."""
        self._asker.tell(event)

    def not_again(self, action: actions.Action, event: Event) -> str | None:
        """Return why *event*, recorded where *action* was due, cannot be decided again; None if it can."""
        return not_again(self._state, self._own, action, event)

    def first(self, action: actions.Action) -> Event | None:
        """Return the decision that comes first in answer to *action*; None if it asks nobody, or who is not there."""
        match action:
            case actions.Suggest() | actions.Judge() if not absent(self._state, self._own, action):
                return self._asker.answer(action)[0]
        return None
