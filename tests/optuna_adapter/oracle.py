"""What Optuna's own storage, pruners and samplers say to the events of a log, fed to them one by one.

Nothing of the fold or of the view takes part: curves, retries and inherited points
are worked out here once more, from the events and the written rules alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import optuna
from optuna.distributions import FloatDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from eventhpo.core.fold.event_parts import Verdict
from eventhpo.core.fold.events import (
    InheritanceClaimed,
    JobCreated,
    JobPruned,
    JobsContinued,
    MetricObserved,
    PointEnqueued,
    Recorded,
    SearchCreated,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.search.ranges import from_job, to_job
from eventhpo.core.search.spec import ParameterChoice, ParameterSet, Scalar, Search
from eventhpo.optuna_adapter import attributes, cma_state
from eventhpo.optuna_adapter.component_factory import build_pruner, build_sampler, quiet
from eventhpo.optuna_adapter.distributions import distributions
from eventhpo.optuna_adapter.seeds import derived_seed

TRIES = 50
DIRECTION = {True: optuna.study.StudyDirection.MAXIMIZE, False: optuna.study.StudyDirection.MINIMIZE}
Name = tuple[int, int]  # of a trial and one of its attempts


class Storage(InMemoryStorage):
    """Optuna's storage in memory; of equal best trials the first by number counts, as in its base class."""

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)


