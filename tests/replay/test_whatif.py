"""Each cell of what-if, by hand: what is known, what is not, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest

from eventhpo.core.fold.event_parts import AdoptedCurve
from eventhpo.core.fold.events import JobAdopted, SearchEnding
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import ComponentConfig, Objective, Search
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log.reader import read
from eventhpo.testing.searches import LOSS, search, simulate
from eventhpo.testing.simulated import Script
from replay import whatif
from replay.whatif import Row, WhatIf
from replay.whatif.correlation import ranks, spearman
from replay.whatif.counterfactual import Counterfactual
from replay.whatif.evaluate import of_rows
from replay.whatif.orders import order
from replay.whatif.rules import pruner, text_of
from tests.optuna_adapter.test_own import Above, Halves, rows_of

GOOD, EVEN, LATE = (4.0, 3.0, 2.0, 1.0), (5.0, 5.0, 5.0, 5.0), (9.0, 0.5, 0.5, 0.5)
STEADY = (3.0, 3.0, 3.0, 3.0)
CURVES = (GOOD, EVEN, LATE)
ABOVE_6 = ComponentConfig("ThresholdPruner", {"upper": 6.0})
ABOVE_4 = ComponentConfig("ThresholdPruner", {"upper": 4.5})
ABOVE_20 = ComponentConfig("ThresholdPruner", {"upper": 20.0})
MEDIAN = ComponentConfig("MedianPruner", {"n_startup_trials": 1})
NOP = ComponentConfig("NopPruner")


def log(path: Path, curves: Sequence[Sequence[float]] | Mapping[tuple[int, int], Script], **more: Any) -> Path:
    """Record a search whose trials report *curves* in turn, from iteration 1, a point a poll, and end by themselves."""

    def script(trial: int, attempt: int, params: object) -> Script:
        if isinstance(curves, Mapping):
            return curves[trial, attempt]
        return Script(points=tuple(enumerate(curves[trial % len(curves)], 1)), ends_apart=True)

    jobs = len({trial for trial, _ in curves}) if isinstance(curves, Mapping) else len(curves)
    what = search(**({"total_max_jobs": jobs} | more))
    simulate(path, what, script, cut=lambda trial, attempt, cursor: 1)
    return path


def row_of(path: Path, curves: Any, asked: ComponentConfig, **more: Any) -> Row:
    return whatif(log(path, curves, **more), [asked]).rows[1]


CASES: dict[str, tuple[dict[str, Any], ComponentConfig, dict[str, Any]]] = {
    "a prune that the record does not have is known exactly": (
        {"curves": CURVES},
        ABOVE_6,
        {
            "known": True,
            "why": "",
            "totals": (3, 1, 9, 3),
            "unknown": (0, 0, 0, 0),
            "gone_on": 0,
            "best": (True, "", 0, 1.0),
            "regret": (True, 1, 0.5, ""),
            "correlation": (-0.5, 1, "", ((1, 1, 3, -0.5),)),
            "search": (True, 3, None, ""),
            "trials": {0: (True, False, None, 4, 0), 1: (True, False, None, 4, 0), 2: (True, True, 1, 1, 3)},
        },
    ),
    "a prune that the pruner does not make ends what is known of that trial": (
        {"curves": CURVES, "pruner": ABOVE_6},
        NOP,
        {
            "known": False,
            "why": "trial 2 would have gone on where the record stopped it",
            "totals": (2, 0, 8, 0),
            "unknown": (1, 0, 0, 0),
            "gone_on": 1,
            "best": (False, "trial 2 may be better", 0, 1.0),
            "regret": (False, None, 0.0, ""),
            "correlation": (None, 0, "nothing is cut", ()),
            "search": (False, 3, None, "the end of trial 2 is not known"),
            "trials": {2: (False, None, None, None, None)},
        },
    ),
    "a pruner that agrees where it must and stops another one earlier": (
        {"curves": CURVES, "pruner": ABOVE_6},
        MEDIAN,
        {
            "known": True,
            "why": "",
            "totals": (3, 2, 6, 3),
            "unknown": (0, 0, 0, 0),
            "gone_on": 0,
            "best": (True, "", 0, 1.0),
            "regret": (False, None, 0.0, ""),
            "correlation": (
                None,
                0,
                "fewer than 3 completed trials reach a cut, or their values are equal",
                ((1, 2, 2, None),),
            ),
            "search": (True, 3, None, ""),
            "trials": {1: (True, True, 1, 1, 3), 2: (True, True, 1, 1, 0)},
        },
    ),
    "a verdict that compares with a trial that goes on is not known": (
        {"curves": (GOOD, EVEN, STEADY), "pruner": ABOVE_4},
        ComponentConfig("MedianPruner", {"n_startup_trials": 1, "n_warmup_steps": 2}),
        {
            "known": False,
            "why": "trial 1 would have gone on where the record stopped it; trial 2 is compared with what is not known",
            "totals": (1, 0, 4, 0),
            "unknown": (2, 1, 3, 1),
            "gone_on": 1,
            "best": (False, "trials 1, 2 may be better", 0, 1.0),
            "regret": (False, None, 0.0, ""),
            "correlation": (None, 0, "nothing is cut", ()),
            "search": (False, 3, None, "the end of trials 1, 2 is not known"),
            "trials": {1: (False, None, None, None, None), 2: (False, True, 3, 3, 1)},
        },
    ),
    "a prune at the limit is too late": (
        {"curves": ((1.0, 1.0, 1.0, 9.0),), "max_iteration_per_job": 4},
        ABOVE_6,
        {"known": True, "totals": (1, 0, 4, 0), "trials": {0: (True, False, None, 4, 0)}},
    ),
    "points below min_iteration_per_job are not asked": (
        {"curves": (LATE, (9.0, 9.0, 9.0)), "min_iteration_per_job": 2},
        ABOVE_6,
        {"known": True, "totals": (2, 1, 6, 1), "trials": {0: (True, False, None, 4, 0), 1: (True, True, 2, 2, 1)}},
    ),
    "a retry of a trial that is pruned before never is": (
        {
            "curves": {
                (0, 0): Script(points=((1, 9.0), (2, 1.0)), how="failed", ends_apart=True),
                (0, 1): Script(points=((1, 1.0), (2, 1.0), (3, 1.0)), ends_apart=True),
            },
        },
        ABOVE_6,
        {
            "known": True,
            "totals": (1, 1, 1, 4),
            "best": (True, "", None, None),
            "regret": (True, 1, None, "no trial would have completed"),
            "trials": {0: (True, True, 1, 1, 4)},
        },
    ),
    "a pruned retry keeps what the attempt before it cost": (
        {
            "curves": {
                (0, 0): Script(points=((1, 1.0), (2, 1.0)), how="failed", ends_apart=True),
                (0, 1): Script(points=((3, 9.0), (4, 1.0)), ends_apart=True, resumes_from=2),
            },
        },
        ABOVE_6,
        {"known": True, "totals": (1, 1, 3, 1), "trials": {0: (True, True, 3, 3, 1)}},
    ),
    "where none completed there is no winner": (
        {"curves": ((9.0, 9.0),), "pruner": ABOVE_6},
        ABOVE_6,
        {
            "known": True,
            "totals": (1, 1, 1, 0),
            "best": (True, "", None, None),
            "regret": (None, None, None, "no trial of the record completed"),
        },
    ),
    "what is saved would have paid for more jobs": (
        {"curves": CURVES, "max_iteration_per_job": 4, "sampler": ComponentConfig("RandomSampler")},
        ComponentConfig("ThresholdPruner", {"upper": 4.9}),
        {
            "known": True,
            "totals": (3, 2, 6, 6),
            "search": (False, 3, None, "what is saved would have paid for more (1)"),
        },
    ),
    "with one worker the sampler is asked again, and may say the same": (
        {"curves": CURVES, "sampler": ComponentConfig("TPESampler", {"n_startup_trials": 10})},
        ComponentConfig("ThresholdPruner", {"upper": 4.9}),
        {"known": True, "search": (True, 3, None, "")},
    ),
    "with several workers a sampler that sees the others would have been asked earlier": (
        {
            "curves": (EVEN, GOOD, GOOD),
            "sampler": ComponentConfig("TPESampler", {"n_startup_trials": 10}),
            "num_concurrent_workers": 2,
        },
        ComponentConfig("ThresholdPruner", {"upper": 4.9}),
        {
            "known": True,
            "search": (
                False,
                2,
                "a seq",
                "a slot would have been free earlier, and TPESampler would have seen less of the others",
            ),
        },
    ),
    "a sampler that sees what became of a trial that goes on": (
        {"curves": (LATE, GOOD), "pruner": ABOVE_6, "sampler": ComponentConfig("TPESampler", {"n_startup_trials": 10})},
        NOP,
        {"known": False, "search": (False, 1, "a seq", "TPESampler would have seen what became of trial 0")},
    ),
    "a search that would have ended before": (
        {"curves": (EVEN, EVEN, LATE, EVEN, EVEN, EVEN), "patience": 2},
        ABOVE_6,
        {
            "known": True,
            "totals": (5, 1, 17, 3),
            "search": (False, 4, "a seq", "the search would have ended before it (patience)"),
        },
    ),
}


CASES |= {
    "a search that would not have ended there": (
        {"curves": (EVEN, LATE), "target_value": 0.5, "total_max_jobs": 9},
        ABOVE_6,
        {
            "known": True,
            "totals": (2, 1, 5, 3),
            "search": (False, 2, "a seq", "the search would not have ended there (target_value)"),
        },
    ),
    "a job that the compute time limit stopped would have gone on": (
        {"curves": (LATE, EVEN * 9), "compute_time_limit": 0.4},
        ABOVE_6,
        {
            "known": False,
            "why": "trial 1 would have gone on where the record stopped it",
            "totals": (1, 1, 1, 3),
            "gone_on": 1,
        },
    ),
    "savings of a search that a limit of time ended": (
        {"curves": (LATE, GOOD), "wall_time_limit": 0.7, "total_max_jobs": 9},
        ABOVE_6,
        {"search": (False, 3, None, "what is saved would have gone into more jobs")},
    ),
}


def cells(row: Row, trials: Sequence[int]) -> dict[str, Any]:
    def sums(t: Any) -> tuple[int, ...]:
        return (t.trials, t.pruned, t.iterations, t.iterations_saved)

    of = {t.trial: (t.known, t.pruned, t.iteration, t.iterations, t.iterations_saved) for t in row.trials}
    seq = None if row.search.seq is None else "a seq"
    return {
        "known": row.known,
        "why": row.why,
        "totals": sums(row.totals),
        "unknown": sums(row.unknown),
        "gone_on": row.gone_on,
        "best": (row.best.known, row.best.why, row.best.trial, row.best.value),
        "regret": (row.regret.killed, row.regret.iteration, row.regret.cost, row.regret.why),
        "correlation": (
            row.correlation.value,
            row.correlation.cuts,
            row.correlation.why,
            tuple((a.iteration, a.cuts, a.trials, a.value) for a in row.correlation.at),
        ),
        "search": (row.search.known, row.search.trials, seq, row.search.why),
        "trials": {n: of[n] for n in trials},
    }


@pytest.mark.parametrize("name", CASES)
def test_every_cell_is_what_it_is_by_hand(name: str, tmp_path: Path) -> None:
    given, asked, expected = CASES[name]
    given = dict(given)
    row = row_of(tmp_path / "search.db", given.pop("curves"), asked, **given)
    found = cells(row, list(expected.get("trials", {})))
    assert {key: found[key] for key in expected} == expected


def test_another_suggestion_is_found_by_asking_again(tmp_path: Path) -> None:
    """TPE splits trials by their values: one that is pruned at its first point is another one to it."""
    curves = [(float(9 - k % 5), float(k % 7), float(k % 3)) for k in range(12)]
    path = log(tmp_path / "search.db", curves, sampler=ComponentConfig("TPESampler", {"n_startup_trials": 3}))
    row = whatif(path, [ComponentConfig("ThresholdPruner", {"upper": 8.5})]).rows[1]
    assert row.known
    assert row.search.why == "TPESampler would have suggested another point"
    assert row.search.seq is not None
    before = [t for t in row.trials if t.trial < row.search.trials]
    assert row.search.totals.iterations_saved == sum(t.iterations_saved or 0 for t in before)
    assert row.search.totals.iterations_saved < row.totals.iterations_saved


def test_compute_time_is_spread_evenly_over_the_iterations_of_a_job(tmp_path: Path) -> None:
    path = log(tmp_path / "search.db", CURVES)
    state = fold(read(path).rows)
    ended = state.trials[2].attempts[0]
    assert ended.ended is not None
    assert ended.ended.finished_at is not None
    assert ended.started_at is not None
    ran = ended.ended.finished_at - ended.started_at
    row = whatif(path, [ABOVE_6]).rows[1]
    assert row.totals.compute_time_saved == ran * 3 // 4


def test_with_several_objectives_every_pruner_gives_the_record(tmp_path: Path) -> None:
    other = Objective("validation", "time", "min")
    points = {(0, 0): Script(points=((1, 9.0, 0), (1, 1.0, 1)))}
    found = whatif(log(tmp_path / "search.db", points, objectives=(LOSS, other)), [ABOVE_6], orders=3)
    assert found.rows[1].trials == found.rows[0].trials
    assert found.rows[1].orders is None
    assert "several objectives" in found.notes[0]
    assert found.winner is None


def test_a_search_that_is_not_finished_says_so(tmp_path: Path) -> None:
    path = log(tmp_path / "search.db", CURVES)
    found = whatif(path, [ABOVE_6], at=len(read(path).rows) // 2)
    assert "not finished" in found.notes[0]
    assert found.seq == len(read(path).rows) // 2
    with pytest.raises(Usage, match="999 lies outside the log"):
        whatif(path, [], at=999)


def test_every_prefix_of_a_log_can_be_asked(tmp_path: Path) -> None:
    path = log(tmp_path / "search.db", CURVES, pruner=ABOVE_6, num_concurrent_workers=2)
    rows = read(path).rows
    for end in range(1, len(rows) + 1):
        found = whatif(path, [NOP, MEDIAN], at=end)
        assert [row.totals.trials + row.unknown.trials for row in found.rows[1:]] == [len(found.rows[0].trials)] * 2


def test_a_sampler_or_pruner_that_is_not_optunas_is_not_asked_again(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "sampler.db", sampler=Halves(), num_concurrent_workers=1)
    row = of_rows(rows, [ComponentConfig("ThresholdPruner", {"upper": 0.0})]).rows[1]
    assert row.totals.pruned == len(row.trials)
    assert "it cannot be asked from the log alone" in row.search.why
    rows = rows_of(tmp_path / "pruner.db", pruner=Above(0.7))
    recorded, pruned, smaller = of_rows(rows, [NOP], max_total_jobs=1).rows
    assert recorded.totals.pruned == pruned.gone_on > 0
    assert not smaller.known
    assert "it cannot be asked from the log alone" in smaller.why


@pytest.mark.parametrize("fate", [None, "pruned"])
def test_a_job_that_was_taken_up_again_behind_a_lost_tail_is_not_known(fate: Any, tmp_path: Path) -> None:
    rows = read(log(tmp_path / "search.db", CURVES)).rows
    end = next(k for k, row in enumerate(rows) if isinstance(row.event, SearchEnding))
    again = JobAdopted(
        trial=3,
        attempt=0,
        key="k",
        job_id="sim-9",
        params={"General/x": 0.5},
        slot=0,
        launched=True,
        curves=(AdoptedCurve(title=LOSS.title, series=LOSS.series, iterations=(1, 2), values=(9.0, 9.0)),),
        fate=fate,
        judged=2 if fate else 0,
    )
    found = of_rows([*rows[:end], msgspec.structs.replace(rows[end], event=again)], [NOP, ABOVE_6], max_total_jobs=3)
    for row in found.rows[1:3]:
        assert {t.trial: t.known for t in row.trials} == {0: True, 1: True, 3: False}  # the third had no job yet
        assert "had lost its tail" in row.trials[-1].why


# ---------------------------------------------------------------- orders


def by_ask_and_tell(what: Search, curves: Sequence[Sequence[float]], args: dict[str, Any]) -> tuple[int, int]:
    """Return how many of *curves* a stock study prunes, one after another, and the points that this saves."""
    sampler, judge = optuna.samplers.RandomSampler(seed=1), optuna.pruners.MedianPruner(**args)
    study = optuna.create_study(study_name=what.name, sampler=sampler, pruner=judge)
    pruned = saved = 0
    for curve in curves:
        trial = study.ask()
        for step, value in enumerate(curve, 1):
            trial.report(value, step)
            if trial.should_prune():
                pruned, saved = pruned + 1, saved + len(curve) - step
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve[-1])
    return pruned, saved


def test_orders_are_what_a_stock_study_gives_in_each(tmp_path: Path) -> None:
    curves = [tuple(((k * 7 + i * 3) % 11) / (i + 1) for i in range(5)) for k in range(9)]
    path = log(tmp_path / "search.db", curves)
    state = fold(read(path).rows)
    found = whatif(path, [MEDIAN], orders=20).rows[1].orders
    assert found is not None
    told = []
    for k in range(20):
        shuffled = [curves[t.number] for t in order(state, state.trials, k)]
        told.append(by_ask_and_tell(state.search, shuffled, MEDIAN.args))
    pruned, saved = sorted(p for p, _ in told), sorted(s for _, s in told)
    assert (found.orders, found.known, found.seed, found.of) == (20, 20, 7, 45)
    assert found.pruned == (pruned[0], (pruned[9] + pruned[10]) / 2, pruned[-1])
    assert found.iterations_saved == (saved[0], (saved[9] + saved[10]) / 2, saved[-1])
    assert pruned[0] < pruned[-1]


def test_orders_are_a_function_of_the_seed(tmp_path: Path) -> None:
    path = log(tmp_path / "a.db", CURVES * 3)
    other = log(tmp_path / "b.db", CURVES * 3, seed=8)
    states = [fold(read(p).rows) for p in (path, other)]
    first, second = ([[t.number for t in order(s, s.trials, k)] for k in range(4)] for s in states)
    assert first != second
    assert len({tuple(one) for one in first}) == 4
    assert whatif(path, [MEDIAN], orders=5) == whatif(path, [MEDIAN], orders=5)


def test_an_order_in_which_a_trial_goes_on_is_not_known(tmp_path: Path) -> None:
    found = row_of(tmp_path / "search.db", CURVES, NOP, pruner=ABOVE_6)
    assert found.orders is None
    spread = whatif(tmp_path / "search.db", [NOP], orders=4).rows[1].orders
    assert spread is not None
    assert (spread.known, spread.iterations_saved, spread.pruned, spread.killed) == (0, None, None, 0)
    assert "goes on" in spread.why


# ---------------------------------------------------------------- a smaller budget

BUDGETS: dict[str, tuple[dict[str, Any], int, dict[str, Any]]] = {
    "a number of trials": (
        {"curves": CURVES},
        2,
        {
            "known": True,
            "totals": (2, 0, 8, 4),
            "best": (True, "", 0, 1.0),
            "regret": (True, None, 0.5, ""),
            "search": (True, 2, None, ""),
        },
    ),
    "all of it": ({"curves": CURVES}, 3, {"known": True, "totals": (3, 0, 12, 0), "regret": (False, None, 0.0, "")}),
    "iterations that are used up": (
        {"curves": CURVES, "max_iteration_per_job": 4},
        1,
        {"known": True, "totals": (1, 0, 4, 8), "search": (True, 1, None, "")},
    ),
    "room for another job that the record starts earlier": (
        {
            "curves": (LATE, (1.0, 9.0, 1.0, 1.0), GOOD, EVEN),
            "pruner": ABOVE_6,
            "max_iteration_per_job": 4,
            "num_concurrent_workers": 3,
        },
        3,
        {
            "known": True,
            "totals": (3, 2, 7, 7),
            "search": (
                False,
                3,
                "a seq",
                "jobs that end early leave room for another job, which the record does not have at that time",
            ),
        },
    ),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_smaller_budget_is_the_beginning_of_the_record(name: str, tmp_path: Path) -> None:
    given, jobs, expected = BUDGETS[name]
    given = dict(given)
    path = log(tmp_path / "search.db", given.pop("curves"), **given)
    [_, row] = whatif(path, max_total_jobs=jobs).rows
    found = cells(row, [])
    assert {key: found[key] for key in expected} == expected
    assert row.kind == "budget"


def test_a_search_with_the_smaller_budget_comes_to_what_its_row_says(tmp_path: Path) -> None:
    for jobs in range(1, 6):
        curves = [tuple(((k * 7 + i * 3) % 11) / (i + 1) for i in range(4)) for k in range(30)]
        more: dict[str, Any] = {"max_iteration_per_job": 4, "pruner": MEDIAN, "num_concurrent_workers": 1}
        long = log(tmp_path / f"long{jobs}.db", curves, **(more | {"total_max_jobs": 6}))
        short = log(tmp_path / f"short{jobs}.db", curves, **(more | {"total_max_jobs": jobs}))
        row, real = whatif(long, max_total_jobs=jobs).rows[1], whatif(short).rows[0]
        assert row.search.known
        assert (row.totals.trials, row.totals.pruned, row.totals.iterations) == (
            real.totals.trials,
            real.totals.pruned,
            real.totals.iterations,
        )
        assert row.best.value == real.best.value


@pytest.mark.parametrize("jobs", [0, 4])
def test_a_budget_that_is_none_or_larger_is_refused(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="expected from 1 to 3"):
        whatif(log(tmp_path / "search.db", CURVES), max_total_jobs=jobs)


# ---------------------------------------------------------------- fewer workers

TWO: dict[str, Any] = {"curves": CURVES, "num_concurrent_workers": 2}
WORKERS: dict[str, tuple[dict[str, Any], bool, str]] = {
    "a blind sampler, no pruner": (TWO, True, ""),
    "a pruner that looks at its own curve and never prunes": (TWO | {"pruner": ABOVE_20}, True, ""),
    "a prune": (TWO | {"pruner": ABOVE_6}, False, "whether a prune comes in time"),
    "never more at once": ({"curves": CURVES[:1], "num_concurrent_workers": 2, "pruner": MEDIAN}, True, ""),
    "a sampler that sees the others": (TWO | {"sampler": ComponentConfig("TPESampler")}, False, "TPESampler uses"),
    "a pruner that compares": (TWO | {"pruner": MEDIAN}, False, "MedianPruner compares"),
    "a limit of order": (TWO | {"patience": 9}, False, "patience can end"),
    "a limit of time": (TWO | {"wall_time_limit": 900.0}, False, "wall_time_limit can end"),
    "jobs that end early pay for others": (
        TWO | {"max_iteration_per_job": 5},
        False,
        "jobs that end before max_iteration_per_job",
    ),
    "a trial that failed": (
        {
            "curves": {
                (0, 0): Script(points=((1, 1.0),), how="failed"),
                (0, 1): Script(points=((1, 1.0),), how="failed"),
                (1, 0): Script(points=((1, 1.0),), ends_apart=True),
            },
            "num_concurrent_workers": 2,
        },
        False,
        "failed",
    ),
}


@pytest.mark.parametrize("name", WORKERS)
def test_fewer_workers_are_decided_in_these_cases(name: str, tmp_path: Path) -> None:
    given, known, why = WORKERS[name]
    given = dict(given)
    path = log(tmp_path / "search.db", given.pop("curves"), **given)
    recorded, row = whatif(path, workers=1).rows
    assert (row.kind, row.known) == ("workers", known)
    assert why in row.why
    if known:
        assert row.trials == recorded.trials
        alone = log(tmp_path / "alone.db", CASES_OF[name], **(given | {"num_concurrent_workers": 1}))
        assert [t.outcome for t in whatif(alone).rows[0].trials] == [t.outcome for t in recorded.trials]
        assert whatif(alone).iterations == whatif(path).iterations
    else:
        assert row.totals.trials == 0
        assert {t.known for t in row.trials} == {False}


CASES_OF = {name: given["curves"] for name, (given, _, _) in WORKERS.items()}


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_that_are_none_or_more_are_refused(workers: int, tmp_path: Path) -> None:
    path = log(tmp_path / "search.db", CURVES, num_concurrent_workers=2)
    with pytest.raises(Usage, match="expected 1 to 2"):
        whatif(path, workers=workers)


# ---------------------------------------------------------------- naming a pruner

NAMES: dict[str, ComponentConfig] = {
    "MedianPruner": ComponentConfig("MedianPruner"),
    "MedianPruner:n_startup_trials=2,n_warmup_steps=3": ComponentConfig(
        "MedianPruner", {"n_startup_trials": 2, "n_warmup_steps": 3}
    ),
    "PercentilePruner:percentile=25.0": ComponentConfig("PercentilePruner", {"percentile": 25.0}),
    "HyperbandPruner:max_resource=auto,reduction_factor=4": ComponentConfig(
        "HyperbandPruner", {"max_resource": "auto", "reduction_factor": 4}
    ),
    "PatientPruner:patience=2,wrapped_pruner=MedianPruner": ComponentConfig(
        "PatientPruner", {"patience": 2, "wrapped_pruner": {"name": "MedianPruner"}}
    ),
    'PatientPruner:patience=2,wrapped_pruner={name="MedianPruner",n_startup_trials=1}': ComponentConfig(
        "PatientPruner", {"patience": 2, "wrapped_pruner": {"name": "MedianPruner", "n_startup_trials": 1}}
    ),
    '{"name": "PatientPruner", "patience": 2, "wrapped_pruner": {"name": "NopPruner"}}': ComponentConfig(
        "PatientPruner", {"patience": 2, "wrapped_pruner": {"name": "NopPruner"}}
    ),
}


@pytest.mark.parametrize("text", NAMES)
def test_a_pruner_is_named_by_a_word_its_arguments_or_json(text: str) -> None:
    assert pruner(text) == NAMES[text]
    assert pruner(text_of(pruner(text))) == NAMES[text]


MISTAKES = {
    "MedianPrunner": 'did you mean "MedianPruner"?',
    "MedianPruner:n_startup=2": 'did you mean "n_startup_trials"?',
    "MedianPruner:n_startup_trials=x": "expected a whole number",
    "MedianPruner:n_startup_trials": "expected key=value",
    "MedianPruner:n_startup_trials=1,n_startup_trials=x": "is given twice",
    "PercentilePruner": "as PercentilePruner needs it",
    "PatientPruner:patience=1,wrapped_pruner=Median": 'did you mean "MedianPruner"?',
    '{"name": 3}': "needs the name",
    "{": "not valid JSON",
    "": "a pruner of Optuna's",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_pruner_that_is_none_is_refused_with_what_was_meant(text: str) -> None:
    with pytest.raises(Usage) as error:
        pruner(text)
    assert MISTAKES[text] in str(error.value)


# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), 1.0),
        ((1.0, 2.0, 3.0), (3.0, 2.0, 1.0), -1.0),
        ((1.0, 2.0, 2.0, 4.0), (1.0, 3.0, 2.0, 4.0), 0.9486832980505138),
        ((1.0, 1.0, 1.0), (1.0, 2.0, 3.0), None),
        ((1.0, 2.0), (1.0, 2.0), None),
        ((float("inf"), 1.0, -float("inf")), (3.0, 2.0, 1.0), 1.0),
    ],
)
def test_spearman(a: tuple[float, ...], b: tuple[float, ...], expected: float | None) -> None:
    found = spearman(a, b)
    assert found == expected if expected is None else found == pytest.approx(expected)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks([5.0, 1.0, 5.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]


# ---------------------------------------------------------------- the log and the answer


def test_the_answer_goes_through_json_and_back(tmp_path: Path) -> None:
    found = whatif(log(tmp_path / "search.db", CURVES), [ABOVE_6], max_total_jobs=2, workers=1, orders=2)
    assert msgspec.json.decode(msgspec.json.encode(found), type=WhatIf) == found


def test_totals_are_the_sums_of_their_trials_and_never_mix(tmp_path: Path) -> None:
    curves = [tuple(((k * 7 + i * 3) % 11) / (i + 1) for i in range(5)) for k in range(12)]
    row = row_of(
        tmp_path / "search.db", curves, ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 2}), pruner=MEDIAN
    )
    for totals, known in ((row.totals, True), (row.unknown, False)):
        mine = [t for t in row.trials if t.known is known]
        assert mine
        assert totals.trials == len(mine)
        assert totals.iterations_saved == sum(t.iterations_saved or 0 for t in mine)
        assert totals.pruned == sum(t.pruned is True for t in mine)


def test_a_log_that_is_empty_or_lost_its_beginning_is_damaged(tmp_path: Path) -> None:
    rows = read(log(tmp_path / "search.db", CURVES)).rows
    for wrong in ([], rows[1:]):
        with pytest.raises(DamagedLog):
            Counterfactual(wrong, NOP)


def test_the_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = log(tmp_path / "search.db", CURVES)
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    whatif(path, [ABOVE_6, MEDIAN], max_total_jobs=2, workers=1, orders=2)
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
