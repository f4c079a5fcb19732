"""status, top, events and verify on logs of simulated searches."""

from __future__ import annotations

import datetime
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold import budget
from eventhpo.core.fold.codec import TYPES
from eventhpo.core.fold.events import (
    BudgetUpdated,
    JobCreated,
    JobPruned,
    MetricObserved,
    SearchFinished,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.core.fold.evolve import fold
from eventhpo.core.scheduler import rank
from eventhpo.core.search.spec import ComponentConfig, Objective
from eventhpo.log import paths, reader
from eventhpo.testing.searches import simulate
from eventhpo.testing.simulated import Script
from eventhpo.views import event_lines
from eventhpo.views.budget_use import spent
from tests.cli.harness import COMMAND, data, ended, invoke, simulated, small, strict
from tests.replay.forging import changed, forged
from tests.waiting import eventually


def state_of(log):
    return fold(reader.read(log).rows)


# ---------------------------------------------------------------- status


def test_status_is_one_object_with_what_scripts_rely_on(log):
    found = data("status", log)
    state = state_of(log)
    assert found["search_id"] == state.search_id
    assert found["name"] == "simulated"
    assert found["state"] == "finished"
    assert found["ending"]["reason"] == "budget"
    assert found["jobs_created"] == state.totals.jobs == len(data_of(log, "JobCreated"))
    assert sum(found["jobs"].values()) == found["jobs_created"]
    assert sum(found["trials"].values()) == len(state.trials)
    assert found["head"] == {"seq": state.head.seq, "hash": state.head.hash}
    assert found["controller"] is None
    assert found["running"] == []
    assert found["notes"] == []


def test_the_budget_names_used_reserved_and_limit(tmp_path):
    log = tmp_path / "search.db"
    simulated(log, max_iteration_per_job=3, total_max_jobs=4, compute_time_limit=90.0)
    found, state = data("status", log)["budget"], state_of(log)
    assert found["iterations"] == {"used": state.totals.charged, "reserved": 0, "limit": 12}
    assert found["compute_time"]["used"] == pytest.approx(budget.compute_used(state) / 60e6)
    assert found["compute_time"]["limit"] == 90.0
    assert found["trials"]["limit"] is None


def test_best_is_the_first_row_of_top(log):
    assert data("status", log)["best"] == data("top", log)[0]


def test_text_says_a_fact_a_line(log):
    text = invoke("status", log).stdout.splitlines()
    assert text[1].split() == ["state", "finished"]
    assert len({line.split()[0] for line in text if not line.startswith("failed")}) == len(
        [line for line in text if not line.startswith("failed")]
    )


def test_a_failed_trial_is_shown_with_its_reason_in_every_form(log):
    found = data("status", log)["failed"]
    assert {one["trial"]: one["why"] for one in found}[3] == "it failed"
    assert "trial 3: it failed" in invoke("status", log).stdout


def test_an_effect_that_waits_before_it_is_tried_again_is_shown_with_its_error(tmp_path):
    log = tmp_path / "search.db"
    simulate(log, small(), lambda *_: Script(points=((1, 1.0),), refusals={"launch": 1}))
    rows = reader.read(log).rows
    paused = next(n for n, row in enumerate(rows, 1) if type(row.event).__name__ == "EffectFailed")
    from eventhpo.views.status import render_status, status

    state = fold(rows[:paused])
    found = status(state, None)
    assert [(p.effect, p.trial, p.count) for p in found.paused] == [("launch", 0, 1)]
    assert any(line.startswith("paused") and "refused by the script" in line for line in render_status(state, found))


@pytest.mark.parametrize("name", ["lock", "head"])
def test_a_missing_file_beside_the_log_is_a_note(log, name):
    getattr(paths, name)(log).unlink()
    result = invoke("status", log)
    assert result.exit_code == 0
    assert f"no {name} file" in result.stdout
    assert invoke("verify", log).exit_code == 0


# ---------------------------------------------------------------- top


def test_top_has_the_shape_of_clearmls_details_and_the_order_of_the_rank(log):
    found, state = data("top", log, "-k", 3), state_of(log)
    best = rank.top(state, 3)
    assert [row["trial"] for row in found] == [t.number for t in best]
    row, trial = found[0], best[0]
    assert row["task_id"] == trial.last.job_id
    assert list(row["hyper_parameters"]) == ["General/lr", "General/kind"]
    assert row["hyper_parameters"]["General/lr"] == str(trial.params["General/lr"])
    values, iterations = trial.last.curves[0].values, trial.last.curves[0].iterations
    assert row["metrics"] == {
        "validation/loss": {
            "metric": "validation",
            "variant": "loss",
            "value": values[-1],
            "min_value": min(values),
            "max_value": max(values),
            "min_value_iteration": iterations[values.index(min(values))],
            "max_value_iteration": iterations[values.index(max(values))],
            "first_value": values[0],
            "first_value_iteration": iterations[0],
            "count": len(values),
            "mean_value": sum(values) / len(values),
            "x_axis_label": None,
        }
    }


def test_parameters_are_texts_as_clearml_makes_them():
    from eventhpo.core.search.spec import clearml_text

    assert [clearml_text(v) for v in (None, True, 3, 0.1, 1e-7, "a")] == ["", "True", "3", "0.1", "1e-07", "a"]


def test_all_metrics_adds_every_series(log):
    assert set(data("top", log, "-k", 1, "--all-metrics")[0]["metrics"]) == {"validation/loss", "other/loss"}


def test_failed_trials_are_listed_only_when_they_are_asked_for(log):
    assert {row["status"] for row in data("top", log)} == {"completed"}
    statuses = {row["trial"]: row["status"] for row in data("top", log, "--include-failed")}
    assert statuses[2] == statuses[3] == "failed"
    assert data("top", log, "--only-completed", "--include-failed") == data("top", log)


def test_numbers_that_json_cannot_carry_are_written_by_name(log):
    rows = {row["trial"]: row for row in data("top", log, "--include-failed", "--all-metrics")}
    nan = rows[2]["metrics"]["validation/loss"]
    assert (nan["value"], nan["min_value"], nan["max_value"]) == ("nan", 0.1, 0.1)
    assert rows[3]["metrics"]["validation/loss"]["value"] == "inf"
    assert "nan" in invoke("top", log, "--include-failed").stdout


def test_pruned_and_running_trials_are_listed_too(tmp_path):
    log = tmp_path / "search.db"
    what = small(pruner=ComponentConfig("ThresholdPruner", {"upper": 0.5}), total_max_jobs=3)
    simulate(log, what, lambda trial, *_: Script(points=((1, float(trial)), (2, 0.0))), cut=lambda *_: 1)
    assert {row["trial"]: row["status"] for row in data("top", log)} == {0: "completed", 1: "pruned", 2: "pruned"}


def test_the_table_has_a_line_for_each_row_under_its_headline(log):
    text = invoke("top", log, "-k", 2).stdout.splitlines()
    assert text[0].split()[:4] == ["rank", "trial", "status", "validation/loss"]
    assert [line.split()[0] for line in text[1:]] == ["1", "2"]


def test_several_objectives_have_a_metric_each(tmp_path):
    log = tmp_path / "search.db"
    objectives = (Objective("a", "loss", "min"), Objective("b", "score", "max"))
    what = small(objectives=objectives, total_max_jobs=3)
    simulate(log, what, lambda trial, *_: Script(points=((1, 1.0 * trial, 0), (1, 2.0 * trial, 1))))
    assert set(data("top", log)[0]["metrics"]) == {"a/loss", "b/score"}
    assert "a/loss = 0, b/score = 0" in invoke("status", log).stdout


# ---------------------------------------------------------------- events


def data_of(log, *types, **options):
    words = [word for name in types for word in ("--type", name)]
    words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = invoke("events", log, "--json", *words)
    assert result.exit_code == 0, result.output
    return [strict(line) for line in result.stdout.splitlines()]


def test_each_event_is_a_line_with_its_own_fields_beside_the_envelope(log):
    rows = reader.read(log).rows
    found = data_of(log)
    assert [line["seq"] for line in found] == [row.seq for row in rows]
    for line, row in zip(found, rows, strict=True):
        envelope = {name: line.pop(name) for name in event_lines.ENVELOPE}
        assert envelope["type"] == type(row.event).__name__
        assert (envelope["epoch"], envelope["cause"], envelope["v"]) == (row.epoch, row.cause, 1)
        at = datetime.datetime.fromisoformat(envelope["at"])
        assert at.utcoffset() == datetime.timedelta(0)
        assert round(at.timestamp() * 1e6) == row.at
        assert line == json.loads(msgspec.json.encode(row.event))


def test_no_event_has_a_field_that_the_envelope_would_hide():
    for kind in TYPES.values():
        assert not set(kind.__struct_encode_fields__) & set(event_lines.ENVELOPE)


def test_the_fields_that_scripts_rely_on_are_there(tmp_path):
    log = tmp_path / "search.db"
    what = small(pruner=ComponentConfig("ThresholdPruner", {"upper": 0.5}), total_max_jobs=3, max_iteration_per_job=2)
    simulate(log, what, lambda trial, *_: Script(points=((1, float(trial)), (2, 0.0))), cut=lambda *_: 1)
    wanted = {
        TrialSuggested: {"trial", "params"},
        JobCreated: {"trial", "attempt", "key"},
        MetricObserved: {"trial", "attempt", "title", "series", "iterations", "values", "from", "to"},
        JobPruned: {"trial", "attempt", "judged", "iteration"},
        BudgetUpdated: {"trial", "attempt", "iterations", "late", "compute_time", "used", "reserved"},
    }
    for kind, fields in wanted.items():
        found = data_of(log, kind.__name__)
        assert found
        for line in found:
            assert fields <= set(line)
    assert data_of(log, "JobsContinued")[0]["verdicts"][0].keys() >= {"trial", "attempt", "judged", "iteration"}


def test_values_stand_in_events_as_they_were_reported(log):
    values = [line["values"] for line in data_of(log, "MetricObserved", trial=2)]
    assert list(itertools.chain(*values)) == [0.1, "nan"]


def test_events_are_filtered_by_type_trial_and_seq(log):
    assert {line["type"] for line in data_of(log, "JobCreated", "TrialFinished")} == {"JobCreated", "TrialFinished"}
    assert {line["trial"] for line in data_of(log, trial=1) if line["type"] != "JobsContinued"} == {1}
    everything = data_of(log)
    assert data_of(log, after=7) == everything[7:]
    assert data_of(log, after=everything[-1]["seq"]) == []
    assert data_of(log, after=10**9) == []


def test_go_on_verdicts_concern_each_trial_that_they_name(tmp_path):
    log = tmp_path / "search.db"
    simulated(log, pruner=ComponentConfig("ThresholdPruner", {"upper": 50.0}), num_concurrent_workers=2)
    found = data_of(log, "JobsContinued", trial=1)
    assert found
    assert all(1 in {v["trial"] for v in line["verdicts"]} for line in found)


def test_an_unknown_type_is_refused_with_the_nearest_name(log):
    result = invoke("events", log, "--type", "JobPrund")
    assert result.exit_code == 2
    assert "JobPruned" in result.stderr


def test_every_event_has_a_readable_line(log):
    text = invoke("events", log).stdout.splitlines()
    rows = reader.read(log).rows
    assert [int(line.split()[0]) for line in text] == [row.seq for row in rows]
    assert [line.split()[2] for line in text] == [type(row.event).__name__ for row in rows]


def test_follow_shows_what_comes_and_ends_with_the_search(place):
    child = place.running()
    following = place.start("events", "search.db", "--follow", "--json")
    seen = [strict(following.stdout.readline())]
    while seen[-1]["type"] != "MetricObserved":
        seen.append(strict(following.stdout.readline()))
    assert following.poll() is None
    place.release()
    ended(child)
    out = following.stdout.read()
    assert ended(following)[0] == 0
    seen += [strict(line) for line in out.splitlines()]
    assert [line["seq"] for line in seen] == [row.seq for row in place.rows()]
    assert seen[-1]["type"] == SearchFinished.__name__


def test_follow_ends_on_ctrl_c_with_130(place):
    child = place.running()
    following = place.start("events", "search.db", "--follow")
    following.stdout.readline()
    following.send_signal(signal.SIGINT)
    code, _, err = ended(following)
    assert code == 130
    assert "Traceback" not in err
    place.release()
    ended(child)


@pytest.mark.parametrize("words", [("events",), ("events", "--json"), ("top",), ("status",), ("verify",)])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(log, words):
    """The pipe is closed before anything is written, as by `| head -0`."""
    read_end, write_end = os.pipe()
    child = subprocess.Popen(
        [*COMMAND, words[0], str(log), *words[1:]], stdout=write_end, stderr=subprocess.PIPE, text=True
    )
    os.close(read_end)
    os.close(write_end)
    _, err = child.communicate(timeout=60)
    assert err == ""
    assert child.returncode == 0


def test_data_that_cannot_be_written_is_a_storage_error(log):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "top", str(log)], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("Error: stdout cannot be written")
    assert len(done.stderr.splitlines()) == 1


