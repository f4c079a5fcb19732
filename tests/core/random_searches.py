"""Searches drawn at random: jobs that fail, hang, get lost, resume, refuse and come back."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from hypothesis import strategies as st

from eventhpo.core.search.spec import ComponentConfig, Scalar, Search
from eventhpo.testing.searches import search
from eventhpo.testing.simulated import SECOND, CutPoint, Script, Scripts, SetBy

PRUNERS = (
    ComponentConfig("NopPruner"),
    ComponentConfig("MedianPruner", {"n_startup_trials": 1}),
    ComponentConfig("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2}),
    ComponentConfig("SuccessiveHalvingPruner"),
    ComponentConfig("HyperbandPruner"),
)


@st.composite
def searches(draw: st.DrawFn, workers: st.SearchStrategy[int] = st.integers(1, 4)) -> Search:
    """Draw a small search that ends."""
    most = draw(st.one_of(st.none(), st.integers(1, 6)))
    return search(
        pruner=draw(st.sampled_from(PRUNERS)),
        seed=draw(st.integers(0, 2**32 - 1)),
        max_iteration_per_job=most,
        min_iteration_per_job=draw(st.one_of(st.none(), st.integers(1, most or 3))),
        nan_policy=draw(st.sampled_from(("fail", "worst"))),
        num_concurrent_workers=draw(workers),
        total_max_jobs=draw(st.integers(1, 7)),
        time_limit_per_job=draw(st.one_of(st.just(1.0), st.just(0.2))),
        max_failures_per_trial=draw(st.integers(0, 2)),
        max_lost_per_trial=draw(st.integers(0, 2)),
        patience=draw(st.one_of(st.none(), st.integers(1, 4))),
        compute_time_limit=draw(st.one_of(st.none(), st.floats(0.2, 9.0))),
    )


def scripts(seed: int, *, tame: bool = False) -> Scripts:
    """Return jobs that are a function of *seed*, trial and attempt; *tame* ones always end by themselves, apart."""

    def script(trial: int, attempt: int, params: dict[str, Scalar]) -> Script:
        chance = random.Random(f"{seed}/{trial}/{attempt}")
        points = _points(chance, start=chance.choice((0, 1, 1)))
        how = chance.choices(("completed", "failed", "lost"), (8, 2, 1))[0]
        if tame:
            return Script(points=points, how=how, ends_apart=True, overrun=chance.randint(0, 3))
        return Script(
            points=points,
            how=how,
            hangs=chance.random() < 0.15,
            ends_apart=chance.random() < 0.5,
            overrun=chance.randint(0, 3),
            queued=chance.random() < 0.3,
            resumes_from=chance.choice((None, None, 1, 2)) if attempt else None,
            refusals={e: chance.randint(1, 3) for e in ("draft", "launch", "stop", "cancel") if chance.random() < 0.1},
            in_doubt=chance.random() < 0.3,
            launch_fails_at=2 if chance.random() < 0.05 else None,
            returns=((7, 0.5), (8, 0.25)) if chance.random() < 0.5 else (),
            others=("time",) if chance.random() < 0.3 else (),
        )

    return script


def _points(chance: random.Random, start: int) -> tuple[tuple[int, float], ...]:
    points, iteration = [], start
    for _ in range(chance.randint(0, 8)):
        value = chance.choice((chance.random(), round(chance.random(), 1), math.nan if chance.random() < 0.1 else 0.5))
        points.append((iteration, value))
        iteration += chance.choice((1, 1, 1, 2, 0, -1))
    return tuple(points)


def cuts(seed: int) -> CutPoint:
    """Return how polls cut curves, a function of *seed* and the cursor."""
    return lambda trial, attempt, cursor: random.Random(f"{seed}/{trial}/{attempt}/{cursor}").randint(1, 4)


def steps(seed: int) -> SetBy | None:
    """Return how the wall clock is set as the log goes on, now and then, by up to a year; None for no boot clock."""
    if seed % 3 == 0:
        return None
    return lambda rows: random.Random(f"{seed}/{rows // 9}").choice([0, 60, 3600, -3600, -31_536_000]) * SECOND


Draws = Callable[[st.DrawFn], Search]
