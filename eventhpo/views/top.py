"""The best trials as rows in the shape of ClearML's `get_top_experiments_details`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from eventhpo.core.fold.curve import Curve, precise, spread
from eventhpo.core.fold.event_parts import ExactValue, OtherSeries
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.core.scheduler import rank
from eventhpo.core.search.space import job_names
from eventhpo.core.search.spec import ClearmlTasks, Num, Objective, Scalar, clearml_text, to_num
from eventhpo.errors import Usage
from eventhpo.views import formatting, same_code, unused_reports
from eventhpo.views.statuses import TrialStatus, trial_status
from eventhpo.views.unused_reports import Unused

MARK = "*"  # at a trial whose value does not rest on all that it reported


class Metric(msgspec.Struct, frozen=True):
    """What was reported of one series, with the keys that ClearML gives it; None where the log does not say."""

    metric: str
    variant: str
    value: Num
    min_value: Num
    max_value: Num
    min_value_iteration: int | None = None
    max_value_iteration: int | None = None
    first_value: Num | None = None
    first_value_iteration: int | None = None
    count: int | None = None
    mean_value: Num | None = None
    x_axis_label: str | None = None  # nothing reports one


class RankedTrial(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trial as ClearML shows an experiment, with its number and status.

    All of its last attempt: `task_id` is that job's, None before it has one.
    """

    task_id: str | None
    hyper_parameters: dict[str, str]
    metrics: dict[str, Metric]
    trial: int
    status: TrialStatus
    unused: Unused | None = None  # of its last attempt: reports that no value rests on
    imported: str | None = None  # the file or study that it was imported from
    link: str | None = None  # the task's page on its server


def rows(
    state: State,
    k: int | None = None,
    *,
    all_metrics: bool = False,
    only_completed: bool = False,
    include_failed: bool = False,
    include_imported: bool = False,
    only_same_code: bool = False,
) -> list[RankedTrial]:
    """Return the best *k* trials, best first, as `rank.top` orders them.

    The metrics are the objectives, with *all_metrics* everything that was reported.
    With *only_same_code* only the trials that ran the same code as the best of them.

    Raises:
        Usage: *only_same_code*, and the log does not know the code of the best, or it ran more than one.
    """
    best = rank.top(
        state,
        None if only_same_code else k,
        only_completed=only_completed,
        include_failed=include_failed,
        include_imported=include_imported,
    )
    if only_same_code:
        same = same_code.with_the_code_of_the_best(best)
        if same is None:
            raise Usage(
                f"the code of trial {best[0].number}, the best, is not known: the log has no hash of its script and no "
                "commit, or no digest of the changes to it, or its attempts ran different code; leave out --same-code"
            )
        best = same[:k]
    return [row(state, trial, all_metrics=all_metrics) for trial in best]


def more(state: State, k: int, *, only_completed: bool, include_failed: bool, include_imported: bool) -> int:
    """Return how many trials `rows` would list after the best *k*."""
    listed = rank.listed(
        state, only_completed=only_completed, include_failed=include_failed, include_imported=include_imported
    )
    return max(0, len(listed) - k)


def best(state: State) -> RankedTrial | None:
    """Return the first row of all, None before there is a trial."""
    return next(iter(rows(state, 1)), None)


def row(state: State, trial: Trial, *, all_metrics: bool = False, all_hyper_parameters: bool = False) -> RankedTrial:
    """Return *trial* as a row, with *all_hyper_parameters* those that are not searched too."""
    metrics = list(_imported(state, trial)) if trial.last is None else list(_metrics(state, trial.last, all_metrics))
    return RankedTrial(
        task_id=None if trial.last is None else trial.last.job_id,
        hyper_parameters=_hyper_parameters(state, trial, all_hyper_parameters),
        metrics={f"{m.metric}/{m.variant}": m for m in metrics},
        trial=trial.number,
        status=trial_status(trial),
        unused=None if trial.last is None else unused_reports.unused(state, trial.last),
        imported=state.source_of(trial),
        link=formatting.link(state.search, None if trial.last is None else trial.last.job_id),
    )


def _hyper_parameters(state: State, trial: Trial, all_of_them: bool) -> dict[str, str]:
    given = {name: clearml_text(value) for name, value in formatting.ordered(state.search, trial.params).items()}
    if not all_of_them:
        return given
    jobs = state.search.jobs
    base = jobs.base.hyper_parameters if isinstance(jobs, ClearmlTasks) and jobs.base is not None else ()
    had = trial.last.ended.hyper_parameters if trial.last is not None and trial.last.ended is not None else {}
    return given | ({p.full_name: p.value for p in base} | given | had)


def _metrics(state: State, attempt: Attempt, all_metrics: bool) -> Iterator[Metric]:
    for objective, curve in zip(state.search.objectives, attempt.curves, strict=True):
        if curve.values:
            yield _of_curve(objective, curve, () if attempt.ended is None else attempt.ended.exact)
    if all_metrics:
        yield from map(_of_other, attempt.others.values())


def _of_curve(objective: Objective, curve: Curve, exact: Sequence[ExactValue]) -> Metric:
    least, greatest = (curve.values.index(v) if not math.isnan(v) else 0 for v in spread(curve.values))
    last, low, high, first = (
        to_num(precise(objective, curve, at, exact)) for at in (len(curve.values) - 1, least, greatest, 0)
    )
    return Metric(
        metric=objective.title,
        variant=objective.series,
        value=last,
        min_value=low,
        max_value=high,
        min_value_iteration=curve.iterations[least],
        max_value_iteration=curve.iterations[greatest],
        first_value=first,
        first_value_iteration=curve.iterations[0],
        count=max(curve.reported, len(curve.values)),
        mean_value=to_num(sum(curve.values) / len(curve.values)),
    )


