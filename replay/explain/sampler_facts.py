"""Suggestions in words: what a sampler saw when it was asked, and by which rule it drew.

What a sampler works out by itself is asked of Optuna's own functions, on the same
read-only view over the state on which the search asked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import Event, TrialSuggested
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.actions import Decide, Suggest
from eventhpo.core.scheduler.decide import next_action
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.optuna_adapter.seeds import derived_seed
from eventhpo.views.formatting import line, plural, scalar
from replay.decide import rounding
from replay.decide.rounding import Apart
from replay.explain.explanation import SeenTrials, Split, StartUp, Suggestion

if TYPE_CHECKING:
    import optuna

    from eventhpo.optuna_adapter.state_view import StateView

_MOST = 5  # fields that a line names


def suggestion(
    state: State,
    seq: int,
    event: TrialSuggested,
    asked_at: int | None,
    asked_by: str,
    recorder: Mapping[str, str],
) -> Suggestion:
    """Return where the trial of *event* comes from; *state* is the one before it, *recorder* the fingerprint there."""
    sampler = state.search.sampler
    named = sampler.name in CATALOGUE["sampler"]
    asked = event.source != "caller"
    again, because, differs, apart = _again(state, event, recorder, known=named)
    start_up, split, notes = None, None, tuple[str, ...]()
    if asked and named:
        start_up, split, notes = _inside(state, event)
    return Suggestion(
        seq=seq,
        differs=differs,
        source=event.source,
        sampler=sampler.name,
        arguments=sampler.args,
        search_seed=state.search.seed,
        seed=_seed(state, event) if asked else None,
        tries=event.tries,
        enumerated=event.enumerated,
        duplicate_of=_holders(state, event),
        points_left=None if state.space_size is None else state.space_size - state.totals.tried,
        seen=seen(state),
        start_up=start_up,
        split=split,
        notes=notes,
        asked_at=asked_at,
        asked_by=asked_by,
        given=tuple(state.waiting[0].params) if event.source == "user" and state.waiting else None,
        again=again,
        not_asked_because=because,
        apart=apart,
    )


def _seed(state: State, event: TrialSuggested) -> int:
    """Return the seed of the try that gave the point; a grid or a sequence goes on with the search's own."""
    sampler, seed = state.search.sampler, state.search.seed
    names = {sampler.name, sampler.args.get("base_sampler", {}).get("name")}
    if event.enumerated:
        return derived_seed(seed, "enumerate", event.trial, 0)
    if "GridSampler" in names or ("QMCSampler" in names and _counters(event)):
        return seed
    return derived_seed(seed, "suggest", event.trial, event.tries)


def seen(state: State) -> SeenTrials:
    """Return the trials of *state* as a sampler sees them: a pruned one from its verdict on."""
    by_state: dict[str, list[int]] = {"completed": [], "pruned": [], "failed": [], "running": []}
    for trial in state.trials:
        if trial.finished is None:
            pruned = trial.last is not None and trial.last.fate == "pruned"
            by_state["pruned" if pruned else "running"].append(trial.number)
        else:
            by_state["failed" if trial.finished.state == "aborted" else trial.finished.state].append(trial.number)
    return SeenTrials(**{name: tuple(numbers) for name, numbers in by_state.items()})


def _holders(state: State, event: TrialSuggested) -> tuple[int, ...]:
    """Return the trials that hold the same point, those aside whose abort set it free."""
    key = state.point_key(event.params)
    if key not in state.taken:
        return ()
    held = (t for t in state.trials if t.finished is None or t.finished.state != "aborted")
    return tuple(t.number for t in held if state.point_key(t.params) == key)


# ---------------------------------------------------------------- asked again


def _again(
    state: State, event: TrialSuggested, recorder: Mapping[str, str], *, known: bool
) -> tuple[Any, str | None, str | None, Apart | None]:
    """Return whether the sampler says the same today, why it was not asked, how it differs, and by what rounding."""
    if not known and event.source != "caller":
        return "not asked", "no rule is known of a class that is not Optuna's", None, None
    try:
        decided_now = _asked(state)
    except ImportError as error:
        return "not asked", f"a package is missing here ({str(error).splitlines()[0]})", None, None
    differs = difference(event, decided_now)
    if differs is None:
        return "same", None, None, None
    apart = _apart(state, event, decided_now, recorder)
    return ("differs", None, differs, None) if apart is None else ("rounded", None, None, apart)


