"""Optuna's private names: all that are used, where they are, and what breaks when Optuna changes one.

They may change with any release of Optuna. A name that is missing fails here first, by its name.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import samplers

from eventhpo.optuna_adapter.catalogue import CATALOGUE
from eventhpo.optuna_adapter.instance_args import at
from eventhpo.optuna_adapter.optuna_classes import CLASSES

ROOT = Path(__file__).parents[2]
ADAPTER = ROOT / "eventhpo" / "optuna_adapter"
STUDY = ROOT / "eventhpo" / "study"  # where Optuna's Study, Trial and storage are extended

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "ignore::FutureWarning")

REQUIRED: dict[str, dict[str, Any]] = {
    "GridSampler": {"search_space": {"x": [1, 2]}},
    "PartialFixedSampler": {"fixed_params": {"x": 1}, "base_sampler": samplers.RandomSampler()},
    "PatientPruner": {"wrapped_pruner": None, "patience": 1},
    "PercentilePruner": {"percentile": 25.0},
    "ThresholdPruner": {"lower": 0.0},
}


def made(name: str) -> Any:
    """Return an instance of one of Optuna's classes, with the arguments that it must have."""
    (kind,) = [classes[name] for classes in CLASSES.values() if name in classes]
    try:
        return kind(**REQUIRED.get(name, {}))
    except ImportError as error:
        pytest.skip(str(error))


def in_groups() -> Any:
    return samplers.TPESampler(multivariate=True, group=True)


def trial() -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(value=1.0)


def lazy_random_state() -> Any:
    return importlib.import_module("optuna.samplers._lazy_random_state").LazyRandomState(0)


# module -> its names, and what breaks without them
MODULES = {
    "optuna.samplers._lazy_random_state": (
        ("LazyRandomState",),
        "seeds of instances are not read, and copies of a user's sampler are not seeded",
    ),
    "optuna.samplers._tpe.sampler": (
        ("default_gamma", "default_gamma_multiobjective", "_split_trials"),
        "explain shows no split; a TPESampler that has served a study is refused",
    ),
    "optuna.study._frozen": (("FrozenStudy",), "no study can be opened on a search"),
}

