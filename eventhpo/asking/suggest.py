"""The next trial: what the sampler proposes, given everything that the state shows of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from eventhpo.asking import attributes, cma_state
from eventhpo.asking.named import build_sampler
from eventhpo.asking.seeds import derived_seed
from eventhpo.asking.space import from_job, job_params, points
from eventhpo.asking.view import StateView
from eventhpo.core.events import TrialSuggested
from eventhpo.core.space import asked, fitting, parameter_sets, set_point, single_ranges
from eventhpo.core.spec import DiscreteParameterRange, Parameter, ParameterSet, Scalar
from eventhpo.core.state import State

TRIES = 50  # before a finite space is enumerated, or an infinite one accepts a duplicate


class Proposal(msgspec.Struct, frozen=True):
    """A point as the sampler knows it, and what the sampler wrote while it made it."""

    point: dict[str, Scalar]
    attrs: dict[str, Any]
    study_attrs: dict[str, Any]


def suggest(state: State, view: StateView) -> TrialSuggested:
    """Return the next trial: the first waiting point of a user, else a point that no trial holds.

    A duplicate costs nothing: the next try has its number in the seed. After
    `TRIES` a finite space is enumerated and the seed picks an untried point; an
    infinite one accepts the duplicate.
    """
    if state.waiting:
        return _for_user(state, view)
    kept: dict[str, Any] = {}  # what a refused try may leave behind: QMC's counter
    proposal = None
    for number in range(1, TRIES + 1):
        proposal = _ask(state, view, number, None, kept)
        params = job_params(state.search.space, proposal.point)
        if state.point_key(params) not in state.taken:
            return _suggested(state, proposal, params, number)
        kept = attributes.kept_over_tries(proposal.study_attrs)
    assert proposal is not None
    if state.space_size is None:
        return _suggested(state, proposal, job_params(state.search.space, proposal.point), TRIES, duplicate=True)
    return _enumerated(state, kept)


def _for_user(state: State, view: StateView) -> TrialSuggested:
    fixed = _fixed(state)
    proposal = _ask(state, view, 1, fixed, {})
    tries = 1
    if not (choices := _choices(state, proposal.point)).items() <= proposal.point.items():
        kept = attributes.kept_over_tries(proposal.study_attrs)
        tries, proposal = 2, _ask(state, view, 2, fixed | choices, kept)
    params = job_params(state.search.space, proposal.point)
    duplicate = state.point_key(params) in state.taken
    event = _suggested(state, proposal, params, tries, duplicate=duplicate)
    return msgspec.structs.replace(event, source="user")


def _fixed(state: State) -> dict[str, Scalar]:
    """Return what a user's point fixes, as the sampler knows it; which set it means only if no other fits."""
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
    """Return the choice of each `ParameterSet` in *point*, or the first that fits a user's point if that does not."""
    fits = {p.name: fitting(p, state.waiting[0].params) for p in parameter_sets(state.search.space)}
    return {name: point[name] if point[name] in found else found[0] for name, found in fits.items()}


def _ask(
    state: State, view: StateView, number: int, fixed: dict[str, Any] | None, study_attrs: dict[str, Any]
) -> Proposal:
    """Ask a fresh sampler once, the try *number*."""
    view.refresh()
    view.written_study.update(study_attrs)
    trial_number = len(state.trials)
    search = state.search
    sampler = build_sampler(
        search.sampler,
        space=search.space,
        seed=derived_seed(search.seed, "suggest", trial_number, number),
        search_seed=search.seed,
    )
    study = optuna.Study(search.name, view, sampler=sampler, pruner=optuna.pruners.NopPruner())
    trial_id = view.open_trial(fixed)
    trial = optuna.trial.Trial(study, trial_id)
    point = asked(search.space, lambda name: _suggest_one(trial, name, view.distributions[name]))
    attrs = {name: value for written, name, value in view.written if written == trial_id and name != "fixed_params"}
    return Proposal(point, attributes.to_log(cma_state.to_data(attrs)), attributes.to_log(view.written_study))


def _suggest_one(trial: optuna.trial.Trial, name: str, d: BaseDistribution) -> Scalar:
    match d:
        case FloatDistribution():
            # Some crossovers give numpy's floats, which JSON does not know.
            return float(trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log))
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
    """Return *table* in the order in which a log gives it back: a job gets the same, before a restart and after."""
    return dict(sorted(table.items()))


def _enumerated(state: State, kept: dict[str, Any]) -> TrialSuggested:
    """Return an untried point of a finite space, picked by the seed."""
    untried = [p for p in _proposable(state) if state.point_key(job_params(state.search.space, p)) not in state.taken]
    pick = derived_seed(state.search.seed, "enumerate", len(state.trials), 0) % len(untried)
    point = untried[pick]
    proposal = Proposal(point, {}, attributes.to_log(kept))
    return _suggested(state, proposal, job_params(state.search.space, point), TRIES, enumerated=True)


def _proposable(state: State) -> Iterator[dict[str, Scalar]]:
    """Yield each point that the sampler can propose: a grid, and fixed values, may lie in a range without a step."""
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
