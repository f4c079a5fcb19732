"""Every mistake in a search file: its place, what was found, what was expected, and all of them at once."""

# ruff: noqa: E501  a case of the table is one line
from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventhpo.core.search.spec import DiscreteParameterRange
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.space_checks import parameter_mistakes
from eventhpo.search_file import SearchFileMistaken, load

BASE = """
command = ["python", "train.py"]
#top
[objective]
title = "loss"
series = "test"
sign = "min"
#objective
[space."General/lr"]
type = "LogUniformParameterRange"
min_value = -5
max_value = 0
#lr
[space."General/width"]
type = "UniformIntegerParameterRange"
min_value = 4
max_value = 64
step_size = 4
#width
[space."General/drop"]
type = "UniformParameterRange"
min_value = 0.0
max_value = 0.5
step_size = 0.1
#drop
[space."General/kind"]
type = "DiscreteParameterRange"
values = ["a", "b"]
#kind
#end
"""
TWO = '[[objective]]\ntitle = "t"\nseries = "s"\nsign = "max"\n'

# (what is replaced, by what, the place that is named, a part of what is said of it)
CASES: dict[str, tuple[str, str, str, str]] = {
    # the top
    "unknown key": ("#top", "total_max_job = 3", "total_max_job", 'did you mean "total_max_jobs"?'),
    "misspelt command": ("command =", "comand =", "comand", 'did you mean "command"?'),
    "no command": ('command = ["python", "train.py"]', "", "command", "missing, expected a list of strings"),
    "a command in one string": ('["python", "train.py"]', '"python train.py"', "command", "expected a list of strings"),
    "an empty command": ('["python", "train.py"]', "[]", "command", "found [], expected a list of strings"),
    "a command of numbers": ('["python", "train.py"]', '["python", 3]', "command", "expected a list of strings"),
    "a program without a name": ('["python", "train.py"]', '[""]', "command", "the program first"),
    "a NUL in the command": ('["python", "train.py"]', '["a\\u0000"]', "command", "without NUL"),
    "a word that no program takes": ('"train.py"', f'"{"x" * 140_000}"', "command", "each of at most 131071 bytes"),
    "a name of two lines": ("#top", 'name = "a\\nb"', "name", "without control characters"),
    "a brace that is nearly a name": ('"train.py"]', '"--lr={lrr}"]', "command[1]", 'did you mean "{General/lr}"?'),
    "a flag that is no switch": ('"train.py"]', '"{General/lr?--lr}"]', "command[1]", "whose values are true and false"),
    "a key of the top in the objective": ("#objective", "total_max_jobs = 3", "objective.total_max_jobs", "total_max_jobs above the first [table] of the file: here it is a key of objective"),
    "a key of the top in a parameter": ("#kind", "seed = 3", 'space."General/kind".seed', "seed above the first [table] of the file"),
    "a key of the top in a point": ("#end", "[[trial]]\n\"General/lr\" = 0.1\nmax_trials = 3", "trial[0].max_trials", "max_trials above the first [table] of the file"),
    "a key of the top in the sampler": ("#end", '[sampler]\nname = "TPESampler"\npatience = 3', "sampler.patience", "patience above the first [table] of the file"),
    "gpus that are a number": ("#top", "gpus = 2", "gpus", "found 2, expected a list with an entry for each worker"),
    "no gpus": ("#top", "gpus = []", "gpus", "found []"),
    "a slot without gpus": ("#top", "gpus = [[0], []]", "gpus", "expected a list with an entry for each worker"),
    "a gpu twice in a slot": ("#top", "gpus = [[0, 0]]", "gpus", "each number once in an entry"),
    "a negative gpu": ("#top", "gpus = [-1]", "gpus", "found [-1]"),
    "a gpu that is true": ("#top", "gpus = [true]", "gpus", "found [true]"),
    "a gpu by its name": ("#top", 'gpus = ["GPU-1"]', "gpus", 'found ["GPU-1"]'),
    "fewer gpus than workers": ("#top", "gpus = [0, 1]\nnum_concurrent_workers = 3", "num_concurrent_workers", "found 3, expected 2, a worker for each entry of gpus"),
    "gpus below a table": ("#objective", "gpus = [0]", "objective.gpus", "gpus above the first [table]"),
    "gpus of agents": ('command = ["python", "train.py"]', "gpus = [0]\n[clearml]\nbase_task_id = 'a'\nexecution_queue = 'q'", "gpus", "expected nothing: tasks on a ClearML server"),
    "an empty name": ("#top", 'name = " "', "name", 'found " ", expected a string that is not empty'),
    "a name that is a number": ("#top", "name = 3", "name", "found 3, expected a string"),
    "a negative seed": ("#top", "seed = -1", "seed", "found -1, expected a whole number of at least 0"),
    "a seed of 33 bits": ("#top", "seed = 4294967296", "seed", "at most 4294967295"),
    "a seed that is a float": ("#top", "seed = 1.0", "seed", "found 1.0, expected a whole number"),
    "no workers": ("#top", "num_concurrent_workers = 0", "num_concurrent_workers", "found 0, expected a whole number of at least 1"),
    "true workers": ("#top", "num_concurrent_workers = true", "num_concurrent_workers", "found true, expected a whole number"),
    "half a job": ("#top", "total_max_jobs = 2.5", "total_max_jobs", "found 2.5, expected a whole number"),
    "jobs beyond any counter": ("#top", "total_max_jobs = 99999999999999999999", "total_max_jobs", "2**53"),
    "no iterations": ("#top", "max_iteration_per_job = 0", "max_iteration_per_job", "at least 1"),
    "a negative least iteration": ("#top", "min_iteration_per_job = -1", "min_iteration_per_job", "at least 0"),
    "least above most iterations": ("#top", "max_iteration_per_job = 3\nmin_iteration_per_job = 4", "min_iteration_per_job", "found 4, expected at most max_iteration_per_job, which is 3"),
    "a time limit of zero": ("#top", "time_limit_per_job = 0", "time_limit_per_job", "found 0, expected minutes, a finite number above 0, or a time as 8h"),
    "a negative time limit": ("#top", "compute_time_limit = -1.0", "compute_time_limit", "found -1.0, expected minutes, a finite number above 0"),
    "an infinite time limit": ("#top", "wall_time_limit = inf", "wall_time_limit", "found Infinity, expected minutes, a finite number"),
    "a time limit beyond the clock": ("#top", "wall_time_limit = 1e300", "wall_time_limit", "at most"),
    "a time limit in words": ("#top", 'pool_period_min = "two min"', "pool_period_min", 'found "two min", expected minutes, a finite number'),
    "negative retries": ("#top", "max_failures_per_trial = -1", "max_failures_per_trial", "at least 0"),
    "negative losses": ("#top", "max_lost_per_trial = -2", "max_lost_per_trial", "at least 0"),
    "no failed trials": ("#top", "max_failed_trials = 0", "max_failed_trials", "at least 1"),
    "an unknown policy": ("#top", 'nan_policy = "worse"', "nan_policy", 'expected one of "fail", "worst"; did you mean "worst"?'),
    "a target that is no number": ("#top", "target_value = nan", "target_value", "found NaN, expected a finite number"),
    "no patience": ("#top", "patience = 0", "patience", "at least 1"),
    # the objective
    "no objective": (BASE[BASE.index("[objective]") : BASE.index("#objective")], "", "objective", "missing, expected a table with title, series and sign"),
    "an objective in one string": (BASE[BASE.index("[objective]") : BASE.index("#objective")], 'objective = "loss"\n', "objective", 'found "loss"'),
    "a sign that is none": ('sign = "min"', 'sign = "maximize"', "objective.sign", 'expected one of "max", "min", "max_global", "min_global"; did you mean "max"?'),
    "a sign that is a number": ('sign = "min"', "sign = 1", "objective.sign", "found 1"),
    "no series": ('series = "test"', "", "objective.series", "missing"),
    "a misspelt series": ('series = "test"', 'serie = "test"', "objective.serie", 'did you mean "series"?'),
    "the same metric twice": ("[objective]", '[[objective]]\ntitle = "loss"\nseries = "test"\nsign = "max"\n[[objective]]', "objective[1]", 'found "loss/test", expected a metric that no other objective has'),
    "the second of two is wrong": ("[objective]", TWO + "[[objective]]\nsize = 3", "objective[1].size", "expected a key of an objective"),
    "pruning several objectives": ("[objective]", TWO + "[[objective]]", "pruner.name", "NopPruner"),
    "a target of several": ("[objective]", TWO + "[[objective]]", "target_value", "several objectives"),
    # sampler and pruner
    "an unknown sampler": ("#end", '[sampler]\nname = "TPE"', "sampler.name", 'did you mean "TPESampler"?'),
    "a sampler in another spelling": ("#end", '[sampler]\nname = "nsgaiisampler"', "sampler.name", 'did you mean "NSGAIISampler"?'),
    "a sampler without a name": ("#end", "[sampler]\nn_startup_trials = 3", "sampler.name", "missing, expected the name of a sampler"),
    "a sampler in one string": ("#top", 'sampler = "TPESampler"', "sampler", 'expected a table with the name of a sampler, as name = "TPESampler"'),
    "a sampler named by a number": ("#end", "[sampler]\nname = 3", "sampler.name", "found 3, expected the name of a sampler"),
    "an argument that it does not take": ("#end", '[sampler]\nname = "TPESampler"\nn_startup_trial = 4', "sampler.n_startup_trial", 'expected an argument of TPESampler: prior_weight'),
    "the nearest argument": ("#end", '[sampler]\nname = "TPESampler"\nn_startup_trial = 4', "sampler.n_startup_trial", 'did you mean "n_startup_trials"?'),
    "an argument of the wrong type": ("#end", '[sampler]\nname = "TPESampler"\nn_startup_trials = true', "sampler.n_startup_trials", "found true, expected a whole number of at least 0"),
    "an argument out of bounds": ("#end", '[sampler]\nname = "TPESampler"\nn_ei_candidates = 0', "sampler.n_ei_candidates", "at least 1"),
    "a function as an argument": ("#end", '[sampler]\nname = "TPESampler"\ngamma = "f"', "sampler.gamma", "a log cannot record a function"),
    "an argument without effect": ("#end", '[sampler]\nname = "CmaEsSampler"\nrestart_strategy = "ipop"', "sampler.restart_strategy", "no effect since Optuna 4.4"),
    "a seed of the sampler's own": ("#end", '[sampler]\nname = "RandomSampler"\nseed = 3', "sampler.seed", "at the top of the file"),
    "what Optuna's constructor refuses": ("#end", '[sampler]\nname = "CmaEsSampler"\nlr_adapt = true\nwith_margin = true', "sampler", "which says: It is prohibited to pass"),
    "a nested sampler that is unknown": ("#end", '[sampler]\nname = "QMCSampler"\nindependent_sampler = { name = "Randomsampler" }', "sampler.independent_sampler.name", 'did you mean "RandomSampler"?'),
    "a nested argument": ("#end", '[sampler]\nname = "NSGAIISampler"\ncrossover = { name = "SBXCrossover", eta = -1 }', "sampler.crossover.eta", "found -1, expected a finite number of at least 0"),
    "a crossover by its bare name": ("#end", '[sampler]\nname = "NSGAIISampler"\ncrossover = "SBXCrossover"', "sampler.crossover", "a table with the name of a crossover"),
    "too small a population": ("#end", '[sampler]\nname = "NSGAIISampler"\npopulation_size = 2\ncrossover = { name = "SPXCrossover" }', "sampler", "population size should be greater than or equal to 3"),
    "a grid without lists": ("#end", '[sampler]\nname = "GridSampler"', "sampler.search_space", "missing"),
    "a grid that leaves one out": ("#end", '[sampler]\nname = "GridSampler"\nsearch_space = { lr = [0.1], width = [4], drop = [0.1] }', 'sampler.search_space."General/kind"', "missing, expected a list of values"),
    "a grid of unknown parameters": ("#end", '[sampler]\nname = "GridSampler"\nsearch_space = { widt = [4] }', "sampler.search_space.widt", 'did you mean "General/width"?'),
    "a grid out of range": ("#end", '[sampler]\nname = "GridSampler"\nsearch_space = { width = [4, 5] }', "sampler.search_space.width[1]", "found 5, expected a whole number from 4 to 64 in steps of 4"),
    "a grid that repeats itself": ("#end", '[sampler]\nname = "GridSampler"\nsearch_space = { width = [4, 4] }', "sampler.search_space.width[1]", "each value once"),
    "a grid inside another sampler": ("#end", '[sampler]\nname = "PartialFixedSampler"\nfixed_params = { lr = 0.1 }\nbase_sampler = { name = "GridSampler" }', "sampler.base_sampler.name", "a grid repeats points"),
    "a fixed value out of range": ("#end", '[sampler]\nname = "PartialFixedSampler"\nfixed_params = { lr = 10 }\nbase_sampler = { name = "RandomSampler" }', "sampler.fixed_params.lr", "found 10, expected a number from 1e-05 to 1, on a log scale"),
    "brute force without a step": ("#end", '[sampler]\nname = "BruteForceSampler"', "sampler.name", 'a step_size for space."General/lr"'),
    "a start that leaves one out": ("#end", '[sampler]\nname = "CmaEsSampler"\nx0 = { lr = 0.1, width = 8 }', 'sampler.x0."General/drop"', "missing"),
    "CMA-ES for several objectives": ("[objective]", '[sampler]\nname = "CmaEsSampler"\n' + TWO + "[[objective]]", "sampler.name", "several objectives"),
    "an unknown pruner": ("#end", '[pruner]\nname = "Hyperband"', "pruner.name", 'did you mean "HyperbandPruner"?'),
    "a pruner's argument": ("#end", '[pruner]\nname = "MedianPruner"\nwarmup = 3', "pruner.warmup", "expected an argument of MedianPruner"),
    "a resource that is no number": ("#end", '[pruner]\nname = "HyperbandPruner"\nmax_resource = "all"', "pruner.max_resource", 'a whole number of at least 1 or one of "auto"'),
    "resources the wrong way round": ("#end", '[pruner]\nname = "HyperbandPruner"\nmin_resource = 9\nmax_resource = 3', "pruner.min_resource", "at most max_resource, which is 3"),
    "auto with bootstrap": ("#end", '[pruner]\nname = "HyperbandPruner"\nbootstrap_count = 2', "pruner", "mutually incompatible"),
    "a threshold without a side": ("#end", '[pruner]\nname = "ThresholdPruner"', "pruner.lower", "missing"),
    "a percentile of 200": ("#end", '[pruner]\nname = "PercentilePruner"\npercentile = 200', "pruner.percentile", "at most 100"),
    "no percentile": ("#end", '[pruner]\nname = "PercentilePruner"', "pruner.percentile", "missing"),
    "patience around auto": ("#end", '[pruner]\nname = "PatientPruner"\npatience = 2\nwrapped_pruner = { name = "HyperbandPruner" }', "pruner.wrapped_pruner.max_resource", "a number"),
    # the space
    "no space": (BASE[BASE.index('[space."General/lr"]') : BASE.index("#end")], "", "space", "missing, expected at least one parameter"),
    "a parameter that is a number": ("#top", "space.a = 3", "space.a", "found 3, expected a table"),
    "no type": ('type = "LogUniformParameterRange"', "", 'space."General/lr".type', "missing, expected one of"),
    "an unknown type": ("LogUniformParameterRange", "LogUniformRange", 'space."General/lr".type', 'did you mean "LogUniformParameterRange"?'),
    "no minimum": ("min_value = -5", "", 'space."General/lr".min_value', "missing, expected a finite number"),
    "an unknown key of a range": ("#drop", "step = 0.1", 'space."General/drop".step', 'did you mean "step_size"?'),
    "a key of another range": ("#drop", "base = 2", 'space."General/drop".base', "expected a key of UniformParameterRange"),
    "min above max": ("min_value = 4\nmax_value = 64", "min_value = 65\nmax_value = 64", 'space."General/width".min_value', "found 65, expected at most max_value, which is 64"),
    "a float for an integer": ("min_value = 4\n", "min_value = 4.0\n", 'space."General/width".min_value', "found 4.0, expected a whole number"),
    "true for a number": ("max_value = 0.5", "max_value = true", 'space."General/drop".max_value', "found true, expected a finite number"),
    "an infinite bound": ("max_value = 0.5", "max_value = inf", 'space."General/drop".max_value', "found Infinity"),
    "a step of zero": ("step_size = 4", "step_size = 0", 'space."General/width".step_size', "found 0, expected a whole number of at least 1"),
    "a negative step": ("step_size = 0.1", "step_size = -0.1", 'space."General/drop".step_size', "above 0"),
    "a step beyond the range": ("step_size = 0.1", "step_size = 0.7", 'space."General/drop".step_size', "at most max_value - min_value, which is 0.5"),
    "a step that floats cannot take": ("step_size = 0.1", "step_size = 1e-300", 'space."General/drop".step_size', "tell apart"),
    "a range of nothing": ("max_value = 0.5", "max_value = 0.0\ninclude_max_value = false", 'space."General/drop".include_max_value', "found false, expected true"),
    "include_max_value as a number": ("#drop", "include_max_value = 1", 'space."General/drop".include_max_value', "found 1, expected true or false"),
    "a range wider than a float": ("min_value = 0.0\nmax_value = 0.5\nstep_size = 0.1", "min_value = -1e308\nmax_value = 1e308", 'space."General/drop".max_value', "whose width"),
    "an integer beyond 2**53": ("max_value = 64", "max_value = 9007199254740996", 'space."General/width".max_value', "2**53"),
    "a base of one": ("#lr", "base = 1", 'space."General/lr".base', "found 1, expected a finite number above 1"),
    "an exponent that overflows": ("max_value = 0\n#lr", "max_value = 309\n#lr", 'space."General/lr".max_value', "10.0 to this power is inf"),
    "an exponent that underflows": ("min_value = -5", "min_value = -400", 'space."General/lr".min_value', "10.0 to this power is 0.0"),
    "no values": ('["a", "b"]', "[]", 'space."General/kind".values', "found [], expected a list of 1 or more"),
    "values that are one": ('["a", "b"]', '"a"', 'space."General/kind".values', 'found "a", expected a list'),
    "a value twice": ('["a", "b"]', '["a", "b", "a"]', 'space."General/kind".values[2]', "differs from"),
    "one and true": ('["a", "b"]', "[1, true]", 'space."General/kind".values[1]', "differs from 1"),
    "one and one point zero": ('["a", "b"]', "[1, 1.0]", 'space."General/kind".values[1]', "differs from 1"),
    "a value that is no number": ('["a", "b"]', "[nan, 1]", 'space."General/kind".values[0]', "found NaN, expected a finite number"),
    "lists as values": ('["a", "b"]', "[[1], [2]]", 'space."General/kind".values', "a string, a number, true, false or { none = true }"),
    "a date as a value": ('["a", "b"]', "[2020-01-01]", 'space."General/kind".values', "a string, a number, true, false or { none = true }"),
    "one parameter under two names": ("#end", '[space.lr]\ntype = "UniformParameterRange"\nmin_value = 0\nmax_value = 1', "space.lr", "General/lr is General/lr already"),
    "a name without a parameter": ("#end", '[space."General/"]\ntype = "DiscreteParameterRange"\nvalues = [1]', 'space."General/"', "Section/name"),
    # points to try first
    "one bracket": ("#end", "[trial]\nlr = 0.1", "trial", "[[trial]], with two brackets"),
    "an empty point": ("#end", "[[trial]]", "trial[0]", "at least one parameter"),
    "a point of an unknown name": ("#end", "[[trial]]\nlrr = 0.1", "trial[0].lrr", 'did you mean "General/lr"?'),
    "a point out of range": ("#end", '[[trial]]\nlr = 0.1\n[[trial]]\n"General/lr" = 2', 'trial[1]."General/lr"', "found 2, expected a number from 1e-05 to 1, on a log scale"),
    "a point beside the grid": ("#end", "[[trial]]\ndrop = 0.15", "trial[0].drop", "in steps of 0.1"),
    "a point of the wrong type": ("#end", '[[trial]]\nwidth = "8"', "trial[0].width", 'found "8"'),
    "a point that is none of the values": ("#end", '[[trial]]\nkind = "c"', "trial[0].kind", 'expected one of ["a", "b"]'),
    "a point that names one twice": ("#end", '[[trial]]\nlr = 0.1\n"General/lr" = 0.2', 'trial[0]."General/lr"', "each parameter once"),
    "a date in a point": ("#end", "[[trial]]\nlr = 2020-01-01", "trial[0].lr", "found"),
    "part of a point before a grid": ("#end", '[[trial]]\nwidth = 8\n[sampler]\nname = "GridSampler"\nsearch_space = { lr = [0.1], width = [4], drop = [0.1], kind = ["a"] }', "trial[0]", "a grid adds none"),
}  # fmt: skip
EXTRA = {"pruning several objectives": '[pruner]\nname = "MedianPruner"\n', "a target of several": ""}