# what has the attribute, made for the test; the attribute; what breaks without it
ATTRIBUTES: list[tuple[Callable[[], Any], str, str]] = [
    (trial, "_system_attrs", "samplers and pruners do not see what they wrote on a trial"),
    (trial, "_user_attrs", "two copies of a user's pruner share what one of them writes"),
    (trial, "_values", "finished trials have no value"),
    (lazy_random_state, "_rng", "seeds of instances are not read"),
    (optuna.create_study, "_get_trials", "explain shows no split of TPE"),
    (lambda: made("CmaEsSampler"), "_cma_rng", "the seed of a CmaEsSampler is not read"),
    (lambda: made("TPESampler"), "_search_space", "each suggestion goes through all trials for their common space"),
    (optuna.search_space.IntersectionSearchSpace, "_include_pruned", "likewise"),
    (lambda: made("CmaEsSampler"), "_x0", "x0 under a short name is refused"),
    (lambda: made("CmaEsSampler"), "_get_trials", "explain does not count the start-up of CMA-ES"),
    (lambda: made("CmaEsSampler"), "_consider_pruned_trials", "explain does not count the start-up of CMA-ES"),
    (lambda: made("CmaEsSampler"), "_independent_sampler", "explain does not name the start-up's sampler"),
    (lambda: made("CmaEsSampler"), "_n_startup_trials", "explain does not count the start-up of CMA-ES"),
    (lambda: made("TPESampler"), "_rng", "the seed of a sampler is not read"),
    (lambda: made("TPESampler"), "_n_startup_trials", "explain does not count the start-up of TPE"),
    (lambda: made("TPESampler"), "_constant_liar", "explain shows no split of TPE"),
    (lambda: made("TPESampler"), "_compute_acquisition_func", "replay cannot say how near two candidates were"),
    (lambda: made("TPESampler"), "_constraints_func", "a sampler with constraints is not refused"),
    (lambda: made("TPESampler"), "_gamma", "a TPESampler that has served a study is refused"),
    (lambda: made("TPESampler"), "_search_space_group", "a TPESampler that has served a study is refused"),
    (lambda: made("TPESampler"), "_parzen_estimator_parameters", "a TPESampler cannot be recorded"),
    (lambda: made("TPESampler")._search_space, "_cached_trial_number", "a used sampler is refused"),
    (lambda: made("TPESampler")._search_space, "_search_space", "a used sampler is refused"),
    (lambda: made("TPESampler")._search_space, "_study_id", "a used sampler is refused"),
    (
        lambda: in_groups()._group_decomposed_search_space,
        "_search_space",
        "a used TPESampler in groups is refused",
    ),
    (
        lambda: in_groups()._group_decomposed_search_space,
        "_study_id",
        "a used TPESampler in groups is refused",
    ),
    (lambda: made("GPSampler"), "_deterministic", "a GPSampler cannot be recorded"),
    (lambda: made("GPSampler"), "_gprs_cache_list", "a used GPSampler is refused"),
    (lambda: made("GPSampler"), "_constraints_gprs_cache_list", "a used GPSampler is refused"),
    (lambda: made("GridSampler"), "_rng", "the seed of a GridSampler is not hashed"),
    (lambda: made("GridSampler"), "_all_grids", "explain does not count a grid; each GridSampler is refused"),
    (lambda: made("GridSampler"), "_search_space", "a grid under short names is refused"),
    (lambda: made("GridSampler"), "_param_names", "a grid under short names is refused"),
    (lambda: made("NSGAIISampler"), "_child_generation_strategy", "a NSGAIISampler cannot be recorded"),
    (
        lambda: made("NSGAIIISampler"),
        "_elite_population_selection_strategy",
        "the reference points of a NSGAIIISampler cannot be recorded",
    ),
    (
        lambda: made("NSGAIIISampler")._elite_population_selection_strategy,
        "_reference_points",
        "the reference points of a NSGAIIISampler cannot be recorded",
    ),
    (lambda: made("PartialFixedSampler"), "_base_sampler", "explain and seeds do not see the base of fixed values"),
    (lambda: made("PartialFixedSampler"), "_fixed_params", "fixed values under short names are refused"),
    (lambda: made("QMCSampler"), "_seed", "the seed of a QMCSampler is not read"),
]
# the same of `eventhpo/study`
OF_STUDIES: list[tuple[Callable[[], Any], str, str]] = [
    (trial, "_trial_id", "no call of a study knows its trial"),
    (trial, "_system_attrs", "samplers and pruners of a study do not see what they wrote"),
    (trial, "_user_attrs", "a loaded search does not show attempts and jobs"),
    (optuna.create_study, "_study_id", "a study cannot be imported"),
    (optuna.create_study, "_thread_local", "a trial of `optimize` is not told from one of `ask`"),
    (optuna.create_study, "_pop_waiting_trial_id", "enqueued and lost trials are not asked for"),
    (lambda: optuna.create_study().ask(), "_suggest", "fixed distributions are not suggested"),
    (lambda: optuna.study.MaxTrialsCallback(1), "_n_trials", "one trial too many runs after a kill"),
    (lambda: optuna.study.MaxTrialsCallback(1), "_states", "likewise"),
]
STUDY_MODULES = {"optuna.study._frozen", "optuna.storages._grpc", "optuna.storages._grpc.servicer"} | {
    "optuna.storages._grpc.auto_generated.api_pb2_grpc"
}
# `_GroupDecomposedSearchSpace` is a class of Optuna's that is known by its name.
CLASS_NAMES = {"_GroupDecomposedSearchSpace"}
LISTED = {name for _, name, _ in ATTRIBUTES} | CLASS_NAMES | {n for names, _ in MODULES.values() for n in names}

# private names in the adapter that are not Optuna's: of named tuples, numpy and cmaes
NOT_OPTUNAS = {"_replace", "_fields", "_bit_generator", "_funhist_values", "_funhist_term", "_A"}


def sources() -> list[Path]:
    return [p for package in ("eventhpo", "replay") for p in sorted((ROOT / package).rglob("*.py"))]


