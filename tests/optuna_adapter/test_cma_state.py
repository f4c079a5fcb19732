"""CMA-ES through a log: its state as numbers, and nothing of a log is ever unpickled."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    Parameter,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.errors import DamagedLog
from eventhpo.optuna_adapter import cma_state
from eventhpo.optuna_adapter.component_factory import build_sampler
from eventhpo.optuna_adapter.distributions import distributions
from eventhpo.optuna_adapter.seeds import derived_seed

cmaes = pytest.importorskip("cmaes", reason="CMA-ES needs the extra cmaes")

SPACE: tuple[Parameter, ...] = (
    UniformParameterRange(name="General/x", min_value=-1, max_value=1),
    UniformParameterRange(name="General/z", min_value=-1, max_value=1, step_size=0.25),
    UniformIntegerParameterRange(name="General/n", min_value=1, max_value=9),
    DiscreteParameterRange(name="General/c", values=("a", "b")),
)
FLOATS: tuple[Parameter, ...] = (
    UniformParameterRange(name="General/x", min_value=-1, max_value=1),
    UniformParameterRange(name="General/z", min_value=-1, max_value=1),
)
VARIANTS: dict[str, tuple[dict[str, Any], tuple[Parameter, ...]]] = {
    "plain": ({}, SPACE),
    "separable": ({"use_separable_cma": True}, SPACE),
    "with margin": ({"with_margin": True}, SPACE),
    "with margin, nothing discrete": ({"with_margin": True}, FLOATS),
    "learning rate": ({"lr_adapt": True}, SPACE),
    "population": ({"popsize": 5}, SPACE),
    "a start of one's own": ({"x0": {"x": 0.5, "z": 0.25, "n": 3}, "sigma0": 0.2}, SPACE),
}


def search(args: dict[str, Any], space: tuple[Parameter, ...], *, logged: bool) -> tuple[list[Any], list[str]]:
    """Search 30 trials, 4 in flight; *logged*: each decision's attributes pass through JSON."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s")
    points, lines, flying = [], [], []
    for number in range(30):
        seed = derived_seed(3, "suggest", number, 1)
        sampler = build_sampler(ComponentConfig("CmaEsSampler", args), space=space, seed=seed, search_seed=3)
        trial = optuna.Study("s", storage, sampler=sampler).ask(distributions(space))
        points.append(trial.params)
        frozen = storage._get_trial(trial._trial_id)
        line = json.dumps(cma_state.to_data(dict(frozen.system_attrs)))
        lines.append(line)
        if logged:
            frozen._system_attrs = cma_state.from_data(json.loads(line))
        flying.append(trial)
        if len(flying) == 4:
            done = flying.pop(number % 4)
            value = sum((v - 0.3) ** 2 for v in done.params.values() if not isinstance(v, str))
            storage.set_trial_state_values(done._trial_id, TrialState.COMPLETE, [value])
    return points, lines


@pytest.mark.parametrize("name", VARIANTS)
def test_a_search_whose_state_passes_through_a_log_decides_the_same(name: str) -> None:
    args, space = VARIANTS[name]
    kept, lines = search(args, space, logged=False)
    logged, logged_lines = search(args, space, logged=True)
    assert logged == kept
    assert sum(":optimizer" in line for line in lines) >= 2
    assert logged_lines == lines


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_log_gets_is_plain_json_and_no_pickle(name: str) -> None:
    args, space = VARIANTS[name]
    for line in search(args, space, logged=True)[1]:
        for key, value in json.loads(line).items():
            assert not cma_state.is_state(key)
            if key.endswith(":optimizer"):
                assert value["class"] in ("CMA", "SepCMA", "CMAwM")
                assert value.keys() == {"class", "state"}
                assert "_rng" not in value["state"]
                assert "_funhist_values" not in json.dumps(value)