def test_a_stdout_that_is_closed_is_no_error_and_is_said(log):
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(COMMAND)} status {log} >&-"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "stdout is closed: what is printed there is not shown\n")


# ---------------------------------------------------------------- verify


def test_verify_says_a_line_a_check_and_the_verdict_last(log):
    text = invoke("verify", log).stdout.splitlines()
    names = ("file", "chain", "decode", "fold", "keys", "head", "wal")
    assert [line.split()[:2] for line in text] == [
        *([name, "ok"] for name in names),
        ["unchecked", "-"],
        ["unchecked", "-"],
        ["verdict", "ok"],
    ]
    head = state_of(log).head
    assert text[-1].endswith(f"{head.seq}:{head.hash}")


def test_verify_decides_every_decision_again(log):
    text = invoke("verify", log, "--decide").stdout.splitlines()
    assert [line for line in text if line.startswith("decide    ok")]


def test_verify_names_the_first_decision_that_comes_out_otherwise(tmp_path):
    """A log whose chain and keys are right and whose budget is wrong: only deciding again finds it."""
    source, log = tmp_path / "search.db", tmp_path / "forged.db"
    simulated(source)
    rows = reader.read(source).rows
    seq = next(row.seq for row in rows if isinstance(row.event, BudgetUpdated))
    forged(log, rows, seq, lambda event: changed(event, iterations=9))
    assert invoke("verify", log).exit_code == 0
    result = invoke("verify", log, "--decide")
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if line.startswith("decide"))
    assert f"seq {seq}: recorded BudgetUpdated" in line
    assert '"iterations":9' in line
    assert "decided BudgetUpdated" in line
    assert result.stdout.splitlines()[-1].startswith("verdict   failed")


