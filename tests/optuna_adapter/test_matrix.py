"""Each sampler and pruner: a kept view and a new one, a killed search and one left alone, this process and another."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from eventhpo.core.fold.codec import encode
from eventhpo.core.fold.evolve import fold
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.adapter import OptunaAdapter, decided
from eventhpo.optuna_adapter.catalogue import CATALOGUE
from replay.decide.check_prefixes import check_prefixes
from tests.crash.scenarios import Scenario
from tests.crash.test_crash_sweep import crashed, finish, left_alone, parted
from tests.memory import MEMORY
from tests.optuna_adapter import samples


def of_pruner(name: str) -> Scenario:
    return samples.scenario(samples.RANDOM, samples.PRUNERS[name], seed=31, jobs=9, asks=samples.ABORT)


SEARCHES: Mapping[str, Callable[[], Scenario]] = {name: partial(samples.made, name) for name in samples.SAMPLERS} | {
    name: partial(of_pruner, name) for name in samples.PRUNERS
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def test_every_supported_sampler_pruner_crossover_and_mutation_is_here() -> None:
    whole = str(samples.PRUNERS) + "".join(str(samples.SAMPLERS[name]()) for name in with_packages())
    for role, parts in CATALOGUE.items():
        for name in parts:
            assert f"'{name}'" in whole or name == "GPSampler", f"no search here has the {role} {name}"


def with_packages() -> list[str]:
    return [name for name in samples.SAMPLERS if name != "gaussian process"]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_kept_view_answers_as_one_made_anew_and_so_does_a_search_that_was_killed(name: str, folder: Path) -> None:
    scenario = SEARCHES[name]()
    alone, points = left_alone(folder, scenario)
    rows = list(read(alone).rows)

    asker, count = None, 0
    for state, question, row in samples.questions(rows):
        asker = asker or OptunaAdapter(state)
        kept, anew = asker.answer(question), decided(state, question)
        assert list(map(encode, kept)) == list(map(encode, anew)), row.seq
        assert encode(kept[0]) == encode(row.event), row.seq
        if count % 25 == 0:
            folded = decided(fold(rows[: row.seq - 1]), question)
            assert list(map(encode, folded)) == list(map(encode, kept)), row.seq
        count += 1
    assert count > 15

    at = random.Random(name).randint(points // 4, points * 3 // 4)
    torn = folder / "torn.db"
    assert crashed(torn, scenario, at)
    finish(torn, scenario)
    assert parted(alone, torn) is None


AGAIN = """
import sys
from pathlib import Path
from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
for path in sys.argv[1:]:
    checks = list(check_prefixes(read(Path(path)).rows))
    print(sum(c.decision for c in checks), [c.divergence.seq for c in checks if c.divergence])
"""


def test_another_process_with_another_hash_seed_decides_alike(folder: Path) -> None:
    names = ["tpe in groups, told of what runs", "cma-es with margin", "nsga3, two objectives", "halton", "grid"]
    names += ["hyperband by itself", "wilcoxon", "brute force"]
    logs = [folder / f"{n}.db" for n in range(len(names))]
    for log, name in zip(logs, names, strict=True):
        finish(log, SEARCHES[name]())
    here = [f"{sum(c.decision for c in check_prefixes(read(log).rows))} []" for log in logs]
    env = os.environ | {"PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu"}
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, *map(str, logs)], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == here
