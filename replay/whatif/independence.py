"""Whether a verdict is the same whatever became of the trials that nobody knows of.

Three kinds of pruners, by what they look at. Those that know their own trial only:
always. Those with rungs compare values at rungs that a trial reached by now: so it is if
the others are known that far. Percentiles go by the values of complete trials, and rise
and fall with them: so it is if it comes out alike without the unknown ones, with all of
them complete and best, and with all of them complete and worst.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from eventhpo.core.fold.state import Attempt, State
from eventhpo.core.search.spec import ComponentConfig
from eventhpo.optuna_adapter.auto_resource import is_auto
from replay.whatif.rules import ALONE, inner_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from eventhpo.optuna_adapter.state_view import StateView

_HUGE = 1e300  # better or worse than any value, and still a number where a percentile interpolates
_RUNGS = ("SuccessiveHalvingPruner", "HyperbandPruner")
_PERCENTILES = ("MedianPruner", "PercentilePruner")


class Independence:
    """Tells which verdicts of *pruner* on trials of *state* do not depend on unknown ones."""

    def __init__(self, state: State, pruner: ComponentConfig) -> None:
        self._state, self._pruner = state, pruner
        self._inner = inner_of(pruner)
        self._settled = True  # what "auto" means, before anything was unknown
        self._view: StateView | None = None

    def opened(self) -> None:
        """Note that something becomes unknown now."""
        if self._inner is not None and is_auto(self._inner) and self._state.latched is None:
            self._settled = False

    def holds(self, attempt: Attempt, position: int, known_to: Mapping[int, int]) -> bool:
        """Whether the verdict at *position* is the same whatever became of the trials in *known_to*.

        Each of these is known up to the iteration that it is given with.
        """
        if self._inner is None or self._inner.name in ALONE:
            return True
        if self._inner.name in _RUNGS:
            iteration = attempt.curves[0].iterations[position]
            return self._settled and all(iteration <= reached for reached in known_to.values())
        if self._inner.name in _PERCENTILES:
            return self._percentile_holds(attempt, position, known_to.keys())
        return False

    def _percentile_holds(self, attempt: Attempt, position: int, unknown: Collection[int]) -> bool:
        from optuna.trial import TrialState  # noqa: PLC0415  no command is to load it that does not ask it

        from eventhpo.optuna_adapter.named import build_pruner, quiet  # noqa: PLC0415
        from eventhpo.optuna_adapter.state_view import STUDY, StateView  # noqa: PLC0415

        view = self._view = self._view or StateView(self._state)
        view.refresh()
        complete = view.get_all_trials(STUDY, deepcopy=False, states=(TrialState.COMPLETE,))
        known = [t for t in complete if t.number not in unknown]
        asked = _running(self._state, attempt, position)
        direction = view.get_study_directions(STUDY)[0]
        with quiet():
            pruner = build_pruner(self._pruner)
            said = set()
            for value in (None, _HUGE, -_HUGE):
                more = [] if value is None else [_complete(asked, value)] * len(unknown)
                said.add(bool(pruner.prune(_study([*known, *more], direction), asked)))
        return len(said) == 1


def _running(state: State, attempt: Attempt, position: int) -> FrozenTrial:
    """Return the trial of *attempt* as the pruner sees it at *position*."""
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415

    from eventhpo.optuna_adapter.state_view import show_point  # noqa: PLC0415

    frozen = create_trial(state=TrialState.RUNNING)
    for k in range(position + 1):
        show_point(state, attempt, frozen, k)
    return frozen


def _complete(asked: FrozenTrial, value: float) -> FrozenTrial:
    """Return a complete trial with *value* at the step that *asked* is at."""
    from optuna.trial import create_trial  # noqa: PLC0415

    assert asked.last_step is not None
    return create_trial(value=value, intermediate_values={asked.last_step: value})


def _study(complete: list[FrozenTrial], direction: Any) -> Any:
    """Return what a percentile asks of a study: its complete trials and its direction."""
    return SimpleNamespace(get_trials=lambda deepcopy, states: complete, direction=direction)
