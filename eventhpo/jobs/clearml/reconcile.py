"""Before a controller begins: which tasks of its search the log knows nothing of, and why; see `core.survey`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.events import AdoptedCurve, Head, JobAdopted, TasksLeft
from eventhpo.core.fold.job_key import read_key, search_part
from eventhpo.core.fold.state import Attempt, Fate, State
from eventhpo.core.search.spec import (
    BaseTask,
    DiscreteParameterRange,
    Objective,
    Range,
    Scalar,
    Search,
    UniformIntegerParameterRange,
    clearml_text,
    to_num,
)
from eventhpo.jobs import reconcile
from eventhpo.jobs.clearml.curves import Curves
from eventhpo.jobs.clearml.keys import REASON
from eventhpo.jobs.clearml.launch import Launcher, kind_of
from eventhpo.jobs.clearml.session import Server
from eventhpo.jobs.clearml.taken import fixed_values, ranges_of
from eventhpo.jobs.clearml.tasks import Task, by_tags
from eventhpo.jobs.clearml.watch import PENDING, RUNS
from eventhpo.jobs.protocol import BoundJob, DraftRequest

StrayTask: TypeAlias = reconcile.Stray[Task]
TaskSurvey: TypeAlias = reconcile.Survey[Task]

WAY_OUT = (
    "; or, once no controller works on that one any more, resume this one with --adopt (adopt=True): "
    "the tasks of the other are left as they are, and never counted"
)


def surveyed(server: Server, launcher: Launcher, state: State, hashes: Sequence[str]) -> TaskSurvey:
    """Return what the server has of this search beside the log; *hashes* are those of its rows, in order.

    Where another copy of the log parted from this one, all that comes after is that copy's.

    Raises:
        Silent, Denied: as `Server.call`.
    """
    search = search_part(state.search_id)
    known = {a.key: a for trial in state.trials for a in trial.attempts}
    strays: list[StrayTask] = []
    drafts: list[Task] = []
    for task in by_tags(server, [search]):
        for key in filter(None, (read_key(tag, search) for tag in task.tags)):
            attempt = known.get(key.text)
            if attempt is not None:
                drafts += [task] if _left_over(launcher, state, attempt, task) else []
            elif key.text not in state.left:
                strays.append(StrayTask(key, task))
    parting = min((s.key.seq for s in strays if not reconcile.is_of_this_log(s.key, state, hashes)), default=None)
    forked = [s for s in strays if parting is not None and s.key.seq >= parting]
    lost: dict[str, list[StrayTask]] = {}
    for stray in strays:
        if parting is None or stray.key.seq < parting:
            lost.setdefault(stray.key.text, []).append(stray)
    chosen = [_chosen(launcher, state, strays) for strays in lost.values()]
    drafts += [task for _, extras in chosen for task in extras]
    return TaskSurvey(reconcile.in_order([stray for stray, _ in chosen]), tuple(forked), tuple(drafts))


def _chosen(launcher: Launcher, state: State, strays: Sequence[StrayTask]) -> tuple[StrayTask, list[Task]]:
    """Return which of the tasks with one key is the job, and the drafts beside it that nobody bound.

    A copy that somebody made carries the key too, and another name; of two clones, the
    answer to the first lost, only the second can have run.
    """
    search = state.search
    own_strays = [stray for stray in strays if _made_by_us(launcher, search, stray)]
    stray = next((s for s in own_strays or strays if s.job.status != "created"), (own_strays or strays)[0])
    return stray, [s.job for s in own_strays if s is not stray and s.job.status == "created"]


def _made_by_us(launcher: Launcher, search: Search, stray: StrayTask) -> bool:
    key = stray.key
    return launcher.is_ours(_draft(key.text, key.trial, key.attempt, params_of(search, stray.job)), stray.job)


def _left_over(launcher: Launcher, state: State, attempt: Attempt, task: Task) -> bool:
    """Whether *task* is a second clone for an attempt that has its task, or is over."""
    if task.status != "created" or task.id == attempt.job_id or (attempt.job_id is None and attempt.ended is None):
        return False
    draft = _draft(attempt.key, attempt.trial, attempt.number, state.trials[attempt.trial].params)
    return launcher.is_ours(draft, task)


def _draft(key: str, trial: int, attempt: int, params: dict[str, Scalar]) -> DraftRequest:
    return DraftRequest(
        trial=trial,
        attempt=attempt,
        key=key,
        params=params,
        slot=0,
        before=None,
        look=True,
        failures=0,
    )


def refuse(survey: TaskSurvey, head: Head, *, adopt: bool) -> None:
    """Return if the log may go on.

    Raises:
        DamagedLog: it is a fork, or has lost its tail, and *adopt* was not asked for.
    """
    if not adopt:
        reconcile.refuse(survey, head, adopt=False, kind="task", name=lambda task: task.id, or_else=WAY_OUT)


def left(forked: Sequence[StrayTask]) -> list[TasksLeft]:
    """Return the note that the tasks of *forked* are another copy's, if there are any."""
    if not forked:
        return []
    return [TasksLeft(keys=tuple(s.key.text for s in forked), job_ids=tuple(s.job.id for s in forked))]


