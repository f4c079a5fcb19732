"""A class that is not Optuna's own: described by what it is and holds, copied for each decision."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState

from eventhpo.core.search.spec import ComponentConfig
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.object_digest import digest
from eventhpo.optuna_adapter.user_class_record import copy_for, describe, is_foreign, rederivable, same

ROOT = Path(__file__).parents[2]


class Hopping(BaseSampler):
    """Draws from one of each kind of generator."""

    def __init__(self, width: float = 1.0, seed: int | None = None) -> None:
        self.width = width
        self.old = np.random.RandomState(seed)
        self.new = np.random.default_rng(seed)
        self.also_new = self.new
        self.python = random.Random(seed)
        self.lazy = LazyRandomState(seed)
        self.nested = {"inside": [TPESampler(seed=seed)]}

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        drawn = (self.old.rand(), self.new.random(), self.also_new.random(), self.python.random(), self.lazy.rng.rand())
        return self.width * sum(drawn) / len(drawn)


class Derived(TPESampler):
    pass


class Patient(BasePruner):
    def __init__(self, patience: int) -> None:
        self.patience = patience

    def prune(self, study: Any, trial: Any) -> bool:
        return bool(trial.number > self.patience)


class OutOfReach(RandomSampler):
    """Keeps its randomness where no copy gets at it."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return random.random()


def decide(sampler: BaseSampler) -> dict[str, Any]:
    trial = optuna.create_study(sampler=sampler).ask()
    return {"x": trial.suggest_float("x", 0, 1)}


def drawn(one: Hopping) -> list[float]:
    return [
        one.old.rand(),
        one.new.random(),
        one.python.random(),
        one.lazy.rng.rand(),
        one.nested["inside"][0]._rng.rng.rand(),
    ]


# ---------------------------------------------------------------- which they are


def test_a_class_is_foreign_unless_it_is_exactly_one_of_optunas() -> None:
    assert not is_foreign(TPESampler())
    assert not is_foreign(MedianPruner())
    assert is_foreign(Derived())
    assert is_foreign(Hopping())
    assert is_foreign(Patient(3))


# ---------------------------------------------------------------- recognised


def test_an_instance_made_alike_is_the_same_whatever_its_generators() -> None:
    recorded = describe(Hopping(2.0, seed=1))
    assert recorded.name == "tests.optuna_adapter.test_foreign.Hopping"
    assert same(recorded, Hopping(2.0, seed=2)) == []
    assert same(msgspec.json.decode(msgspec.json.encode(recorded), type=ComponentConfig), Hopping(2.0)) == []


def test_other_arguments_are_another_instance() -> None:
    assert same(describe(Patient(3)), Patient(3)) == []
    assert "holds other values" in same(describe(Patient(3)), Patient(4))[0]
    assert same(describe(Derived(n_startup_trials=3)), Derived(n_startup_trials=4)) != []


def test_another_class_is_named_beside_the_recorded_one() -> None:
    (text,) = same(describe(Derived()), Hopping())
    assert "test_foreign.Hopping" in text
    assert "test_foreign.Derived" in text


SOURCE = """
from optuna.samplers import RandomSampler

class Parent(RandomSampler):
    def step(self):
        return {}

class Child(Parent):
    pass
"""


