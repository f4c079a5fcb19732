"""Whether a verdict is the same no matter how the unknown trials ended.

It depends on what the pruner compares:

- A pruner that looks at the trial's own curve only: always the same.
- A pruner with rungs compares values at rungs that trials have reached by then: the same if every unknown trial is
  known up to that iteration.
- A percentile pruner compares with complete trials: the same if the verdict is equal in the three extreme cases:
  without the unknown trials, with all of them complete and best, and with all of them complete and worst. A percentile
  rises and falls with the values, so every other case lies between these.
- Any other pruner: not known.
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
    """Tells which verdicts of *pruner* on trials of *state* do not depend on unknown trials."""

    def __init__(self, state: State, pruner: ComponentConfig) -> None:
        self._state, self._pruner = state, pruner
        self._inner = inner_of(pruner)
        self._auto_is_known = True  # False if "auto" took its value from a trial that may be unknown
        self._view: StateView | None = None

    def note_unknown(self) -> None:
        """Note that a trial becomes unknown now; an "auto" resource that has no value yet can then not be known."""
        if self._inner is not None and is_auto(self._inner) and self._state.latched is None:
            self._auto_is_known = False

    def holds(self, attempt: Attempt, position: int, known_to: Mapping[int, int]) -> bool:
        """Whether the verdict at *position* is the same no matter how the trials in *known_to* ended.

        *known_to* gives for each unknown trial the iteration up to which it is known.
        """
        if self._inner is None or self._inner.name in ALONE:
            return True
        if self._inner.name in _RUNGS:
            iteration = attempt.curves[0].iterations[position]
            return self._auto_is_known and all(iteration <= reached for reached in known_to.values())
        if self._inner.name in _PERCENTILES:
            return self._percentile_holds(attempt, position, known_to.keys())
        return False

    def _percentile_holds(self, attempt: Attempt, position: int, unknown: Collection[int]) -> bool:
        from optuna.trial import TrialState  # noqa: PLC0415  only a command that asks it loads Optuna

        from eventhpo.optuna_adapter.component_factory import build_pruner, quiet  # noqa: PLC0415
        from eventhpo.optuna_adapter.state_view import STUDY, StateView  # noqa: PLC0415

        view = self._view = self._view or StateView(self._state)
        view.refresh()
        complete = view.get_all_trials(STUDY, deepcopy=False, states=(TrialState.COMPLETE,))
        known = [t for t in complete if t.number not in unknown]
        asked = _running(self._state, attempt, position)
        direction = view.get_study_directions(STUDY)[0]
        with quiet():
            pruner = build_pruner(self._pruner)
            verdicts = set()
            for value in (None, _HUGE, -_HUGE):
                more = [] if value is None else [_complete(asked, value)] * len(unknown)
                verdicts.add(bool(pruner.prune(_study([*known, *more], direction), asked)))
        return len(verdicts) == 1


def _running(state: State, attempt: Attempt, position: int) -> FrozenTrial:
    """Return the trial of *attempt* as the pruner sees it at *position*."""
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415

    from eventhpo.optuna_adapter.state_view import show_point  # noqa: PLC0415

    frozen = create_trial(state=TrialState.RUNNING)
    for k in range(position + 1):
        show_point(state, attempt, frozen, k)
    return frozen


def _complete(asked: FrozenTrial, value: float) -> FrozenTrial:
    """Return a complete trial that has *value* at the last step of *asked*."""
    from optuna.trial import create_trial  # noqa: PLC0415

    assert asked.last_step is not None
    return create_trial(value=value, intermediate_values={asked.last_step: value})


def _study(complete: list[FrozenTrial], direction: Any) -> Any:
    """Return the part of a study that a percentile pruner uses: its complete trials and its direction."""
    return SimpleNamespace(get_trials=lambda deepcopy, states: complete, direction=direction)