def test_verify_checks_against_a_head_that_was_written_down(log):
    row = reader.read(log).rows[4]
    assert invoke("verify", log, "--head", f"{row.seq}:{row.hash}").exit_code == 0
    for wrong in (f"{row.seq}:{'0' * 32}", f"{10**6}:{row.hash}"):
        result = invoke("verify", log, "--head", wrong)
        assert result.exit_code == 1
        assert result.stdout.splitlines()[-1].startswith("verdict   failed")
    for none in ("5", "5:abc", ":", f"x:{row.hash}", f"0:{row.hash}"):
        assert invoke("verify", log, "--head", none).exit_code == 2


def test_verify_as_json_has_the_checks_and_the_verdict(log):
    found = data("verify", log)
    assert [check["name"] for check in found["checks"]] == [*("file", "chain", "decode", "fold", "keys", "head", "wal")]
    assert found["verdict"] == "ok"


# ---------------------------------------------------------------- what the budget went to


def test_the_parts_of_the_budget_add_up_to_what_was_used(tmp_path):
    log = tmp_path / "search.db"
    what = small(pruner=ComponentConfig("ThresholdPruner", {"upper": 0.5}), total_max_jobs=4, max_iteration_per_job=3)

    def scripts(trial, attempt, params):
        if trial == 1 and attempt == 0:
            return Script(points=((1, 0.1), (2, 0.1)), how="failed")
        return Script(points=((1, 0.1 * trial), (2, 0.2 * trial), (3, 0.0)), overrun=1)

    state = simulate(log, what, scripts)
    found = spent(state)
    assert sum(share.iterations for share in found.parts.values()) == found.used == state.totals.charged
    assert sum(share.jobs for share in found.parts.values()) == state.totals.jobs
    assert found.parts["winner"].jobs == 1
    assert found.parts["failed"].iterations == 2
    assert found.parts["pruned"].jobs == sum(e.state == "pruned" for e in finished(log))
    assert found.used + found.reserved <= found.limit