def _apart(state: State, event: TrialSuggested, decided_now: Event | None, recorder: Mapping[str, str]) -> Apart | None:
    """Return how far *mine* is from *event* if that is rounding: on a platform that rounds otherwise."""
    from eventhpo.optuna_adapter.fingerprint import fingerprint  # noqa: PLC0415  what is decided alike needs none

    if (
        decided_now is None
        or not isinstance(next_action(state), Suggest)
        or not rounding.because(recorder, fingerprint())
    ):
        return None
    return rounding.apart(event, decided_now, state.search.space)


def decided(state: State) -> Event | None:
    """Return the decision of the rules that is due in *state*, None if Optuna is to be asked or none is due."""
    action = next_action(state)
    return action.event if isinstance(action, Decide) else None


def _asked(state: State) -> Event | None:
    """Return the trial that is due in *state*, asked of the sampler if it is the sampler's; None if none is."""
    action = next_action(state)
    if not isinstance(action, Suggest):
        return decided(state)
    from eventhpo.optuna_adapter import adapter  # noqa: PLC0415  it loads Optuna

    return adapter.decided(state, action)[0]


def difference(recorded: Event, computed: Event | None) -> str | None:
    """Return in words how *recorded* is not *mine*, None if they are equal to the bit."""
    if type(computed) is not type(recorded):
        due = "no such decision was due" if computed is None else f"{type(computed).__name__} was due"
        return f"the record says {type(recorded).__name__}; computed again, {due}"
    if codec.encode(recorded) == codec.encode(computed):
        return None
    left, right = msgspec.to_builtins(recorded), msgspec.to_builtins(computed)
    parts = [(name, left[name], right[name]) for name in left if repr(left[name]) != repr(right[name])][:_MOST]
    fields = "; ".join(
        f"the record says {name} {_describe_value(a)}, these numbers say {_describe_value(b)}" for name, a, b in parts
    )
    return fields or "the record differs in its form"


def _describe_value(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return scalar(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_describe_value, value)) or "none"
    return line(msgspec.json.encode(value).decode())


# ---------------------------------------------------------------- what the sampler itself works out


def _inside(state: State, event: TrialSuggested) -> tuple[StartUp | None, Split | None, tuple[str, ...]]:
    """Return the sampler's start-up rule, TPE's split, and what else it went by."""
    from eventhpo.optuna_adapter.component_factory import build_sampler, quiet  # noqa: PLC0415  they load Optuna
    from eventhpo.optuna_adapter.state_view import StateView  # noqa: PLC0415

    search = state.search
    with quiet():
        try:
            seed = derived_seed(search.seed, "suggest", event.trial, event.tries)
            sampler = build_sampler(search.sampler, space=search.space, seed=seed, search_seed=search.seed)
        except ImportError:
            return None, None, ()  # `_again` says so
        view = StateView(state)
        view.refresh()
        return _asked_of(sampler, _study(state, view, sampler), state, event)