def mistakes_of(path: Path, text: str | bytes) -> SearchFileMistaken:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SearchFileMistaken) as raised:
        load(path)
    return raised.value


def changed(name: str) -> str:
    before, after, _, _ = CASES[name]
    assert before in BASE
    text = BASE.replace(before, after, 1) + EXTRA.get(name, "")
    return "target_value = 1.0\n" + text if name == "a target of several" else text


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_by_its_place_and_by_what_was_expected(tmp_path: Path, name: str) -> None:
    _, _, place, said = CASES[name]
    error = mistakes_of(tmp_path / "search.toml", changed(name))
    at_place = [str(one) for one in error.mistakes if one.place == place]
    assert len(at_place) == 1, error
    assert said in at_place[0]
    assert f"{tmp_path / 'search.toml'}: {at_place[0]}" in str(error).splitlines()


def test_the_file_that_the_mistakes_are_made_in_has_none(tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text(BASE)
    load(tmp_path / "search.toml")


MANY = (
    "unknown key", "a negative seed", "half a job", "a sign that is none", "no minimum", "a step of zero",
    "a base of one", "a value twice", "a point of an unknown name",
)  # fmt: skip


def test_all_mistakes_are_reported_together_each_with_its_line(tmp_path: Path) -> None:
    text = BASE
    for name in MANY:
        before, after, _, _ = CASES[name]
        text = text.replace(before, f"{after}\n{before}" if before.startswith("#") else after, 1)
    text += '[pruner]\nname = "Median"\n[sampler]\nname = "TPESampler"\ngamma = 1\n'
    error = mistakes_of(tmp_path / "search.toml", text)
    places = {CASES[name][2] for name in MANY} | {"pruner.name", "sampler.gamma"}
    assert {one.place for one in error.mistakes} == places
    assert len(str(error).splitlines()) == 2 * len(error.mistakes) == 2 * len(places)


def test_a_broken_parameter_is_not_reported_again_where_it_is_used(tmp_path: Path) -> None:
    text = BASE.replace("step_size = 4", "step_size = 0") + "[[trial]]\nwidth = 8\n"
    text += '[sampler]\nname = "PartialFixedSampler"\nfixed_params = { width = 8 }\nbase_sampler = { name = "RandomSampler" }'
    error = mistakes_of(tmp_path / "search.toml", text)
    assert [one.place for one in error.mistakes] == ['space."General/width".step_size']


def test_a_mistake_ends_a_command_as_wrong_usage() -> None:
    assert issubclass(SearchFileMistaken, Usage)
    assert SearchFileMistaken.code == 2


# ---------------------------------------------------------------- files that are none


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"name = ", '(at end of document)", expected TOML'),
        (b"a = 1\na = 2\n", '(at line 2, column 6)", expected TOML'),
        (b'name = "\xff"', 'line 1: found "byte 0xff", expected UTF-8'),
        (b"# \n\xc3(", 'line 2: found "byte 0xc3", expected UTF-8'),
        (b"a = " + b"[" * 100_000, "expected TOML"),
        (b"", "command: missing"),
    ],
    ids=["broken", "a key twice", "no UTF-8", "no UTF-8 in line 2", "a hundred thousand brackets", "empty"],
)
def test_a_file_that_is_no_toml_is_named_with_the_place(tmp_path: Path, raw: bytes, said: str) -> None:
    assert said in str(mistakes_of(tmp_path / "search.toml", raw))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"\xff.toml", "expected a string that can be written as UTF-8: give one as name = ..., or rename the file"),
        (b"a\nb.toml", "without control characters"),
        (b"\xff/search.toml", "a folder whose path is UTF-8"),
    ],
)
def test_a_file_or_folder_whose_name_no_log_can_hold_is_a_mistake(tmp_path: Path, name: bytes, said: str) -> None:
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    assert said in str(mistakes_of(path, BASE.encode()))