# ---------------------------------------------------------------- taking up again


def adopted(curves: Curves, state: State, lost: Sequence[StrayTask]) -> list[JobAdopted]:
    """Return the events by which the tasks of *lost* are jobs of the search again, and what was settled of them is.

    Of those that we had stopped the curve is read here, since it is settled how much of it
    counts; that of all others is read by the first poll, with their end, if they are over:
    what has ended has ended, whatever a pruner says of it now.

    Raises:
        Silent, Denied: as `Server.call`.
    """
    search = state.search
    jobs = {stray.job.id: _job(stray, len(search.objectives)) for stray in lost}
    stopped = [jobs[stray.job.id] for stray in lost if fate_of(stray.job)[0] is not None]
    claims = _read(curves, stopped, search.objectives)
    slots = reconcile.free_slots(reconcile.taken_slots(state))
    events = []
    for stray in lost:
        task, key = stray.job, stray.key
        fate, judged = fate_of(task)
        events.append(
            JobAdopted(
                trial=key.trial,
                attempt=key.attempt,
                key=key.text,
                job_id=task.id,
                params=params_of(search, task),
                slot=next(slots) if task.status in (*PENDING, *RUNS) else 0,
                launched=task.status != "created",
                curves=tuple(
                    AdoptedCurve(o.title, o.series, tuple(c.iterations), tuple(map(to_num, c.values)))
                    for o, c in zip(search.objectives, jobs[task.id].known, strict=True)
                    if c.iterations
                ),
                inherits=claims.get(task.id),
                fate=fate,
                judged=judged,
            )
        )
    return events


def _read(curves: Curves, jobs: Sequence[BoundJob], objectives: Sequence[Objective]) -> dict[str, int | None]:
    """Take in the whole curves of *jobs*, and return from where each says that it goes on."""
    claims: dict[str, int | None] = {}
    while jobs:
        readings = curves.read(jobs, objectives)
        for job in jobs:
            reading = readings[job.job_id]
            claims.setdefault(job.job_id, reading.inherits)
            for update in reading.curves:
                index = [(o.title, o.series) for o in objectives].index((update.title, update.series))
                list(job.known[index].add(zip(update.iterations, update.values, strict=True)))
        jobs = [job for job in jobs if readings[job.job_id].more]
    return claims


def _job(stray: StrayTask, objectives: int) -> BoundJob:
    return BoundJob(
        trial=stray.key.trial,
        attempt=stray.key.attempt,
        key=stray.key.text,
        job_id=stray.job.id,
        params={},
        slot=0,
        started=True,
        stopping=False,
        lost=False,
        cursor=0,
        points=0,
        failures=0,
        boot="",
        known=tuple(Curve() for _ in range(objectives)),
    )


def fate_of(task: Task) -> tuple[Fate | None, int]:
    """Return what had been settled of a task that we stopped, and at which point a prune came."""
    if task.status != "stopped" or task.status_reason != REASON:
        return None, 0
    return reconcile.settled(task.status_message or "")


def params_of(search: Search, task: Task) -> dict[str, Scalar]:
    """Return the parameters of a job in the types of the space.

    Which of a task's parameters are those of its job and not of the base task stands in
    its comment; without it they are those of the space, and what the base task has otherwise.
    """
    ranges = {r.name: r for r in ranges_of(search.space)}
    fixed = fixed_values(search.space)
    base = _base_texts(search)
    texts, kinds = task.parameters, {p.full_name: p.type for p in task.declared}
    named = {line.split("=", 1)[0] for line in (task.comment or "").splitlines()} & texts.keys()
    params: dict[str, Scalar] = {}
    for name in named or texts:
        text = texts[name]
        if name in ranges:
            params[name] = _value(ranges[name], text, kinds[name])
        elif name in fixed:
            params[name] = _among(fixed[name], text, kinds[name])
        elif named or base.get(name) != text:
            params[name] = text
    return params


def _among(values: Iterable[Scalar], text: str, kind: str) -> Scalar:
    """Return which of *values* is stored as *text*; of two, as None and "", that of the type beside it."""
    same = [v for v in values if clearml_text(v) == text]
    return next((v for v in same if kind_of(v) == kind), same[0] if same else text)


def _base_texts(search: Search) -> dict[str, str]:
    base = getattr(search.jobs, "base", None)
    return {p.full_name: p.value for p in base.hyper_parameters} if isinstance(base, BaseTask) else {}


def _value(r: Range, text: str, kind: str) -> Scalar:
    if isinstance(r, DiscreteParameterRange):
        return _among(r.values, text, kind)
    try:
        return int(text) if isinstance(r, UniformIntegerParameterRange) else float(text)
    except ValueError:
        return text  # somebody edited it; it stays what it is