def test_the_log_is_the_same_whatever_lay_in_memory_before() -> None:
    def told(buffer: float) -> dict[str, Any]:
        optimizer = cmaes.CMA(mean=np.zeros(2), sigma=0.5, seed=1)
        optimizer._funhist_values[:] = buffer
        optimizer.tell([(optimizer.ask(), float(k)) for k in range(optimizer.population_size)])
        return cma_state.to_data({"cma:optimizer:0": pickle.dumps(optimizer).hex()})

    assert told(0.0) == told(1e300)


def state() -> dict[str, Any]:
    """Return the logged attributes of a decision that left a state."""
    lines = search({"with_margin": True}, SPACE, logged=True)[1]
    found: dict[str, Any] = json.loads(next(line for line in lines if "cmawm:optimizer" in line))
    return found


def test_a_state_is_the_same_after_going_back_and_forth() -> None:
    data = state()
    back = cma_state.from_data(copy.deepcopy(data))
    assert sum(map(cma_state.is_state, back)) > 1
    assert cma_state.to_data(back) == data


def test_attributes_of_other_samplers_pass_as_they_are() -> None:
    attrs = {"grid_id": 3, "search_space": {"x": [1, 2]}, "cma:generation": 2, "NSGAIISampler:generation": 1}
    assert cma_state.to_data(attrs) == attrs == cma_state.from_data(attrs)


# ---------------------------------------------------------------- forged logs


class Trap:
    """A pickle of this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_a_log_is_refused_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    forged = {"cma:optimizer:0": pickle.dumps(Trap(trap)).hex()}
    with pytest.raises(DamagedLog, match="cma:optimizer:0 is a pickle"):
        cma_state.from_data(forged)
    assert not trap.exists()
    pickle.loads(bytes.fromhex(forged["cma:optimizer:0"]))  # noqa: S301  the trap of this test
    assert trap.exists()  # the control: the trap does spring where it is unpickled


KEY = "cmawm:optimizer"
FORGED: dict[str, Any] = {
    "another class": lambda d: d[KEY].update({"class": "Popen"}),
    "no class": lambda d: d[KEY].pop("class"),
    "more beside": lambda d: d[KEY].update(extra=1),
    "not an object": lambda d: d.update({KEY: "80"}),
    "a method": lambda d: d[KEY]["state"].update(ask=1),
    "a generator": lambda d: d[KEY]["state"]["_cma"]["state"].update(_rng=1),
    "a field less": lambda d: d[KEY]["state"].pop("_continuous_idx"),
    "a field less inside": lambda d: d[KEY]["state"]["_cma"]["state"].pop("_mean"),
    "another object inside": lambda d: d[KEY]["state"]["_cma"].update({"class": "list"}),
    "an object in a number's place": lambda d: d[KEY]["state"].update(margin={"class": "CMA", "state": {}}),
    "objects for an array": lambda d: d[KEY]["state"]["m_z_lim_low"].update(dtype="object"),
    "a shape too large": lambda d: d[KEY]["state"]["m_z_lim_low"].update(shape=[10**9, 10**9]),
    "a shape that is text": lambda d: d[KEY]["state"]["m_z_lim_low"].update(shape="ab"),
    "text for numbers": lambda d: d[KEY]["state"]["m_z_lim_low"].update(data=["zz", "yy"]),
    "lists for numbers": lambda d: d[KEY]["state"]["m_z_lim_low"].update(data=[[1], [2]]),
    "floats for indices": lambda d: d[KEY]["state"]["_discrete_idx"].update(data=[0.5, 1.5]),
    "a buffer without end": lambda d: d[KEY]["state"]["_cma"]["state"].update(_funhist_term=10**12),
    "a list": lambda d: d[KEY]["state"].update(margin=[1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_state_that_was_tampered_with_is_a_damaged_log(name: str) -> None:
    data = state()
    FORGED[name](data)
    with pytest.raises(DamagedLog, match="cmawm:optimizer"):
        cma_state.from_data(data)
