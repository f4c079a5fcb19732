"""What answers when a log is decided again: today's samplers and pruners, or nobody, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventhpo.asking.asker import Asker
from eventhpo.core import actions
from eventhpo.core.events import Event, JobPruned, JobsContinued, TrialSuggested
from eventhpo.core.spec import Named
from eventhpo.core.state import State
from eventhpo.errors import Usage

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class Answers:
    """Optuna's answers on one state that moves forward, where the log or the caller says whose.

    Raises:
        Usage: one was passed in, and the log names its own.
    """

    def __init__(self, state: State, sampler: BaseSampler | None = None, pruner: BasePruner | None = None) -> None:
        self._suggest = _why_not("sampler", state.search.sampler, sampler)
        self._judge = _why_not("pruner", state.search.pruner, pruner)
        self._asker = Asker(state)

    def not_again(self, action: actions.Action, event: Event) -> str | None:
        """Return why *event*, recorded where *action* was due, cannot be decided again; None if it can."""
        match action, event:
            case actions.Suggest(), TrialSuggested():
                return self._suggest
            case actions.Judge(), JobsContinued() | JobPruned():
                return self._judge
        return None

    def first(self, action: actions.Action) -> Event | None:
        """Return the decision that comes first in answer to *action*; None if it asks nobody, or who is not there."""
        match action:
            case actions.Suggest() if self._suggest is None:
                return self._asker.answer(action)[0]
            case actions.Judge() if self._judge is None:
                return self._asker.answer(action)[0]
        return None


def _why_not(role: str, recorded: object, passed: object | None) -> str | None:
    if isinstance(recorded, Named):
        if passed is not None:
            raise Usage(f"the log names its {role}, {recorded.name}: none can be passed in")
        return None
    if passed is not None:
        return None
    return f"{getattr(recorded, 'name', role)} is not Optuna's own"
