"""Optuna's answers to the two questions that the scheduler has."""

from __future__ import annotations

from collections.abc import Sequence

from eventhpo.core.fold.events import Event
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.actions import Judge, Suggest
from eventhpo.optuna_adapter.component_factory import quiet
from eventhpo.optuna_adapter.judge import judge
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.optuna_adapter.suggest import suggest
from eventhpo.optuna_adapter.user_classes import NOTHING, UserClasses


class OptunaAdapter:
    """Answers from a view over one state, kept while the state moves forward.

    An answer is a function of the state alone: a view made anew gives the same. Of a
    user's own class it is a function of the instance too, which stays as it is.

    Raises:
        Usage: when it is asked what only an instance can answer that is not in *own*.
    """

    def __init__(self, state: State, own: UserClasses = NOTHING) -> None:
        self._state = state
        self._own = own
        self._view = StateView(state)

    def answer(self, question: Suggest | Judge) -> Sequence[Event]:
        """Return the decisions that answer *question*, in their order."""
        with quiet():
            match question:
                case Suggest():
                    return (suggest(self._state, self._view, self._own.sampler),)
                case Judge():
                    return judge(self._state, self._view, self._own.pruner)


def decided(state: State, question: Suggest | Judge) -> Sequence[Event]:
    """Return the answer from a view made for this one question."""
    return OptunaAdapter(state).answer(question)
