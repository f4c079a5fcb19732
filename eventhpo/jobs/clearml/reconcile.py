"""Before a controller begins: which tasks of its search the log does not know, and why; see `jobs.reconcile`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.event_parts import AdoptedCurve, Fate
from eventhpo.core.fold.events import Head, JobAdopted, TasksLeft
from eventhpo.core.fold.job_key import read_key, search_part
from eventhpo.core.fold.state import Attempt, State
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
    """Return the tasks of this search that the log does not know.

    *hashes* are the hashes of the log's rows, in order. From the row at which another copy
    of the log parted from this one, all unknown tasks belong to that copy.

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
    """Return which of the tasks with one key is the job, and the drafts with that key that nobody bound.

    A copy that a person made has the key too, but another name. Of two clones of ours (the
    answer to the first was lost), only the second can have run.
    """
    search = state.search
    own_strays = [stray for stray in strays if _made_by_us(launcher, search, stray)]
    stray = next((s for s in own_strays or strays if s.job.status != "created"), (own_strays or strays)[0])
    return stray, [s.job for s in own_strays if s is not stray and s.job.status == "created"]


def _made_by_us(launcher: Launcher, search: Search, stray: StrayTask) -> bool:
    key = stray.key
    return launcher.is_ours(_draft(key.text, key.trial, key.attempt, params_of(search, stray.job)), stray.job)


def _left_over(launcher: Launcher, state: State, attempt: Attempt, task: Task) -> bool:
    """Whether *task* is a superfluous clone: its attempt has another task, or is over."""
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
    """Raise unless a controller may go on with the log.

    Raises:
        DamagedLog: the log is a fork, or it has lost its tail, and *adopt* is False.
    """
    if not adopt:
        reconcile.refuse(survey, head, adopt=False, kind="task", name=lambda task: task.id, or_else=WAY_OUT)


def left(forked: Sequence[StrayTask]) -> list[TasksLeft]:
    """Return the event that the tasks of *forked* are left to another copy of the log; no event if there are none."""
    if not forked:
        return []
    return [TasksLeft(keys=tuple(s.key.text for s in forked), job_ids=tuple(s.job.id for s in forked))]


# ---------------------------------------------------------------- adopting


def adopted(curves: Curves, state: State, lost: Sequence[StrayTask]) -> list[JobAdopted]:
    """Return one event for each task of *lost* that makes it a job of the search again.

    If a controller had stopped the task, the event has its curve and its fate: the points up
    to the stop count, and the pruner is not asked again. The curves of all other tasks are
    read by the first poll, together with the end of those that are over.

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
    """Read the whole curves of *jobs* into `known`; return the iteration from which each says that it resumes."""
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
    """Return the fate of a task that we stopped (None for any other), and the point count of a prune."""
    if task.status != "stopped" or task.status_reason != REASON:
        return None, 0
    return reconcile.settled(task.status_message or "")


def params_of(search: Search, task: Task) -> dict[str, Scalar]:
    """Return the parameters of a job in the types of the space.

    The comment of a task names the parameters that its job was given. Without a comment
    they are those of the space, and those that differ from the base task.
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
    """Return the value that is stored as *text*; of two such values (None and ""), the one of type *kind*."""
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
        return text  # somebody edited it on the server; it is kept as it is
