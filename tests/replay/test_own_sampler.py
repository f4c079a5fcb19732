"""Logs of samplers and pruners that are not Optuna's own: left out and counted, or asked again."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from eventhpo.core.fold.events import JobPruned, JobsContinued, TrialSuggested
from eventhpo.errors import Usage
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.user_class_record import describe
from eventhpo.optuna_adapter.user_classes import UserClasses
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from replay import redecide
from tests.cli.harness import COMMAND

MINE = """
import optuna

class Halving(optuna.samplers.RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        print("asked", trial.number)
        return super().sample_independent(study, trial, name, distribution) / {by}

class AboveHalf(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return max(trial.intermediate_values.values()) > 0.4

SAMPLER = Halving(seed=3)
PRUNER = AboveHalf()
"""
TRIALS = 40  # more decisions than one share takes


class Place:
    """A folder with a module, and the log of a search that was made with it."""

    def __init__(self, folder: Path, module: ModuleType) -> None:
        self.folder, self.module = folder, module
        self.log = folder / "search.db"
        what = search(sampler=describe(module.SAMPLER), pruner=describe(module.PRUNER), total_max_jobs=TRIALS)
        own = UserClasses(module.SAMPLER, module.PRUNER)
        simulate(self.log, what, lambda n, _, params: Script(points=((1, params["General/x"]), (2, 0.1 * n))), own=own)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(
            [*COMMAND, "replay", "search.db", *words],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine_of_replay.py").write_text(MINE.format(by=2))
    sys.path.append(str(folder))
    try:
        return Place(folder, importlib.import_module("mine_of_replay"))
    finally:
        sys.path.remove(str(folder))


BOTH = ("--sampler", "mine_of_replay:SAMPLER", "--pruner", "mine_of_replay:PRUNER")


def test_what_nobody_passed_in_is_left_out_counted_and_shown(place: Place) -> None:
    report = redecide(place.log)
    left = [r.seq for r in read(place.log).rows if isinstance(r.event, TrialSuggested | JobsContinued | JobPruned)]
    assert [one.seq for one in report.undecided] == left
    assert report.verdict == "ok"
    shown = place.call().stdout
    assert f"decisions    {report.decisions} decided again, {len(left)} not" in shown
    assert f"undecided    {TRIALS}: mine_of_replay.Halving is not Optuna's own" in shown
    assert shown.splitlines()[-1].endswith(f"{len(left)} not decided again")


@pytest.mark.parametrize("words", [(), BOTH[:2], BOTH], ids=["nobody", "sampler", "both"])
def test_the_report_is_the_same_whatever_the_number_of_processes(place: Place, words: tuple[str, ...]) -> None:
    alone = place.call(*words)
    assert alone.returncode == 0, alone.stderr
    for processes in ("2", "3"):
        assert place.call(*words, "--processes", processes).stdout == alone.stdout


def test_who_is_passed_in_decides_again_bit_for_bit(place: Place) -> None:
    report = redecide(place.log, sampler=place.module.SAMPLER, pruner=place.module.PRUNER)
    assert (report.verdict, report.undecided) == ("ok", ())
    assert "all as recorded" in place.call(*BOTH).stdout.splitlines()[-1]


def test_what_it_prints_does_not_stand_in_the_report(place: Place) -> None:
    done = place.call(*BOTH)
    assert "asked 0" in done.stderr
    assert "asked" not in done.stdout


def test_another_one_is_refused(place: Place) -> None:
    other = place.module.AboveHalf()
    other.limit = 3
    with pytest.raises(Usage, match="pruner: "):
        redecide(place.log, pruner=other)


def test_today_s_source_of_the_same_class_is_named(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mine_of_replay.py").write_text(MINE.format(by=4))
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*COMMAND, "replay", str(place.log), *BOTH]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the source of mine_of_replay.Halving" in done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('no GPU here')", "RuntimeError: no GPU here"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    ],
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_module_that_cannot_be_imported_is_a_usage_error(
    place: Place, source: str, said: str, processes: str
) -> None:
    (place.folder / "broken_of_replay.py").write_text(source)
    done = place.call("--sampler", "broken_of_replay:SAMPLER", "--processes", processes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: sampler broken_of_replay:SAMPLER: the module cannot be imported: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_class_is_no_instance_and_said_to_be_a_class(place: Place) -> None:
    done = place.call("--sampler", "mine_of_replay:Halving")
    assert done.returncode == 2
    assert "the class Halving, no instance of BaseSampler; pass an instance" in done.stderr
