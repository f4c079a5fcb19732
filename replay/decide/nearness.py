"""How near two candidates of a sampler were: what it thought of the one that is recorded and of the one decided.

TPE draws candidates and takes the one of which its acquisition function says most, the
logarithm of how much likelier a point is among the better trials than among the others.
Where two say nearly the same, a last bit chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from eventhpo.core.fold.events import TrialSuggested
from eventhpo.core.fold.state import State
from eventhpo.core.search.space import asked
from eventhpo.core.search.spec import Num, Scalar, to_num

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


class Near(msgspec.Struct, frozen=True):
    """What TPE's acquisition function says here of both points: the larger is taken."""

    recorded: Num
    decided: Num


_Point = Mapping[str, Scalar]


def near(state: State, recorded: TrialSuggested, decided: TrialSuggested) -> Near | None:
    """Return how near two suggestions were that *state* is the state before, None where that cannot be known.

    It is known of TPE past its start-up, for points that it proposed both in the same try.
    """
    if recorded.tries != decided.tries or recorded.enumerated or decided.enumerated:
        return None
    if state.waiting and decided.tries > 1:  # of a user's point, whose second try keeps what the first one drew
        return None
    judges = _judges(state, decided)
    points = [
        suggestion.point if suggestion.point is not None else suggestion.params for suggestion in (recorded, decided)
    ]
    values_by_point = [[value for judge in judges if (value := judge(point)) is not None] for point in points]
    if not judges or any(len(values) != len(judges) for values in values_by_point):
        return None
    return Near(*(to_num(sum(values)) for values in values_by_point))


_Acquisition = Callable[[_Point], float | None]


def _judges(state: State, event: TrialSuggested) -> list[_Acquisition]:
    """Return what judged the candidates of *event*, asked again: one for each group of parameters that TPE drew."""
    import optuna  # noqa: PLC0415  verdicts do without

    from eventhpo.optuna_adapter.component_factory import build_sampler, quiet  # noqa: PLC0415
    from eventhpo.optuna_adapter.sampler_internals import base_sampler  # noqa: PLC0415
    from eventhpo.optuna_adapter.seeds import derived_seed  # noqa: PLC0415
    from eventhpo.optuna_adapter.state_view import StateView  # noqa: PLC0415
    from eventhpo.optuna_adapter.suggest import fixed_by_user, suggest_one  # noqa: PLC0415

    search = state.search
    if search.sampler.is_foreign:
        return []
    with quiet():
        seed = derived_seed(search.seed, "suggest", event.trial, event.tries)
        sampler = build_sampler(search.sampler, space=search.space, seed=seed, search_seed=search.seed)
        tpe = base_sampler(sampler)
        if type(tpe).__name__ != "TPESampler":
            return []
        view = StateView(state)
        view.refresh()
        judges = _listening(tpe, view.distributions)
        study = optuna.Study(search.name, view, sampler=sampler, pruner=optuna.pruners.NopPruner())
        trial = optuna.trial.Trial(study, view.open_trial(fixed_by_user(state) if state.waiting else None))
        asked(search.space, lambda name: suggest_one(trial, name, view.distributions[name]))
    return judges


def _listening(tpe: BaseSampler, distributions: Mapping[str, BaseDistribution]) -> list[_Acquisition]:
    """Have *tpe* keep each acquisition function that it makes in the list that is returned."""
    from eventhpo.optuna_adapter.sampler_internals import replace_acquisition  # noqa: PLC0415

    kept: list[_Acquisition] = []

    def listening(own: Callable[..., Any]) -> Callable[..., Any]:
        def acquisition(samples: Mapping[str, Any], below: Any, above: Any) -> Any:
            kept.append(lambda point: _of_point(own, distributions, tuple(samples), point, below, above))
            return own(samples, below, above)

        return acquisition

    replace_acquisition(tpe, listening)
    return kept


def _of_point(
    own: Any,
    distributions: Mapping[str, BaseDistribution],
    names: tuple[str, ...],
    point: _Point,
    below: Any,
    above: Any,
) -> float | None:
    """Return what the acquisition function says of *point*, None if it lacks one of *names*."""
    import numpy as np  # noqa: PLC0415

    if not all(name in point for name in names):
        return None
    internal = {name: np.array([distributions[name].to_internal_repr(point[name])]) for name in names}
    return float(own(internal, below, above)[0])