def test_a_file_with_a_byte_order_mark_is_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.lstrip().encode())
    assert load(path).search.max_iteration_per_job is None


def test_a_missing_file_a_folder_and_a_file_in_the_way_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in (
        (tmp_path / "search.toml", "expected a search file (TOML) at this path"),
        (tmp_path, f"expected a search file, as {tmp_path / 'search.toml'}"),
        (tmp_path / "file" / "search.toml", "Not a directory"),
    ):
        with pytest.raises(SearchFileMistaken) as raised:
            load(path)
        assert str(path) in str(raised.value)
        assert said in str(raised.value)


# ---------------------------------------------------------------- files larger than any search needs

ENORMOUS = {
    "a key of 20,001 parts": ("a" + ".a" * 20_000 + " = 1", 'found "a key of 20,001 parts", expected a key of at most'),
    "a table of 20,001 parts": ("[a" + ".a" * 20_000 + "]", "a key of 20,001 parts"),
    "a key of quoted parts": ("a" + """.'a'."b.c" """ * 10_000 + " = 1", "a key of 20,001 parts"),
    "a key in a table on one line": ("x = {a" + " . a" * 20_000 + " = 1}", "a key of 20,001 parts"),
    "140,000 values": ("x = [" + "1," * 140_000 + "]", "a file of at most 100,000 lines and values"),
    "140,000 lines": ("\n" * 140_000, "a file of at most 100,000 lines and values"),
    "41 brackets": ("x = " + "[" * 41 + "]" * 41, "TOML with at most 40 in each other"),
}


