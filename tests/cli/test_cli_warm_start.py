"""`eventhpo run --from`: the finished trials of an earlier search are known to the new one, and cost it nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

import eventhpo
from eventhpo.core.fold.events import TrialsImported
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.warm_start import imports_from
from eventhpo.core.search.spec import ComponentConfig, DiscreteParameterRange, LogUniformParameterRange, Objective
from eventhpo.log import reader
from eventhpo.optimizer.import_study import imported
from eventhpo.optuna_adapter.state_view import STUDY, StateView
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from tests.cli.harness import Place, data, ended, invoke, simulated, small, status_of

ACCURACY = Objective("validation", "accuracy", "max")


def earlier(path: Path, **more: Any) -> Path:
    """Make the log of a finished search with the objective and the space of the place's search file.

    Six trials: 2 ends in NaN and 3 fails, the others complete.
    """
    simulated(path, **({"objectives": (ACCURACY,)} | more))
    return path


@pytest.fixture
def old(place: Place) -> Path:
    """The log of an earlier search, in the folder of the new one."""
    return earlier(place.folder / "old.db")


def seen(log: Path) -> list[optuna.trial.FrozenTrial]:
    """Return what the sampler sees of the search in *log*."""
    view = StateView(fold(reader.read(log).rows))
    view.refresh()
    return view.get_all_trials(STUDY)


# ---------------------------------------------------------------- what is taken over


def test_the_finished_trials_come_first_and_take_no_budget(place: Place, old: Path) -> None:
    result = place.run("--from", "old.db")
    assert result.returncode == 0, result.stderr
    assert "imported: 4 trials from old.db; left out: 2 failed" in result.stderr
    (event,) = place.of(TrialsImported)
    before = reader.read(old)
    assert (event.log.file, event.log.search_id) == ("old.db", before.search_id)
    assert (event.log.seq, event.log.hash) == (before.head.seq, before.head.hash)
    assert [(t.number, t.state) for t in event.trials] == [(n, "completed") for n in (0, 1, 4, 5)]
    assert [(part.trials, part.why) for part in event.left_out] == [(2, "failed")]
    status = status_of(place.log)
    assert (status["trials"]["imported"], status["jobs_created"]) == (4, 4), "four jobs, as the file says"
    assert status["budget"]["trials"]["used"] == 4


def test_the_sampler_sees_them_as_it_saw_them_in_their_own_search(place: Place, old: Path) -> None:
    assert place.run("--from", "old.db").returncode == 0
    told = [(t.params, t.values, t.intermediate_values, t.state) for t in seen(place.log)[:4]]
    assert told == [
        (t.params, t.values, t.intermediate_values, t.state) for t in map(seen(old).__getitem__, (0, 1, 4, 5))
    ]


def test_what_was_pruned_is_taken_over_up_to_its_prune(place: Place) -> None:
    pruner = ComponentConfig("ThresholdPruner", {"lower": 0.05})
    old = earlier(place.folder / "old.db", pruner=pruner, total_max_jobs=12)
    pruned = [t for t in seen(old) if t.state == optuna.trial.TrialState.PRUNED]
    assert pruned
    assert place.run("--from", "old.db").returncode == 0
    found = [t for t in seen(place.log) if t.state == optuna.trial.TrialState.PRUNED]
    assert [(t.params, t.intermediate_values) for t in found] == [(t.params, t.intermediate_values) for t in pruned]


def test_the_log_stands_alone_afterwards_and_is_decided_again_alike(place: Place, old: Path) -> None:
    assert place.run("--from", "old.db").returncode == 0
    old.unlink()
    for command in ("verify", "replay", "explain", "postmortem", "whatif", "report", "top", "status"):
        words = {"explain": ("5",), "report": ("-o", str(place.folder / "page.html"))}.get(command, ())
        result = invoke(command, place.log, *words)
        assert result.exit_code == 0, (command, result.output)
    assert invoke("verify", place.log, "--decide").exit_code == 0
    assert place.call("resume", "search.db", "--total-max-jobs", "6").returncode == 0
    assert status_of(place.log)["jobs_created"] == 6


def test_every_reading_command_says_where_they_come_from(place: Place, old: Path) -> None:
    assert place.run("--from", "old.db").returncode == 0
    log = place.log
    assert "imported    4 trials from old.db; left out: 2 failed" in invoke("status", log).output
    (part,) = status_of(log)["imports"]
    assert (part["source"], part["trials"], part["left_out"]) == ("old.db", 4, [{"trials": 2, "why": "failed"}])
    assert part["search_id"] == reader.read(old).search_id
    assert "from old.db, its trial 4: completed" in invoke("explain", log, "2").output
    assert "4 trials from old.db" in invoke("postmortem", log).output
    assert "4 trials from old.db" in invoke("events", log).output
    page = place.folder / "page.html"
    assert invoke("report", log, "-o", page).exit_code == 0
    assert "(and imported 4 from old.db" in page.read_text()
    tables = place.folder / "tables.db"
    assert invoke("tables", log, "-o", tables).exit_code == 0
    with sqlite3.connect(tables) as db:
        rows = db.execute("select trial, imported_from from trials where imported order by trial").fetchall()
    assert rows == [(n, "old.db") for n in range(4)]
    loaded = eventhpo.load(log)
    assert [t.imported_from for t in loaded.trials] == ["old.db"] * 4 + [None] * 4


def test_they_hold_no_place_in_the_top_unless_asked_for(place: Place, old: Path) -> None:
    assert place.run("--from", "old.db").returncode == 0
    assert [row["trial"] for row in data("top", place.log)] == sorted(
        range(4, 8), key=lambda n: -eventhpo.load(place.log).trials[n].value
    )
    assert "completed (from old.db)" in invoke("top", place.log, "--include-imported").output
    assert {row.get("imported") for row in data("top", place.log, "--include-imported")} == {"old.db", None}


def test_a_point_that_was_tried_before_is_not_tried_again(place: Place) -> None:
    kinds = (DiscreteParameterRange(name="General/kind", values=("a", "b", "c")),)
    simulate(
        place.folder / "old.db",
        search(space=kinds, objectives=(ACCURACY,), total_max_jobs=2),
        lambda trial, attempt, params: Script(points=((1, 0.5),)),
    )
    text = place.file.read_text()
    head, _, _ = text.partition('[space."General/lr"]')
    place.file.write_text(head + '[space."General/kind"]\ntype = "DiscreteParameterRange"\nvalues = ["a", "b", "c"]\n')
    place.script('from eventhpo import job\njob.report_scalar("validation", "accuracy", 1.0, 1)\n')
    assert place.run("--from", "old.db").returncode == 0
    tried = [t.params["General/kind"] for t in place.state().trials]
    assert sorted(tried) == ["a", "b", "c"]
    assert place.state().finished.reason == "space"


def test_a_search_may_begin_with_the_log_that_it_moves_aside(place: Place, old: Path) -> None:
    old.rename(place.log)
    (place.folder / "old.db.head").rename(place.folder / "search.db.head")
    result = place.run("--start-over", "--from", "search.db")
    assert result.returncode == 0, result.stderr
    assert (place.folder / "search.old-1.db").exists()
    assert status_of(place.log)["trials"]["imported"] == 4


# ---------------------------------------------------------------- several logs, studies, searches that run


def test_several_logs_are_imported_each_trial_once(place: Place, old: Path) -> None:
    """The second log has imported the first one's trials; named again, the first has nothing new to give.

    The other log has the id of the first, as a copy that went on apart: its trials are others.
    """
    run = ("run", "search.toml", "--from")
    assert place.call(*run, "old.db", "--log", "second.db").returncode == 0
    other = earlier(place.folder / "other.db", seed=8)
    result = place.run("--from", "second.db", "--from", "other.db")
    assert result.returncode == 0, result.stderr
    found = [(t.imported_from, t.params) for t in eventhpo.load(place.log).trials if t.imported]
    assert [source for source, _ in found] == ["old.db"] * 4 + ["second.db"] * 4 + ["other.db"] * 4
    assert [params for _, params in found][-4:] == [eventhpo.load(other).trials[n].params for n in (0, 1, 4, 5)]
    again = place.call(*run, "second.db", "--log", "again.db", "--from", "old.db")
    assert again.returncode == 2
    assert "(0 trials from old.db; left out: 4 imported already, 2 failed)" in again.stderr


def test_a_study_of_optuna_is_imported_and_its_trial_that_runs_is_not(place: Place) -> None:
    study = eventhpo.create_study(str(place.folder / "study.db"), direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kind", ["a", "b", "1"])
        trial.report(0.25, 1)
        return trial.suggest_float("lr", 1e-3, 1.0, log=True)

    study.optimize(objective, n_trials=3)
    study.ask()
    result = place.run("--from", "study.db")
    assert result.returncode == 0, result.stderr
    assert "imported: 3 trials from study.db; left out: 1 not finished" in result.stderr
    assert [t.params for t in eventhpo.load(place.log).trials[:3]] == [
        {f"General/{name}": value for name, value in sorted(t.params.items(), reverse=True)} for t in study.trials[:3]
    ]
    assert [t.intermediate_values for t in seen(place.log)[:3]] == [{1: 0.25}] * 3


def test_a_search_that_still_runs_is_read_as_of_now_and_goes_on(place: Place) -> None:
    child = place.running()
    asked = ("run", "search.toml", "--log", "new.db", "--from", "search.db")
    result = place.call(*asked)
    assert result.returncode == 2
    assert "search.db has no trial that this search can import" in result.stderr
    assert "2 not finished" in result.stderr
    place.release()
    assert ended(child)[0] == 0
    assert place.call(*asked).returncode == 0
    assert status_of(place.folder / "new.db")["trials"]["imported"] == 4


# ---------------------------------------------------------------- what is refused, and leaves nothing


def refused(place: Place, *words: str, code: int = 2) -> str:
    """Return the one line that a refused run prints; it makes no log."""
    before = sorted(p.name for p in place.folder.iterdir())
    result = place.call("run", "search.toml", "--log", "new.db", *words)
    assert result.returncode == code, result.stderr
    assert sorted(p.name for p in place.folder.iterdir()) == before
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "objective",
    [
        Objective("validation", "accuracy", "min"),
        Objective("validation", "accuracy", "max_global"),
        Objective("validation", "loss", "max"),
    ],
    ids=lambda o: f"{o.series}-{o.sign}",
)
def test_another_objective_is_refused(place: Place, objective: Objective) -> None:
    earlier(place.folder / "old.db", objectives=(objective,))
    line = refused(place, "--from", "old.db")
    assert f"old.db has the objective validation/{objective.series} ({objective.sign})" in line
    assert "the new search has validation/accuracy (max)" in line


LR = LogUniformParameterRange(name="General/lr", min_value=-3.0, max_value=0.0)
KIND = DiscreteParameterRange(name="General/kind", values=("a", "b", "1"))


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ((LR,), "4 without General/kind"),
        (
            (LR, DiscreteParameterRange(name="General/kind", values=("z",))),
            '4 with a General/kind that is not one of ["a", "b", "1"]',
        ),
        (
            (LogUniformParameterRange(name="General/lr", min_value=1.0, max_value=2.0), KIND),
            "4 with a General/lr that is not a number from 0.001 to 1, on a log scale",
        ),
        (
            (LR, KIND, DiscreteParameterRange(name="General/width", values=(8,))),
            "4 with General/width, which is not in the space",
        ),
    ],
    ids=["lacks", "choice", "range", "foreign"],
)
def test_a_log_of_which_no_trial_fits_is_refused_with_the_reasons(place: Place, space: Any, reason: str) -> None:
    old = place.folder / "old.db"
    what = search(space=space, objectives=(ACCURACY,), total_max_jobs=4)
    simulate(old, what, lambda trial, attempt, params: Script(points=((1, 0.5),)))
    line = refused(place, "--from", "old.db")
    assert "no trial that this search can import" in line
    assert reason in line


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "missing", "row"])
def test_a_damaged_log_ends_the_command_with_one_line(place: Place, old: Path, damage: str) -> None:
    match damage:
        case "cut":
            os.truncate(old, old.stat().st_size // 2)
        case "text":
            old.write_text("no database at all" * 100)
        case "empty":
            old.write_bytes(b"")
        case "missing":
            old.unlink()
        case "row":
            with sqlite3.connect(old) as db:
                for (name,) in db.execute("select name from sqlite_master where type='trigger'").fetchall():
                    db.execute(f"drop trigger {name}")
                db.execute("update event set body = replace(body, 'General/lr', 'General/ls')")
    line = refused(place, "--from", "old.db", code=2 if damage == "missing" else 3)
    assert "old.db" in line


def test_a_log_that_is_there_is_not_begun_again_and_resume_imports_nothing(place: Place, old: Path) -> None:
    shutil.copy(old, place.log)
    result = place.run("--from", "old.db")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "search.db exists already" in line
    place.log.unlink()
    resumed = place.call("resume", "old.db", "--from", "old.db")
    assert resumed.returncode == 2
    assert "`eventhpo run NEW.toml --from OLD.db`" in resumed.stderr


def test_names_of_a_stranger_stay_text(place: Place) -> None:
    hostile = DiscreteParameterRange(name="General/\x1b[31m<script>" + "x" * 10_000, values=(1,))
    earlier(place.folder / "old.db", space=(LR, KIND, hostile))
    line = refused(place, "--from", "old.db")
    assert "\x1b" not in line
    assert len(line) < 500


# ---------------------------------------------------------------- killed, and every sampler

KILLED = """
import os, sys
real, mark = os.link, sys.argv.pop()
def link(*names):
    if mark == "after":
        real(*names)
    os._exit(9)
