"""Optuna's answers to the two questions that the scheduler has."""

from __future__ import annotations

from collections.abc import Sequence

from eventhpo.core.fold.events import Event
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.actions import Judge, Suggest
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.optuna_adapter.judge import judge
from eventhpo.optuna_adapter.sorted_pruners import SortedPruners
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.optuna_adapter.suggest import suggest
from eventhpo.optuna_adapter.user_classes import NOTHING, UserClasses


class OptunaAdapter:
    """Answers questions about one state; it may be asked again after the state has moved on.

    An answer depends on the state alone, and with a user's own class on that instance
    too. The instance is never changed. With *oracle*, Optuna's own pruners are asked where
    a rule on sorted columns would give the same verdict sooner.

    Raises:
        Usage: The question needs a user's own sampler or pruner that is not in *own*.
    """

    def __init__(self, state: State, own: UserClasses = NOTHING, *, oracle: bool = False) -> None:
        self._state = state
        self._own = own
        self._view = StateView(state)
        self._kept = None if oracle else SortedPruners(state.search.pruner, state.search.name, self._view)

    def tell(self, event: Event) -> None:
        """Take in an event that was folded into the state: an adapter that is told of each answers sooner."""
        self._view.tell(event)

    def answer(self, question: Suggest | Judge) -> Sequence[Event]:
        """Return the decisions that answer *question*, in their order."""
        with quiet():
            match question:
                case Suggest():
                    return (suggest(self._state, self._view, self._own.sampler),)
                case Judge():
                    return judge(self._state, self._view, self._own.pruner, self._kept)


def decided(state: State, question: Suggest | Judge) -> Sequence[Event]:
    """Return the answer to one question, with a view made for it alone."""
    return OptunaAdapter(state).answer(question)