@pytest.mark.parametrize("name", ENORMOUS)
def test_a_file_beyond_a_bound_is_refused_with_its_line_before_it_is_parsed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, expected = ENORMOUS[name]
    monkeypatch.setattr("tomllib.loads", lambda _: pytest.fail("it was parsed"))
    error = str(mistakes_of(tmp_path / "search.toml", f"# first\n{text}\n".encode()))
    assert expected in error
    assert f"  line {100_001 if 'lines' in name else 2}: " in error


@pytest.mark.parametrize(
    "text",
    [
        "x = '" + "a." * 1_000 + "'",
        "# " + "a." * 1_000,
        'x = """\n' + "[" * 1_000 + '\n"""',
        "x = 1" + "0" * 4_000 + ".5",
    ],
    ids=["a string", "a comment", "a string of several lines", "a number"],
)
def test_dots_and_brackets_in_strings_and_comments_are_no_bound(text: str, tmp_path: Path) -> None:
    error = mistakes_of(tmp_path / "search.toml", text.encode())
    assert all(mistake.expected != "TOML" and "at most" not in mistake.expected for mistake in error.mistakes)


def test_a_file_of_more_than_a_million_bytes_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_bytes(b"# a line\n" + b"x = [" + b"1," * 1_000_000 + b"]")
    with pytest.raises(SearchFileMistaken, match=r"from line 2 on.*at most 1,000,000 bytes"):
        load(path)
    with pytest.raises(SearchFileMistaken, match="at most 1,000,000 bytes"):
        load(Path("/dev/zero"))


def test_of_thousands_of_mistakes_a_hundred_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    text = "".join(f"k{number} = 1\n" for number in range(10_000)) + BASE
    error = mistakes_of(tmp_path / "search.toml", text.encode())
    assert len(error.mistakes) == 10_000
    assert str(error).endswith("and 9,900 more mistakes")
    assert str(error).count("\n  line ") < 5  # to look for a line, the file is read again


def test_the_values_of_a_parameter_are_not_compared_each_with_each() -> None:
    class Counted(float):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return float(self) == other

        __hash__ = float.__hash__

    values = tuple(Counted(number) for number in range(1_000))
    assert parameter_mistakes(DiscreteParameterRange(name="General/kind", values=values)) == []
    assert Counted.compared < 10_000