def private_modules(tree: ast.AST) -> Iterator[str]:
    """Yield the private modules of Optuna that a source imports from, and the private names that it imports."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "optuna" and any(part.startswith("_") for part in name.split(".")):
                yield name


def private_attributes(tree: ast.AST) -> Iterator[str]:
    """Yield the private attributes of other objects that a source reads or writes, by name or as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-zA-Z]\w*", node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.Constant) and re.fullmatch(r"_[a-zA-Z]\w*", str(node.value)):
            yield str(node.value)


@pytest.mark.parametrize("module", MODULES)
def test_each_private_module_has_what_is_used_of_it(module: str) -> None:
    names, breaks = MODULES[module]
    for name in names:
        assert hasattr(importlib.import_module(module), name), f"{name} is gone: {breaks}"


@pytest.mark.parametrize(
    ("make", "name", "breaks"),
    ATTRIBUTES + OF_STUDIES,
    ids=[f"{k} {a[1]}" for k, a in enumerate(ATTRIBUTES + OF_STUDIES)],
)
def test_each_private_attribute_is_there(make: Callable[[], Any], name: str, breaks: str) -> None:
    assert hasattr(make(), name), f"{name} is gone: {breaks}"


def test_the_search_space_in_groups_has_the_class_name_that_is_known() -> None:
    groups = in_groups()._group_decomposed_search_space
    assert type(groups).__name__ in CLASS_NAMES


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in CATALOGUE.items() for name in names])
def test_each_argument_is_kept_where_it_is_looked_for(role: str, name: str) -> None:
    """An argument is kept under its own name, with or without an underscore, or where `instance_args` says."""
    instance = made(name)
    for key in CATALOGUE[role][name].args:  # type: ignore[index]
        at(instance, key)


def test_only_the_adapter_and_studies_import_private_modules_of_optuna() -> None:
    users = {p.parent for p in sources() if list(private_modules(ast.parse(p.read_text())))}
    assert users == {ADAPTER, STUDY}


def test_the_adapter_uses_no_private_name_that_is_not_listed() -> None:
    for path in sorted(ADAPTER.glob("*.py")):
        tree = ast.parse(path.read_text())
        assert set(private_attributes(tree)) <= LISTED | NOT_OPTUNAS, path.name
        assert {name.rpartition(".")[0] for name in private_modules(tree)} <= {
            *MODULES,
            "optuna.samplers._tpe",
        }, path.name


def test_no_source_outside_the_adapter_uses_a_private_name_of_optuna() -> None:
    known = LISTED | {f"_{key}" for names in CATALOGUE.values() for spec in names.values() for key in spec.args}
    for path in sources():
        if path.parent in (ADAPTER, STUDY):
            continue
        assert not set(private_attributes(ast.parse(path.read_text()))) & known, path


def test_studies_use_no_private_name_that_is_not_listed() -> None:
    known = {name for _, name, _ in OF_STUDIES}
    optunas = (
        LISTED | known | {f"_{key}" for names in CATALOGUE.values() for spec in names.values() for key in spec.args}
    )
    for path in sorted(STUDY.glob("*.py")):
        tree = ast.parse(path.read_text())
        assert set(private_attributes(tree)) & optunas <= known, path.name
        assert {name.rpartition(".")[0] for name in private_modules(tree)} <= STUDY_MODULES, path.name
    text = "\n".join(path.read_text() for path in STUDY.glob("*.py"))
    assert [name for name in sorted(known) if not re.search(rf"\b{name}\b", text)] == []


def test_each_listed_name_is_used() -> None:
    text = "\n".join(path.read_text() for path in ADAPTER.glob("*.py"))
    assert [name for name in sorted(LISTED) if not re.search(rf"\b{name}\b", text)] == []


def test_the_scan_sees_a_private_name() -> None:
    """Negative control."""
    tree = ast.parse("from optuna.study._frozen import FrozenStudy\nx = sampler._rng\ny = vars(sampler)['_seed']\n")
    assert list(private_modules(tree)) == ["optuna.study._frozen.FrozenStudy"]
    assert set(private_attributes(tree)) == {"_rng", "_seed"}