def finished(log):
    return [row.event for row in reader.read(log).rows if isinstance(row.event, TrialFinished)]


# ---------------------------------------------------------------- what reading must not load

HEAVY = ("optuna", "clearml", "sqlite_utils", "rich", "numpy", "replay")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["status", "LOG"],
        ["status", "LOG", "--json"],
        ["top", "LOG", "--all-metrics"],
        ["events", "LOG", "--json"],
        ["status", "LOG", "--at", "5"],
        ["verify", "LOG"],
        ["run", "--help"],
        ["resume", "--help"],
        ["events", "--help"],
        ["watch", "--help"],
        ["watch", "LOG"],
        ["explain", "--help"],
    ],
    ids=" ".join,
)
def test_reading_and_helping_load_neither_optuna_nor_a_terminal_library(log, words):
    # a help loads the modules of the commands that it names, and those of replay their package
    heavy = [name for name in HEAVY if name != "replay" or "--help" not in words]
    code = f"""
        import sys
        from eventhpo.cli import main
        try:
            main({[str(log) if word == "LOG" else word for word in words]})
        except SystemExit as end:
            assert end.code == 0, end.code
        loaded = [name for name in {heavy} if name in sys.modules]
        assert not loaded, loaded
    """
    if words == ["--help"]:  # the help of a command stands in its module, replay's in replay's
        code = code.replace(", 'replay'", "")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, cwd=log.parent
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_left_beside_a_log_by_reading_it(log):
    before = {p.name: p.stat().st_mtime_ns for p in log.parent.iterdir()}
    for words in (("status",), ("top",), ("events",), ("verify", "--decide")):
        invoke(words[0], log, *words[1:])
    assert {p.name: p.stat().st_mtime_ns for p in log.parent.iterdir()} == before


def test_reading_a_live_log_is_never_in_its_writers_way(place):
    child = place.running()
    eventually(lambda: invoke("status", place.log).exit_code == 0)
    assert data("status", place.log)["state"] == "running"
    assert [row["slot"] for row in data("status", place.log)["running"]] == [0, 1]
    assert [row["iteration"] for row in data("status", place.log)["running"]] == [1, 1]
    assert {row["status"] for row in data("top", place.log)} == {"running"}
    place.release()
    assert ended(child)[0] == 0
    assert not math.isnan(data("top", place.log)[0]["metrics"]["validation/accuracy"]["value"])