class Attempt:
    """The points of one job that count, and what the pruner wrote on the way."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.judged = 0
        self.written: list[tuple[int, dict[str, Any]]] = []  # (iteration, attributes)


class Oracle:
    """A stock study that goes through a log; `wrong` collects where a record is not what Optuna says."""

    def __init__(self, first: Recorded, *, pruner: BasePruner | None = None, ask_samplers: bool = True) -> None:
        assert isinstance(first.event, SearchCreated)
        self.search: Search = first.event.search
        self.storage = Storage()
        directions = [DIRECTION[o.maximize] for o in self.search.objectives]
        self.study_id = self.storage.create_new_study(directions, self.search.name)
        self.distributions = distributions(self.search.space)
        # One pruner for the whole search, as Optuna is normally used: "auto" is settled inside it.
        self.study = self._study(RandomSampler(seed=1), build_pruner(self.search.pruner) if pruner is None else pruner)
        self.ask_samplers = ask_samplers
        self.attempts: dict[Name, Attempt] = {}
        self.newest: dict[int, int] = {}
        self.trials: dict[int, optuna.trial.Trial] = {}
        self.enqueued: list[dict[str, Scalar]] = []
        self.taken: dict[int, tuple[Any, ...]] = {}
        self.wrong: list[str] = []
        self.asked = self.suggested = 0

    def _study(self, sampler: BaseSampler, pruner: BasePruner, storage: BaseStorage | None = None) -> optuna.Study:
        return optuna.Study(self.search.name, storage or self.storage, sampler=sampler, pruner=pruner)

    def feed(self, row: Recorded) -> None:
        """Take in one more event."""
        with quiet():
            match row.event:
                case TrialSuggested():
                    self._suggested(row.event)
                case JobCreated(trial=trial, attempt=attempt):
                    self._created(trial, attempt)
                case MetricObserved():
                    self._observed(row.event)
                case InheritanceClaimed():
                    self._inherits(row.event)
                case JobsContinued(verdicts=verdicts):
                    for verdict in verdicts:
                        self._verdict(verdict, prunes=verdict.too_late, seq=row.seq)
                case JobPruned():
                    self._pruned(row.event, row.seq)
                case TrialFinished():
                    self._finished(row.event)
                case PointEnqueued(params=params):
                    self.enqueued.append(params)

    # ------------------------------------------------------------ suggestions

    def _suggested(self, event: TrialSuggested) -> None:
        point = event.params if event.point is None else event.point
        given = self.enqueued.pop(0) if event.source == "user" else None
        if self.ask_samplers:
            self._ask_sampler(event, point, given)
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params={name: point[name] for name in self.distributions if name in point},
            distributions={name: d for name, d in self.distributions.items() if name in point},
            system_attrs=cma_state.from_data(event.attrs),
        )
        self.storage.create_new_trial(self.study_id, template)
        for key, value in event.study_attrs.items():
            self.storage.set_study_system_attr(self.study_id, key, value)
        self.taken[event.trial] = self._key(point)

    def _key(self, point: dict[str, Scalar]) -> tuple[Any, ...]:
        """Return what the job of *point* gets, in an order of its own."""
        params: dict[str, Scalar] = {}
        for p in self.search.space:
            if isinstance(p, ParameterSet):
                chosen = p.sets[int(str(point[p.name]))]
                params |= chosen.values
                params |= {r.name: to_job(r, point[f"{p.name}[{point[p.name]}].{r.name}"]) for r in chosen.ranges}
            else:
                params[p.name] = to_job(p, point[p.name])
        return tuple((name, type(value) is bool, value) for name, value in sorted(params.items()))

    def _ask_sampler(self, event: TrialSuggested, point: dict[str, Scalar], given: dict[str, Scalar] | None) -> None:
        self.suggested += 1
        kept: dict[str, Any] = {}
        choices: dict[str, Any] = {}
        for number in range(1, event.tries + 1):
            found, attrs, study_attrs = self.ask(
                event.trial, number, given, kept, self._settled(choices, given) if given else {}
            )
            again = self._key(found) in self.taken.values()
            if given is not None and event.tries == 2 and number == 1:
                choices = {name: found[name] for name in self._fits(given)}
                if self._settled(choices, given) == choices:
                    self.wrong.append(f"trial {event.trial}: asked twice, but {choices} fits {given}")
            elif number < event.tries and not again:
                self.wrong.append(f"trial {event.trial}: try {number} was refused without a reason: {found}")
            kept = {key: value for key, value in study_attrs.items() if key.startswith("qmc:")}
        if event.enumerated:
            if not again or self._key(point) in self.taken.values() or event.attrs or event.study_attrs != kept:
                self.wrong.append(f"trial {event.trial}: enumerated without need, or a point that was tried")
            return
        mine = (found, attrs, study_attrs, again and given is None)
        recorded = (point, event.attrs, event.study_attrs, event.duplicate and given is None)
        if plain(mine) != plain(recorded):
            self.wrong.append(f"trial {event.trial}: recorded {recorded}, but Optuna says {mine}")

    def ask(
        self,
        trial: int,
        number: int,
        given: dict[str, Scalar] | None,
        kept: dict[str, Any],
        choices: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Ask a fresh sampler on a copy of the storage; return the point, and what it wrote on trial and study."""
        storage = _copied(self.storage)
        for key, value in kept.items():
            storage.set_study_system_attr(self.study_id, key, value)
        before = dict(self.storage.get_study_system_attrs(self.study_id))
        sampler = build_sampler(
            self.search.sampler,
            space=self.search.space,
            seed=derived_seed(self.search.seed, "suggest", trial, number),
            search_seed=self.search.seed,
        )
        study = self._study(sampler, NopPruner(), storage)
        if given is not None:
            study.enqueue_trial(self._fixed(given, choices or {}))
        if not any(isinstance(p, ParameterSet) for p in self.search.space):
            asked = study.ask(self.distributions)
        else:
            asked = study.ask()
            for p in self.search.space:  # one after the other, as a script that Optuna knows nothing of
                asked._suggest(p.name, self.distributions[p.name])
                if isinstance(p, ParameterSet):
                    start = f"{p.name}[{asked.params[p.name]}]."
                    for name in [n for n in self.distributions if n.startswith(start)]:
                        asked._suggest(name, self.distributions[name])
        frozen = storage.get_trial(asked._trial_id)
        attrs = {key: value for key, value in frozen.system_attrs.items() if key != "fixed_params"}
        after = storage.get_study_system_attrs(self.study_id)
        new = {key: value for key, value in after.items() if key not in before or before[key] != value}
        params = {  # BruteForceSampler takes 1.0 for 1
            name: float(value) if isinstance(self.distributions[name], FloatDistribution) else value
            for name, value in asked.params.items()
        }
        return params, attributes.to_log(cma_state.to_data(attrs)), attributes.to_log(new)

    def _fits(self, given: dict[str, Scalar]) -> dict[str, list[int]]:
        """Return by choice the sets that hold all that is given; those that hold nothing else, if there are any."""
        fits = {}
        for p in self.search.space:
            if isinstance(p, ParameterSet):
                names = {name for one in p.sets for name in (*one.values, *(r.name for r in one.ranges))}
                mine = {name: value for name, value in given.items() if name in names}
                held = [k for k, one in enumerate(p.sets) if all(_in_set(one, *item) for item in mine.items())]
                sizes = {k: len(p.sets[k].values) + len(p.sets[k].ranges) for k in held}
                fits[p.name] = [k for k in held if mine and sizes[k] == len(mine)] or held
        return fits

    def _settled(self, choices: dict[str, Any], given: dict[str, Scalar]) -> dict[str, Any]:
        fits = self._fits(given)
        return {name: k if k in fits[name] else fits[name][0] for name, k in choices.items()}

    def _fixed(self, given: dict[str, Scalar], choices: dict[str, Any]) -> dict[str, Any]:
        fits = self._fits(given)
        fixed: dict[str, Any] = {name: found[0] for name, found in fits.items() if len(found) == 1}
        for p in self.search.space:
            if isinstance(p, ParameterSet):
                inside = [(k, r) for k in fits[p.name] for r in p.sets[k].ranges if r.name in given]
                fixed |= {f"{p.name}[{k}].{r.name}": from_job(r, given[r.name]) for k, r in inside}
            elif p.name in given:
                fixed[p.name] = from_job(p, given[p.name])
        return fixed | choices

    # ------------------------------------------------------------ curves

    def _created(self, trial: int, attempt: int) -> None:
        self.attempts[trial, attempt] = Attempt()
        self.newest[trial] = attempt
        if attempt:
            before = self.attempts[trial, attempt - 1]
            self._replace(trial, {}, {key for _, written in before.written for key in written})
        self._open(trial)

    def _open(self, trial: int) -> None:
        self.trials[trial] = optuna.trial.Trial(self.study, trial)

    def _replace(self, trial: int, curve: dict[int, float], dropped: Iterable[str] = (), **attrs: Any) -> None:
        """Put another curve in the place of a running trial's; a storage has no call for that."""
        frozen = copy.copy(self.storage.get_trial(trial))
        frozen.intermediate_values = curve
        frozen._system_attrs = {k: v for k, v in frozen.system_attrs.items() if k not in set(dropped)} | attrs
        self.storage._set_trial(trial, frozen)

    def _observed(self, event: MetricObserved) -> None:
        first = self.search.objectives[0]
        if len(self.search.objectives) > 1 or (event.title, event.series) != (first.title, first.series):
            return
        mine = self.attempts[event.trial, event.attempt]
        for iteration, value in zip(event.iterations, event.values, strict=True):
            if not mine.points or iteration > mine.points[-1][0]:
                mine.points.append((iteration, float(value)))

    def _inherits(self, event: InheritanceClaimed) -> None:
        before = self.attempts.get((event.trial, event.attempt - 1))
        mine = self.attempts[event.trial, event.attempt]
        if before is None or mine.points:
            return
        mine.points = [point for point in before.points if point[0] <= event.iteration]
        mine.judged = min(before.judged, len(mine.points))
        mine.written = [(i, w) for i, w in before.written if mine.judged and i <= mine.points[mine.judged - 1][0]]
        curve = {mine.points[n][0]: self._meaning(mine, n) for n in range(mine.judged)}
        self._replace(event.trial, curve, (), **{k: v for _, written in mine.written for k, v in written.items()})
        self._open(event.trial)

    def _meaning(self, attempt: Attempt, position: int) -> float:
        """Return what is told at a point: its value, or the best so far."""
        objective = self.search.objectives[0]
        values = [value for _, value in attempt.points[: position + 1]]
        if not objective.sign.endswith("_global"):
            return values[-1]
        numbers = [value for value in values if not math.isnan(value)]
        return (max if objective.maximize else min)(numbers) if numbers else math.nan

    # ------------------------------------------------------------ verdicts

    def _verdict(self, verdict: Verdict | JobPruned, *, prunes: bool, seq: int) -> None:
        """Report the points of a verdict as a stock loop would, and ask at each."""
        mine, trial = self.attempts[verdict.trial, verdict.attempt], self.trials[verdict.trial]
        least = self.search.min_iteration_per_job
        if mine.points[verdict.judged - 1][0] != verdict.iteration:
            self.wrong.append(f"event {seq}: its {verdict.judged} points do not end at {verdict.iteration}")
        recorded: dict[int, dict[str, Any]] = {}
        for attr in verdict.attrs:
            recorded.setdefault(attr.iteration, {})[attr.name] = attr.value
        for position in range(mine.judged, verdict.judged):
            iteration = mine.points[position][0]
            trial.report(self._meaning(mine, position), iteration)
            before = set(self.storage.get_trial(verdict.trial).system_attrs)
            prune = (least is None or iteration >= least) and self._should_prune(trial)
            now = self.storage.get_trial(verdict.trial).system_attrs
            written = {key: now[key] for key in now if key not in before}
            mine.written.append((iteration, written))
            expected = prunes and position == verdict.judged - 1
            if prune != expected:
                self.wrong.append(f"event {seq}: Optuna {'prunes' if prune else 'goes on'} at iteration {iteration}")
            if plain(attributes.to_log(written)) != plain(recorded.pop(iteration, {})):
                self.wrong.append(f"event {seq}: Optuna writes {written} at iteration {iteration}")
        if recorded:
            self.wrong.append(f"event {seq}: attributes of iterations that it does not judge")
        mine.judged = verdict.judged

    def _should_prune(self, trial: optuna.trial.Trial) -> bool:
        self.asked += 1
        return trial.should_prune()

    def _pruned(self, event: JobPruned, seq: int) -> None:
        self._verdict(event, prunes=True, seq=seq)
        frozen = self.storage.get_trial(event.trial)
        assert frozen.last_step is not None
        value = frozen.intermediate_values[frozen.last_step]
        self.storage.set_trial_state_values(event.trial, TrialState.PRUNED, None if math.isnan(value) else [value])

    def _finished(self, event: TrialFinished) -> None:
        if event.state == "completed":
            assert event.values is not None
            values = [float(value) for value in event.values]
            self.storage.set_trial_state_values(event.trial, TrialState.COMPLETE, values)
        elif event.state != "pruned":
            self.storage.set_trial_state_values(event.trial, TrialState.FAIL)
        if event.state == "aborted":
            del self.taken[event.trial]