os.link = link
from eventhpo.cli import main
main()
"""


def test_a_kill_while_the_log_is_made_leaves_no_log_or_a_whole_one(place: Place, old: Path) -> None:
    """The trials are in the file before it has its name."""
    words = ["run", "search.toml", "--log", "search.db", "--from", "old.db"]
    for moment in ("before", "after"):
        child = subprocess.run([sys.executable, "-c", KILLED, *words, moment], cwd=place.folder, check=False)
        assert child.returncode == 9
        assert place.log.exists() == (moment == "after")
    assert status_of(place.log)["trials"]["imported"] == 4
    assert place.call("resume", "search.db").returncode == 0
    assert status_of(place.log)["jobs_created"] == 4


SAMPLERS: dict[str, dict[str, Any]] = {
    "TPESampler": {"n_startup_trials": 2, "multivariate": True},
    "RandomSampler": {},
    "CmaEsSampler": {},
    "NSGAIISampler": {"population_size": 2},
    "QMCSampler": {},
    "GridSampler": {"search_space": {"General/lr": [0.01, 0.1], "General/kind": ["a", "b"]}},
    "BruteForceSampler": {},
    "GPSampler": {},
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_goes_on_from_them_and_is_decided_again_alike(name: str, tmp_path: Path) -> None:
    if name == "GPSampler":
        pytest.importorskip("torch", reason="GPSampler needs torch, which is gigabytes")
    step = 0.5 if name == "BruteForceSampler" else None
    space = (LogUniformParameterRange(name="General/lr", min_value=-3.0, max_value=0.0, step_size=step), KIND)
    old = earlier(tmp_path / "old.db", space=space)
    new = search(
        objectives=(ACCURACY,), space=space, sampler=ComponentConfig(name, SAMPLERS[name]), total_max_jobs=4, seed=9
    )
    state = simulate(
        tmp_path / "new.db",
        new,
        lambda trial, attempt, params: Script(points=((1, 0.5),)),
        inputs=imports_from(fold(reader.read(old).rows), "old.db", new, set()),
    )
    assert [t.source for t in state.trials] == ["imported"] * 4 + ["sampler"] * 4
    assert len({state.point_key(t.params) for t in state.trials}) == 8, "no point is tried twice"
    for command in (("verify", "--decide"), ("replay",), ("whatif",)):
        result = invoke(command[0], tmp_path / "new.db", *command[1:])
        assert result.exit_code == 0, result.output


def test_tpe_learns_from_them(place: Place, old: Path) -> None:
    """With four trials known, TPE's start of three random trials is over at once; without them it is not."""
    sampler = 'name = "TPESampler"\nn_startup_trials = 3'
    place.file.write_text(place.file.read_text().replace('name = "RandomSampler"', sampler))
    assert place.run("--from", "old.db").returncode == 0
    assert place.call("run", "search.toml", "--log", "cold.db").returncode == 0
    assert "4 completed" in invoke("explain", place.log, "4").output
    warm, cold = eventhpo.load(place.log).trials[4], eventhpo.load(place.folder / "cold.db").trials[0]
    assert warm.params != cold.params