def _study(state: State, view: StateView, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    import optuna  # noqa: PLC0415

    return optuna.Study(state.search.name, view, sampler=sampler, pruner=optuna.pruners.NopPruner())


def _asked_of(
    sampler: Any, study: optuna.Study, state: State, event: TrialSuggested
) -> tuple[StartUp | None, Split | None, tuple[str, ...]]:
    name = type(sampler).__name__
    if event.enumerated:
        return None, None, ()
    if name == "PartialFixedSampler":
        given = state.search.sampler.args["fixed_params"]
        fixed = ", ".join(f"{key} = {scalar(value)}" for key, value in given.items())
        from eventhpo.optuna_adapter.sampler_internals import base_sampler  # noqa: PLC0415

        base = base_sampler(sampler)
        start_up, split, notes = _asked_of(base, study, state, event)
        return start_up, split, (f"it fixes {fixed}; {type(base).__name__} draws the rest", *notes)
    notes = _notes(name, sampler, state, event)
    start_up = _start_up(name, sampler, study)
    split = _split(sampler, study) if name == "TPESampler" and start_up is not None and not start_up.in_it else None
    return start_up, split, notes


def _start_up(name: str, sampler: Any, study: optuna.Study) -> StartUp | None:
    from eventhpo.optuna_adapter import sampler_internals  # noqa: PLC0415

    seen = _states(study)
    match name:
        case "TPESampler":
            trials, counts, by = seen["COMPLETE"] + seen["PRUNED"], "completed and pruned", "RandomSampler"
        case "CmaEsSampler":
            # with consider_pruned_trials, pruned ones that reported count too
            trials = sampler_internals.cma_trials(sampler, study)
            counts = "completed and pruned" if sampler_internals.counts_pruned_trials(sampler) else "completed"
            by = type(sampler_internals.independent_sampler(sampler)).__name__
        case "GPSampler":
            trials, counts = seen["COMPLETE"], "completed"
            by = type(sampler_internals.independent_sampler(sampler)).__name__
        case _:
            return None
    needed = sampler_internals.startup_trials(sampler)
    return StartUp("n_startup_trials", needed, trials, counts, by, trials < needed)


def _states(study: optuna.Study) -> dict[str, int]:
    from optuna.trial import TrialState  # noqa: PLC0415

    counts = {state.name: 0 for state in TrialState}
    for trial in study.get_trials(deepcopy=False):
        counts[trial.state.name] += 1
    return counts


def _split(sampler: Any, study: optuna.Study) -> Split:
    """Return the numbers of the trials that TPE models as better, as worse, and of the running ones among those."""
    from eventhpo.optuna_adapter.sampler_internals import tpe_split  # noqa: PLC0415

    better, worse, liar = tpe_split(sampler, study)
    return Split(_numbers(better), _numbers(worse), _numbers(t for t in worse if not t.state.is_finished()), liar)


def _numbers(trials: Iterable[optuna.trial.FrozenTrial]) -> tuple[int, ...]:
    return tuple(trial.number for trial in trials)


def _notes(name: str, sampler: Any, state: State, event: TrialSuggested) -> tuple[str, ...]:
    attrs = event.attrs
    match name:
        case "NSGAIISampler" | "NSGAIIISampler":
            return _generation(name, sampler, state, event)
        case "CmaEsSampler":
            # cma:, sepcma: or cmawm:, by its kind
            return tuple(
                f"a point of generation {value}" for key, value in attrs.items() if key.endswith(":generation")
            )
        case "QMCSampler":
            return _in_sequence(event)
        case "GridSampler" if "grid_id" in attrs:
            from eventhpo.optuna_adapter.sampler_internals import grid_size  # noqa: PLC0415

            return (f"cell {attrs['grid_id']} of the grid's {grid_size(sampler)}",)
        case "BruteForceSampler":
            return ("it draws among the points that no trial holds",)
        case "RandomSampler":
            return ("it draws without a look at other trials",)
    return ()


def _generation(name: str, sampler: Any, state: State, event: TrialSuggested) -> tuple[str, ...]:
    generation = event.attrs.get(f"{name}:generation", 0)
    if generation == 0:
        size = sampler.population_size
        return (f"generation 0: drawn by chance until {plural(size, 'trial')} of it completed (population_size)",)
    parents = (state.study_attrs | event.study_attrs).get(f"{name}:parent:{generation}", ())
    numbers = ", ".join(map(str, sorted(parents)))
    return (f"generation {generation}, bred of trials {numbers}",)


def _in_sequence(event: TrialSuggested) -> tuple[str, ...]:
    counters = _counters(event)
    if not counters:
        return ("drawn by chance: the sequence begins when there is a trial to take its space from",)
    return (f"sample {counters[0]} of the sequence, counted from 0",)


def _counters(event: TrialSuggested) -> list[int]:
    """Return which sample of its sequence the point is; nothing if it is none."""
    return [value for key, value in event.study_attrs.items() if key.startswith("qmc:")]