def _in_set(one: ParameterChoice, name: str, value: Scalar) -> bool:
    if name in one.values:
        return (type(value) is bool, value) == (type(one.values[name]) is bool, one.values[name])
    for r in one.ranges:
        if r.name == name:
            try:
                from_job(r, value)
            except ValueError:
                return False
            return True
    return False


def _copied(storage: Storage) -> Storage:
    """Return a storage of its own; the trials in it are shared, as each change puts a new one in its place."""
    other = copy.copy(storage)
    other._trial_id_to_study_id_and_number = dict(storage._trial_id_to_study_id_and_number)
    other._prev_waiting_trial_number = dict(storage._prev_waiting_trial_number)
    other._studies = {number: copy.copy(study) for number, study in storage._studies.items()}
    for study in other._studies.values():
        study.trials = list(study.trials)
    return other


def plain(value: Any) -> str:
    """Return *value* as text that is equal where it is equal to the bit, NaN included."""
    return msgspec.json.encode(_named(value), order="deterministic").decode()


def _named(value: Any) -> Any:
    match value:
        case float():
            return value.hex()
        case dict():
            return {str(k): _named(v) for k, v in value.items()}
        case list() | tuple():
            return [_named(v) for v in value]
    return value


def shown(storage: BaseStorage) -> list[dict[str, Any]]:
    """Return all that a storage shows of its trials, but for times and the generators' leftovers in a pickle."""
    return [
        {
            "number": t.number,
            "id": t._trial_id,
            "state": t.state.name,
            "values": plain(t.values),
            "params": plain(list(t.params.items())),
            "distributions": list(t.distributions.items()),
            "curve": plain(list(t.intermediate_values.items())),
            "system_attrs": plain(attributes.to_log(cma_state.to_data(t.system_attrs))),
            "user_attrs": t.user_attrs,
        }
        for t in storage.get_all_trials(0, deepcopy=False)
    ]


def fed(rows: Iterable[Recorded], make: type[Oracle] = Oracle, **how: Any) -> Iterator[tuple[Recorded, Oracle]]:
    """Yield each row and the oracle after it."""
    left = iter(rows)
    first = next(left)
    oracle = make(first, **how)
    yield first, oracle
    for row in left:
        oracle.feed(row)
        yield row, oracle


def verdict_of(rows: Iterable[Recorded], make: type[Oracle] = Oracle, **how: Any) -> Oracle:
    """Return the oracle after all *rows*."""
    return list(fed(rows, make, **how))[-1][1]
