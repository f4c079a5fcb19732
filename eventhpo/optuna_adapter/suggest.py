"""Asks the sampler for the next trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler

from eventhpo.core.fold.event_parts import NotAgain
from eventhpo.core.fold.events import TrialSuggested
from eventhpo.core.fold.state import State
from eventhpo.core.search.ranges import ending_at, from_job
from eventhpo.core.search.space import asked, fitting, job_params, parameter_sets, points, set_point, single_ranges
from eventhpo.core.search.spec import DiscreteParameterRange, Parameter, ParameterSet, Scalar
from eventhpo.errors import Usage
from eventhpo.optuna_adapter import attributes, cma_state
from eventhpo.optuna_adapter.component_factory import build_sampler
from eventhpo.optuna_adapter.distributions import to_ask
from eventhpo.optuna_adapter.sampler_internals import hand_on_search_space
from eventhpo.optuna_adapter.seeds import derived_seed
from eventhpo.optuna_adapter.state_view import StateView
from eventhpo.optuna_adapter.user_class_record import rederivable
from eventhpo.optuna_adapter.user_classes import not_there

TRIES = 50  # before a finite space is enumerated, or an infinite one accepts a duplicate
# The same where a quarter of a finite space is taken: what a sampler proposes there is mostly taken too, and each try
# costs as much as a suggestion. On 196 points of a noisy bowl, TPE found the best one no later than with 50 tries.
TRIES_IF_MUCH_IS_TAKEN = 2


class Proposal(msgspec.Struct, frozen=True):
    """A point as the sampler knows it, and the attributes that the sampler wrote for it."""

    point: dict[str, Scalar]
    attrs: dict[str, Any]
    study_attrs: dict[str, Any]


def suggest(state: State, view: StateView, own: BaseSampler | None = None) -> TrialSuggested:
    """Return the next trial: the first point that a user enqueued, otherwise a new point of the sampler.

    If the point was tried before, the sampler is asked again with another seed. After
    `tries` duplicates a finite space is enumerated, and the seed picks an untried point;
    an infinite space accepts the duplicate. *own* is the sampler of a user's own class.

    Raises:
        Usage: The search has such a sampler, and *own* is missing.
    """
    sampling = _Sampling(state, view, own)
    event = _for_user(state, sampling) if state.waiting else _from_sampler(state, sampling)
    return msgspec.structs.replace(event, not_again=sampling.not_again)


def tries(state: State) -> int:
    """Return how often the sampler is asked at most for one trial that nobody enqueued."""
    much = state.space_size is not None and 4 * state.totals.tried >= state.space_size
    return TRIES_IF_MUCH_IS_TAKEN if much and state.policy >= 2 else TRIES


def _from_sampler(state: State, sampling: _Sampling) -> TrialSuggested:
    kept: dict[str, Any] = {}  # what may be left of a refused try: QMC's counter
    proposal, most = None, tries(state)
    for number in range(1, most + 1):
        proposal = sampling.ask(number, None, kept)
        params = job_params(state.search.space, proposal.point)
        if state.point_key(params) not in state.taken:
            return _suggested(state, proposal, params, number)
        kept = attributes.kept_over_tries(proposal.study_attrs)
    assert proposal is not None
    if state.space_size is None:
        return _suggested(state, proposal, job_params(state.search.space, proposal.point), most, duplicate=True)
    return _enumerated(state, kept, most)


def _for_user(state: State, sampling: _Sampling) -> TrialSuggested:
    fixed = fixed_by_user(state)
    proposal = sampling.ask(1, fixed, {})
    number = 1
    if not (choices := _choices(state, proposal.point)).items() <= proposal.point.items():
        kept = attributes.kept_over_tries(proposal.study_attrs)
        number, proposal = 2, sampling.ask(2, fixed | choices, kept)
    params = job_params(state.search.space, proposal.point)
    duplicate = state.point_key(params) in state.taken
    event = _suggested(state, proposal, params, number, duplicate=duplicate)
    return msgspec.structs.replace(event, source="user")


def fixed_by_user(state: State) -> dict[str, Scalar]:
    """Return the values that a user's point fixes, as the sampler knows them; a choice of set only if one set fits."""
    given, space = state.waiting[0].params, state.search.space
    fixed = {p.name: from_job(p, given[p.name]) for p in single_ranges(space) if p.name in given}
    for p in parameter_sets(space):
        fits = fitting(p, given)
        if len(fits) == 1:
            fixed[p.name] = fits[0]
        for k in fits:
            fixed |= set_point(p, k, given)
    return fixed


