"""A search file without a mistake: what it is read into."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from eventhpo.cli import arguments
from eventhpo.core.search import spec
from eventhpo.search_file import differences, load

WHOLE = """
name = "digits"
command = ["python", "train.py"]
seed = 11
num_concurrent_workers = 2
total_max_jobs = 24
max_iteration_per_job = 15
min_iteration_per_job = 3
pool_period_min = 0.05
time_limit_per_job = 10.0
compute_time_limit = 60.0
wall_time_limit = 90
max_failures_per_trial = 2
max_lost_per_trial = 4
max_failed_trials = 5
nan_policy = "worst"
target_value = 1
patience = 7
[objective]
title = "validation"
series = "accuracy"
sign = "max"
[sampler]
name = "TPESampler"
n_startup_trials = 4
[pruner]
name = "HyperbandPruner"
max_resource = 15
[space."General/lr"]
type = "LogUniformParameterRange"
min_value = -5
max_value = 0
[space."General/width"]
type = "UniformIntegerParameterRange"
min_value = 4
max_value = 64
step_size = 4
[space."Data/kind"]
type = "DiscreteParameterRange"
values = ["a", 2, 0.5, true]
[[trial]]
"General/lr" = 0.01
[[trial]]
"General/width" = 8
"Data/kind" = true
"""

SMALL = """
command = ["./train"]
[objective]
title = "loss"
series = "test"
sign = "min"
[space.lr]
type = "UniformParameterRange"
min_value = 0
max_value = 1
"""


def write(folder: Path, text: str, name: str = "search.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_key_of_the_file_reaches_the_search(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, WHOLE))
    assert loaded.text == WHOLE
    assert not loaded.drawn_seed
    assert loaded.search == spec.Search(
        name="digits",
        objectives=(spec.Objective(title="validation", series="accuracy", sign="max"),),
        space=(
            spec.LogUniformParameterRange(name="General/lr", min_value=-5.0, max_value=0.0),
            spec.UniformIntegerParameterRange(name="General/width", min_value=4, max_value=64, step_size=4),
            spec.DiscreteParameterRange(name="Data/kind", values=("a", 2, 0.5, True)),
        ),
        limits=spec.Limits(
            num_concurrent_workers=2,
            total_max_jobs=24,
            pool_period_min=0.05,
            time_limit_per_job=10.0,
            compute_time_limit=60.0,
            wall_time_limit=90.0,
            max_failures_per_trial=2,
            max_lost_per_trial=4,
            max_failed_trials=5,
            target_value=1.0,
            patience=7,
        ),
        sampler=spec.ComponentConfig("TPESampler", {"n_startup_trials": 4}),
        pruner=spec.ComponentConfig("HyperbandPruner", {"max_resource": 15}),
        seed=11,
        jobs=spec.LocalCommand(command=("python", "train.py"), folder=str(tmp_path), file="search.toml"),
        max_iteration_per_job=15,
        min_iteration_per_job=3,
        nan_policy="worst",
    )


def test_points_to_try_first_are_kept_in_order_with_the_values_that_jobs_get(tmp_path: Path) -> None:
    trials = load(write(tmp_path, WHOLE)).trials
    assert trials == ({"General/lr": 0.01}, {"General/width": 8, "Data/kind": True})
    assert trials[1]["Data/kind"] is True


def test_all_that_may_be_left_out_has_its_default(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, SMALL, "mnist.toml"))
    search = loaded.search
    assert search.name == "mnist"
    assert search.limits == spec.Limits()
    assert (search.sampler, search.pruner) == (spec.ComponentConfig("TPESampler"), spec.ComponentConfig("MedianPruner"))
    assert (search.max_iteration_per_job, search.min_iteration_per_job) == (None, None)
    assert (search.nan_policy, loaded.trials) == ("fail", ())


def test_a_seed_that_is_left_out_is_drawn_below_two_to_the_32(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    seeds = {load(path).search.seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert load(path).drawn_seed


def test_several_objectives_are_not_pruned_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    two = SMALL.replace("[objective]", "[[objective]]") + '[[objective]]\ntitle = "t"\nseries = "s"\nsign = "max"\n'
    search = load(write(tmp_path, two)).search
    assert [one.sign for one in search.objectives] == ["min", "max"]
    assert search.pruner == spec.ComponentConfig("NopPruner")
    assert load(write(tmp_path, two + '[pruner]\nname = "NopPruner"\n')).search.pruner == spec.ComponentConfig(
        "NopPruner"
    )


def test_a_name_without_a_section_stands_in_general_as_clearml_has_it(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, SMALL + "[[trial]]\nlr = 0.5\n"))
    assert [p.name for p in loaded.search.space] == ["General/lr"]
    assert loaded.trials == ({"General/lr": 0.5},)


@pytest.mark.parametrize(
    ("written", "name", "args"),
    [
        ('name = "GridSampler"\nsearch_space = { lr = [0, 0.5] }', "GridSampler", {"General/lr": [0.0, 0.5]}),
        (
            'name = "PartialFixedSampler"\nfixed_params = { lr = 1 }\nbase_sampler = { name = "RandomSampler" }',
            "PartialFixedSampler",
            {"General/lr": 1.0},
        ),
    ],
    ids=["grid", "partially fixed"],
)
def test_a_sampler_names_parameters_and_values_as_trials_are_recorded(
    tmp_path: Path, written: str, name: str, args: dict[str, object]
) -> None:
    sampler = load(write(tmp_path, f"{SMALL}[sampler]\n{written}\n")).search.sampler
    assert sampler.name == name
    assert args in sampler.args.values()


def test_a_search_is_the_same_after_a_log_wrote_and_read_it(tmp_path: Path) -> None:
    search = load(write(tmp_path, WHOLE)).search
    assert msgspec.json.decode(msgspec.json.encode(search), type=spec.Search) == search


def test_a_file_that_leaves_sampler_and_pruner_alone_is_read_without_optuna(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    code = (
        "import sys; from pathlib import Path; from eventhpo.search_file import load;"
        "load(Path(sys.argv[1])); sys.exit('optuna' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60).returncode == 0


def test_jobs_run_in_the_folder_of_the_file_wherever_it_was_named_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    jobs = load(Path("search.toml")).search.jobs
    assert isinstance(jobs, spec.LocalCommand)
    assert jobs.folder == str(tmp_path)


# ---------------------------------------------------------------- the file of a search that exists


CHANGES = [
    ("total_max_jobs = 24", "total_max_jobs = 25", ["total_max_jobs"]),
    ("patience = 7\n", "", ["patience"]),
    ("seed = 11", "seed = 12", ["seed"]),
    ('"python", "train.py"', '"python", "train2.py"', ["command"]),
    ('sign = "max"', 'sign = "min"', ["objective.sign"]),
    ("n_startup_trials = 4", "n_startup_trials = 5", ["sampler.n_startup_trials"]),
    ("n_startup_trials = 4", "", ["sampler.n_startup_trials"]),
    ('"HyperbandPruner"\nmax_resource = 15', '"NopPruner"', ["pruner.name", "pruner.max_resource"]),
    ("min_value = -5", "min_value = -4", ['space."General/lr".min_value']),
    ("0.5, true]", "0.5]\n", ['space."Data/kind".values']),
]


@pytest.mark.parametrize(
    ("before", "after", "keys"), CHANGES, ids=["; ".join(keys) + f" {k}" for k, (_, _, keys) in enumerate(CHANGES)]
)
def test_a_changed_file_is_told_by_the_keys_that_differ(
    tmp_path: Path, before: str, after: str, keys: list[str]
) -> None:
    assert before in WHOLE
    text = WHOLE if before != "0.5, true]" else WHOLE.replace('"Data/kind" = true', "")
    recorded = load(write(tmp_path, text)).search
    assert differences(recorded, load(write(tmp_path, text.replace(before, after))).search) == keys


def test_a_comment_or_another_order_of_keys_is_no_difference(tmp_path: Path) -> None:
    recorded = load(write(tmp_path, WHOLE)).search
    now = WHOLE.replace("seed = 11\n", "").replace('name = "digits"', '# hello\nseed = 11\nname = "digits"', 1)
    assert differences(recorded, load(write(tmp_path, now)).search) == []


def test_a_seed_that_the_file_leaves_out_is_no_difference(tmp_path: Path) -> None:
    recorded = load(write(tmp_path, WHOLE)).search
    now = load(write(tmp_path, WHOLE.replace("seed = 11\n", "")))
    assert now.drawn_seed
    assert differences(recorded, now.search, drawn_seed=now.drawn_seed) == []


def test_parameters_in_another_order_are_another_search(tmp_path: Path) -> None:
    recorded = load(write(tmp_path, WHOLE)).search
    swapped = msgspec.structs.replace(recorded, space=recorded.space[::-1])
    assert differences(recorded, swapped) == ["space (the order of its parameters)"]


def test_none_is_a_value_wherever_values_of_parameters_stand(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_text(
        """
command = ["train", "{General/amp?--amp}"]
[objective]
title = "a"
series = "b"
sign = "min"
[space.drop]
type = "DiscreteParameterRange"
values = [0.1, { none = true }]
[space.amp]
type = "DiscreteParameterRange"
values = [true, false]
[space.how]
type = "ParameterSet"
[[space.how.sets]]
kind = { none = true }
[[space.how.sets]]
kind = "b"
[[trial]]
drop = { none = true }
kind = { none = true }
[sampler]
name = "PartialFixedSampler"
fixed_params = { drop = { none = true } }
base_sampler = { name = "RandomSampler" }
"""
    )
    loaded = load(path)
    drop, _, how = loaded.search.space
    assert isinstance(drop, spec.DiscreteParameterRange)
    assert drop.values == (0.1, None)
    assert isinstance(how, spec.ParameterSet)
    assert how.sets[0].values == {"General/kind": None}
    assert loaded.trials == ({"General/drop": None, "General/kind": None},)
    assert loaded.search.sampler.args["fixed_params"] == {"General/drop": None}
    assert arguments.point(loaded.search, ["drop=none"]) == {"General/drop": None}
