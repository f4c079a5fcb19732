"""What a search file would do, before anything is created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from eventhpo.core.fold import budget
from eventhpo.core.fold.events import Event, PointEnqueued, Recorded, SearchCreated, TrialsImported
from eventhpo.core.fold.evolve import begin, evolve
from eventhpo.core.fold.state import State
from eventhpo.core.scheduler.actions import Suggest
from eventhpo.core.search.gpus import Gpus, variable
from eventhpo.core.search.space import described, described_sets, size
from eventhpo.core.search.spec import POLICY, ClearmlTasks, Limits, LocalCommand, Parameter, ParameterSet, Scalar
from eventhpo.optuna_adapter.adapter import OptunaAdapter
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.search_file import Loaded
from eventhpo.views import formatting

SUGGESTIONS = 5


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a search would do: its space in words, its limits, and its first suggestions.

    The suggestions are what it proposes before any job has reported.
    """

    name: str
    command: tuple[str, ...]  # of jobs on this machine, run in `folder`
    folder: str
    gpus: Gpus  # the devices of each worker, empty if none are named
    clearml: ClearmlTasks | None  # of tasks on a server
    objectives: list[str]
    space: dict[str, str]
    points: int | None  # None: they cannot be counted, or are more than are ever enumerated
    sampler: str
    pruner: str
    seed: int
    seed_drawn: bool
    iterations: int | None  # the budget, None: not limited
    limits: Limits
    suggestions: list[dict[str, Scalar]]


def preview(loaded: Loaded, imports: Sequence[TrialsImported] = ()) -> Preview:
    """Return what *loaded* would do if it imported the trials of *imports*."""
    search = loaded.search
    local = search.jobs if isinstance(search.jobs, LocalCommand) else LocalCommand(command=(), folder="")
    jobs, most = search.limits.total_max_jobs, search.max_iteration_per_job
    return Preview(
        name=search.name,
        command=local.command,
        folder=local.folder,
        gpus=local.gpus,
        clearml=search.jobs if isinstance(search.jobs, ClearmlTasks) else None,
        objectives=[f"{formatting.metric(o)} ({o.sign})" for o in search.objectives],
        space={name: text for p in search.space for name, text in _described(p)},
        points=size(search.space),
        sampler=search.sampler.name,
        pruner=search.pruner.name,
        seed=search.seed,
        seed_drawn=loaded.drawn_seed,
        iterations=None if jobs is None or most is None else jobs * most,
        limits=search.limits,
        suggestions=suggestions(loaded, imports),
    )


def _described(p: Parameter) -> Iterator[tuple[str, str]]:
    yield p.name, described(p)
    if isinstance(p, ParameterSet):
        yield from ((f"{p.name}[{k}]", text) for k, text in enumerate(described_sets(p)))


def suggestions(loaded: Loaded, imports: Sequence[TrialsImported] = ()) -> list[dict[str, Scalar]]:
    """Return the first points that would be tried, those of the file's `[[trial]]` before the sampler's."""
    created = SearchCreated(search_id="0" * 32, search=loaded.search, policy=POLICY, fingerprint=fingerprint())
    state = begin(_row(1, created))
    inputs: list[Event] = [*imports, *(PointEnqueued(params=trial) for trial in loaded.trials)]
    for event in inputs:
        state = evolve(state, _row(state.head.seq + 1, event))
    asker = OptunaAdapter(state)
    for _ in range(_count(state)):
        for decision in asker.answer(Suggest()):
            state = evolve(state, _row(state.head.seq + 1, decision))
    return [trial.params for trial in state.trials if trial.imported is None]


def _count(state: State) -> int:
    most = budget.most_trials(state)
    untried = None if state.space_size is None else state.space_size - state.totals.tried
    limits = (SUGGESTIONS, untried, state.limits.total_max_jobs, None if most is None else most.number)
    return min(limit for limit in limits if limit is not None)


def _row(seq: int, event: Event) -> Recorded:
    return Recorded(seq, 0, 0, None, event, "0" * 32)


def render_preview(loaded: Loaded, previewed: Preview) -> Iterator[str]:
    """Yield *previewed* as lines, a fact a line."""
    yield f"search      {previewed.name}"
    yield from _where(previewed)
    yield from (f"objective   {objective}" for objective in previewed.objectives)
    for name, values in previewed.space.items():
        yield f"space       {name}: {values}"
    yield f"points      {'no finite number, or too many to count' if previewed.points is None else previewed.points}"
    drawn = " (drawn now: a run draws another)" if previewed.seed_drawn else ""
    yield f"sampler     {formatting.component(loaded.search.sampler)}, seed {previewed.seed}{drawn}"
    yield f"pruner      {formatting.component(loaded.search.pruner)}"
    yield f"budget      {_budget(loaded, previewed)}"
    for name, value in msgspec.structs.asdict(previewed.limits).items():
        if value is not None and name != "pool_period_min":
            yield f"limit       {name} = {value:g}"
    yield f"poll        every {previewed.limits.pool_period_min:g} minutes, or more often"
    for number, params in enumerate(previewed.suggestions):
        yield f"suggestion  trial {number}: {formatting.params(params)}"


def _where(previewed: Preview) -> Iterator[str]:
    if previewed.clearml is None:
        yield f"command     {' '.join(previewed.command)}  (in {previewed.folder})"
        for slot, devices in enumerate(previewed.gpus):
            yield f"gpus        slot {slot}: CUDA_VISIBLE_DEVICES={variable(devices)}"
        return
    base = previewed.clearml.base
    yield f"base task   {previewed.clearml.base_task_id}{f' ({base.name})' if base is not None else ''}"
    yield f"queue       {previewed.clearml.execution_queue}"
    if previewed.clearml.project is not None:
        yield f"project     {previewed.clearml.project}"
    elif base is not None and base.project is not None:
        yield f"project     the base task's ({base.project})"


def _budget(loaded: Loaded, previewed: Preview) -> str:
    jobs, most = previewed.limits.total_max_jobs, loaded.search.max_iteration_per_job
    if previewed.iterations is not None:
        return f"{previewed.iterations} iterations: {jobs} jobs of {most}; pruning buys more jobs"
    return "no limit by jobs" if jobs is None else f"{jobs} trials, iterations not limited"