def _choices(state: State, point: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return each `ParameterSet`'s choice in *point* if it fits the user's point, otherwise the first that fits."""
    fits = {p.name: fitting(p, state.waiting[0].params) for p in parameter_sets(state.search.space)}
    return {name: point[name] if point[name] in choices else choices[0] for name, choices in fits.items()}


class _Sampling:
    """The tries of one suggestion; `not_again` is set if two copies of a user's own sampler answered differently."""

    def __init__(self, state: State, view: StateView, own: BaseSampler | None) -> None:
        self._state, self._view, self._own = state, view, own
        self.not_again: NotAgain = msgspec.UNSET

    def ask(self, number: int, fixed: dict[str, Any] | None, study_attrs: dict[str, Any]) -> Proposal:
        """Ask a fresh sampler once; *number* is the number of this try, from 1."""
        search = self._state.search
        seed = derived_seed(search.seed, "suggest", len(self._state.trials), number)
        if not search.sampler.is_foreign:
            sampler = build_sampler(search.sampler, space=search.space, seed=seed, search_seed=search.seed)
            hand_on_search_space(sampler, self._view.search_spaces)
            return self._proposed(sampler, fixed, study_attrs)
        if self._own is None:
            raise not_there("sampler", search.sampler)
        proposal, alike = rederivable(self._own, seed, lambda copied: self._proposed(copied, fixed, study_attrs))
        if not alike:
            self.not_again = "answers differ"
        return proposal

    def _proposed(self, sampler: BaseSampler, fixed: dict[str, Any] | None, study_attrs: dict[str, Any]) -> Proposal:
        view, search = self._view, self._state.search
        view.refresh()
        view.written_study.update(study_attrs)
        study = optuna.Study(search.name, view, sampler=sampler, pruner=optuna.pruners.NopPruner())
        trial_id = view.open_trial(fixed)
        trial = optuna.trial.Trial(study, trial_id)
        point = asked(search.space, lambda name: suggest_one(trial, name, view.distributions[name]))
        if search.sampler.is_foreign and (others := [name for written, name, _ in view.written if written != trial_id]):
            raise Usage(
                f"the sampler {search.sampler.name} wrote {', '.join(others)} on another trial: it may write only on "
                "the study and on the trial that it makes"
            )
        attrs = {name: value for written, name, value in view.written if written == trial_id and name != "fixed_params"}
        return Proposal(point, attributes.to_log(cma_state.to_data(attrs)), attributes.to_log(view.written_study))


def suggest_one(trial: optuna.trial.Trial, name: str, d: BaseDistribution) -> Scalar:
    """Ask *trial* for its value of *name*, as a plain Python number, text, boolean or None."""
    match d:
        case FloatDistribution():
            # Some crossovers give numpy's floats, which JSON does not know.
            high = d.high if d.step is None else to_ask(ending_at(d.low, d.step, d.high))
            return float(trial.suggest_float(name, d.low, high, step=d.step, log=d.log))
        case IntDistribution():
            return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        case CategoricalDistribution():
            value: Scalar = trial.suggest_categorical(name, d.choices)
            return value
    raise TypeError(f"{name} has a distribution that is not known here: {d!r}")


def _suggested(
    state: State,
    proposal: Proposal,
    params: dict[str, Scalar],
    tries: int,
    *,
    enumerated: bool = False,
    duplicate: bool = False,
) -> TrialSuggested:
    return TrialSuggested(
        trial=len(state.trials),
        params=_as_logged(params),
        request=state.asked[0].request if state.asked else None,
        tries=tries,
        enumerated=enumerated,
        duplicate=duplicate,
        point=None if proposal.point == params else _as_logged(proposal.point),
        attrs=proposal.attrs,
        study_attrs=proposal.study_attrs,
    )


def _as_logged(table: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return *table* in the order in which a log stores it, so that a job gets the same order after a restart."""
    return dict(sorted(table.items()))


def _enumerated(state: State, kept: dict[str, Any], number: int) -> TrialSuggested:
    """Return an untried point of a finite space, picked by the seed after *number* tries."""
    untried = [p for p in _proposable(state) if state.point_key(job_params(state.search.space, p)) not in state.taken]
    pick = derived_seed(state.search.seed, "enumerate", len(state.trials), 0) % len(untried)
    point = untried[pick]
    proposal = Proposal(point, {}, attributes.to_log(kept))
    return _suggested(state, proposal, job_params(state.search.space, point), number, enumerated=True)


def _proposable(state: State) -> Iterator[dict[str, Scalar]]:
    """Yield each point that the sampler can propose; GridSampler and PartialFixedSampler list their own values."""
    sampler = state.search.sampler
    only: dict[str, Sequence[Scalar]] = {}
    if sampler.name == "GridSampler":
        only = sampler.args["search_space"]
    elif sampler.name == "PartialFixedSampler":
        only = {name: [value] for name, value in sampler.args["fixed_params"].items()}
    return points(tuple(_listed(p, only[p.name]) if p.name in only else p for p in state.search.space))


def _listed(p: Parameter, values: Sequence[Scalar]) -> Parameter:
    assert not isinstance(p, ParameterSet)  # `fit_mistakes` refuses to fix what stands in one
    return DiscreteParameterRange(name=p.name, values=tuple(from_job(p, value) for value in values))