def _of_other(series: OtherSeries) -> Metric:
    return Metric(
        metric=series.title,
        variant=series.series,
        value=series.last,
        min_value=series.min,
        max_value=series.max,
        min_value_iteration=series.min_iteration,
        max_value_iteration=series.max_iteration,
        first_value=series.first,
        first_value_iteration=series.first_iteration,
        count=series.count,
        mean_value=series.mean,
    )


def _imported(state: State, trial: Trial) -> Iterator[Metric]:
    """Yield the values of an imported trial: what it was told, and the range of what it had reported."""
    for objective, value in zip(state.search.objectives, rank.values(state, trial), strict=True):
        if value is not None and trial.imported is not None:
            curve = [float(v) for v in trial.imported.reported] if state.single else []
            least, greatest = spread([*curve, value])
            yield Metric(objective.title, objective.series, to_num(value), to_num(least), to_num(greatest))


def describe_value(state: State, trial: Trial) -> str:
    """Return what ranks *trial*, `title/series = value` for each objective."""
    pairs = zip(state.search.objectives, rank.values(state, trial), strict=True)
    return ", ".join(f"{formatting.metric(o)} = {_number(v)}" for o, v in pairs)


def describe_trial(state: State, trial: Trial) -> str:
    """Return *trial* with its value and parameters in one line."""
    given = formatting.params(formatting.ordered(state.search, trial.params))
    return f"trial {trial.number}: {describe_value(state, trial)}  {given}"


def describe_front(state: State, trials: Sequence[Trial]) -> str | None:
    """Return which of *trials* no other one of them beats in all objectives, None if it is one, or none."""
    front = rank.pareto_front(state, trials)
    if len(front) < 2:
        return None
    numbers = formatting.named_some([str(trial.number) for trial in front], 10)
    return f"{len(front)} trials, none better in all objectives: {numbers}; of them {describe_trial(state, front[0])}"


def _number(value: float | None) -> str:
    return formatting.number(None if value is None else to_num(value))


def table(state: State, ranked: Sequence[RankedTrial]) -> list[str]:
    """Return *ranked* as the lines of an aligned table, a headline first, then what marked trials stand for."""
    return [*aligned(cells(state, ranked)), *_marked(state, ranked)]


def cells(state: State, ranked: Sequence[RankedTrial]) -> list[list[str]]:
    """Return *ranked* as a headline and a list of cells for each trial, as people read them."""
    objectives = [formatting.metric(o) for o in state.search.objectives]
    others = sorted({name for r in ranked for name in r.metrics if name not in objectives})
    names = _names(state, ranked)
    head = ["rank", "trial", "status", *map(formatting.line, (*objectives, *others, *names))]
    lines = [
        [
            str(place),
            f"{r.trial}{MARK * (r.unused is not None)}",
            _status(r),
            *_values(state, r),
            *_others(r, others),
            *_parameters(state, r.trial, names),
        ]
        for place, r in enumerate(ranked, 1)
    ]
    if isinstance(state.search.jobs, ClearmlTasks):
        head.append("task")
        for r, line in zip(ranked, lines, strict=True):
            line.append(formatting.task(state.search, r.task_id) or "-")
    return [head, *lines]


def exact_table(state: State, ranked: Sequence[RankedTrial]) -> tuple[list[str], list[list[Scalar]]]:
    """Return a headline and a row for each of *ranked*, for programs: numbers with all digits, None for nothing.

    The columns: rank, trial, status, the objectives, the other metrics that are there, the parameters, task.
    """
    objectives = [f"{o.title}/{o.series}" for o in state.search.objectives]
    others = sorted({name for r in ranked for name in r.metrics if name not in objectives})
    names = list(dict.fromkeys((*job_names(state.search.space), *(n for r in ranked for n in r.hyper_parameters))))
    head = ["rank", "trial", "status", *objectives, *others, *names, "task"]
    rows = [
        [
            place,
            r.trial,
            _status(r),
            *rank.values(state, state.trials[r.trial]),
            *(r.metrics[name].value if name in r.metrics else None for name in others),
            *(state.trials[r.trial].params.get(name) for name in names),
            r.task_id,
        ]
        for place, r in enumerate(ranked, 1)
    ]
    return head, rows


def _status(ranked: RankedTrial) -> str:
    return ranked.status if ranked.imported is None else f"{ranked.status} (from {formatting.line(ranked.imported)})"


def _marked(state: State, ranked: Sequence[RankedTrial]) -> Iterator[str]:
    """Yield what each mark means: which reports of a trial its value does not rest on."""
    for r in ranked:
        last = state.trials[r.trial].last
        if r.unused is not None and last is not None:
            yield f"{MARK} trial {r.trial}: {unused_reports.describe_unused(state, last)}"


def _values(state: State, ranked: RankedTrial) -> list[str]:
    return [_number(v) for v in rank.values(state, state.trials[ranked.trial])]


def _others(ranked: RankedTrial, names: Sequence[str]) -> list[str]:
    return [formatting.number(ranked.metrics[name].value if name in ranked.metrics else None) for name in names]


def _names(state: State, ranked: Sequence[RankedTrial]) -> list[str]:
    """Return the parameters of the space; of a study, which has none, those of the trials in their order."""
    if state.study is None:
        return list(job_names(state.search.space))
    there = {name for r in ranked for name in state.trials[r.trial].params}
    return [name for name in dict.fromkeys(n for trial in state.trials for n in trial.params) if name in there]


def _parameters(state: State, trial: int, names: Sequence[str]) -> list[str]:
    given = state.trials[trial].params
    return [formatting.scalar(given[name]) if name in given else "-" for name in names]


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return *lines* of cells as text with columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip() for cells in lines]