def module(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("samplers_of_a_user", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["samplers_of_a_user"] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def test_a_changed_parent_is_seen(tmp_path: Path) -> None:
    recorded = describe(module(tmp_path / "one.py", SOURCE.format(1)).Child())
    assert same(recorded, module(tmp_path / "two.py", SOURCE.format(1)).Child()) == []
    (text,) = same(recorded, module(tmp_path / "three.py", SOURCE.format(2)).Child())
    assert "source" in text


SCRIPT = """
import enum
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
import numpy as np
from eventhpo.optuna_adapter.user_class_record import describe
from optuna.samplers import RandomSampler

class Colour(enum.Enum):
    RED = 1

@dataclass
class Part:
    names: set

def scale(x, by=2):
    return x * by

def around(n):
    return lambda x: x + n

class Mine(RandomSampler):
    def __init__(self):
        super().__init__()
        self.all = [{"b", "a", "c"}, Colour.RED, Part({"x", "y"}), timedelta(1), Decimal("1.5")]
        self.functions = [scale, partial(scale, by=3)]
        self.table = {"k": np.arange(3.0), ("t",): np.float32(1), None: b"x"}
        self.bound = self.more
        self.closure = around(4)
        self.me = self

    def more(self):
        return 1

print(describe(Mine()))
"""


def test_a_description_is_equal_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = {
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1


def test_what_cannot_be_recorded_is_refused_with_its_place() -> None:
    pruner = Patient(3)
    pruner.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(Usage, match=r"test_foreign.Patient cannot be recorded: lock: it holds a _thread.lock"):
        describe(pruner)


def test_a_class_without_a_source_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("class Typed:\n    def f(self): return 1\n", {"__name__": "nowhere"}, space)  # noqa: S102
    with pytest.raises(Usage, match="put the class into a file"):
        describe(space["Typed"]())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (True, 1),
        (0.0, -0.0),
        ([1], (1,)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
        ("1", 1),
        ([[1], 2], [1, [2]]),
        (MedianPruner(2), MedianPruner(3)),
        ((lambda: 1), (lambda: 2)),
        (np.array([{}, 1], dtype=object), np.array([{}, 2], dtype=object)),
    ],
    ids=range(12),
)
def test_a_digest_tells_apart_what_a_copy_would_tell_apart(one: object, other: object) -> None:
    assert digest(one) != digest(other)


def test_a_digest_of_equal_graphs_is_equal() -> None:
    nan = float("nan")
    assert digest({"a": [nan, np.array([nan])]}) == digest({"a": [float("nan"), np.array([float("nan")])]})
    assert digest({"a", "b", ("c", 1)}) == digest({("c", 1), "b", "a"})


def test_a_text_of_a_class_of_its_own_counts_with_its_text() -> None:
    class Name(str):
        __slots__ = ()

    assert digest(Name("a")) != digest(Name("b"))


# ---------------------------------------------------------------- copied


def test_a_copy_draws_by_its_seed_alone_and_the_instance_is_left_as_it_was() -> None:
    instance = Hopping(seed=None)
    before = instance.old.get_state(legacy=False)
    assert drawn(copy_for(instance, 7)) == drawn(copy_for(instance, 7)) == drawn(copy_for(Hopping(seed=3), 7))
    assert drawn(copy_for(instance, 7)) != drawn(copy_for(instance, 8))
    assert str(instance.old.get_state(legacy=False)) == str(before)
    assert instance.lazy._rng is None


def test_generators_of_one_copy_have_seeds_of_their_own_and_one_with_two_names_stays_one() -> None:
    copied = copy_for(Hopping(seed=1), 7)
    assert copied.also_new is copied.new
    assert len(set(drawn(copied))) == 5


def test_each_generator_of_an_optuna_sampler_is_seeded_too() -> None:
    one, other = (copy_for(CmaEsSampler(independent_sampler=Derived()), 3) for _ in range(2))
    assert decide(one) == decide(other)
    assert one._independent_sampler is not other._independent_sampler


# ---------------------------------------------------------------- decided twice


@pytest.mark.parametrize("make", [Hopping, Derived, lambda: Derived(seed=3)], ids=["own", "derived", "seeded"])
def test_a_decision_of_a_copy_is_derived_again(make: Any) -> None:
    point, again = rederivable(make(), 5, decide)
    assert again
    assert point == decide(copy_for(make(), 5))


def test_randomness_out_of_reach_is_found_out() -> None:
    """Negative control."""
    assert not rederivable(OutOfReach(), 5, decide)[1]


def test_a_method_of_a_generator_draws_from_the_copys_if_python_copies_it() -> None:
    sampler: Any = Hopping(seed=1)
    sampler.draw = sampler.new.random
    assert rederivable(sampler, 5, lambda one: one.draw())[1]
    sampler.draw = sampler.python.random  # a method in C, which a deep copy shares with the instance
    assert not rederivable(sampler, 5, lambda one: one.draw())[1]