def test_check_suggests_what_the_run_does_first_and_says_what_is_imported(place: Place, old: Path) -> None:
    sampler = 'name = "TPESampler"\nn_startup_trials = 3'
    place.file.write_text(place.file.read_text().replace('name = "RandomSampler"', sampler))
    checked = place.call("check", "search.toml", "--from", "old.db", "--json")
    assert "imported: 4 trials from old.db; left out: 2 failed" in checked.stderr
    suggestions = json.loads(checked.stdout)["suggestions"]
    assert len(suggestions) == 4, "as many as the budget has jobs"
    assert place.run("--from", "old.db").returncode == 0
    assert eventhpo.load(place.log).trials[4].params == suggestions[0]


def test_a_study_known_by_load_study_is_imported_by_the_class_too(place: Place, old: Path) -> None:
    """As docs/cli.md says; the class takes any Optuna study."""
    study = eventhpo.load_study(str(old))
    told = imported(study, small(objectives=(ACCURACY,)))
    assert [(t.number, t.values) for t in told.trials] == [
        (t.number, tuple(t.values)) for t in study.trials if t.values
    ]


@pytest.mark.parametrize("name", ["NSGAIISampler", "CmaEsSampler"])
def test_a_sampler_that_learns_from_its_own_trials_only_is_said_to(place: Place, old: Path, name: str) -> None:
    place.file.write_text(place.file.read_text().replace('"RandomSampler"', f'"{name}"'))
    assert f"{name} learns from the trials of its own search only" in place.run("--from", "old.db").stderr
