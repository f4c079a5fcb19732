"""The command `eventhpo replay`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventhpo.log.reader import read
from tests.cli.harness import COMMAND, invoke, strict
from tests.replay.elsewhere import CHOOSES, may_flip, rounds_otherwise
from tests.replay.failing import altered

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
GOLDEN = sorted(FIXTURES.glob("*.db"))
PLAIN = [log for log in GOLDEN if log.stem not in CHOOSES]  # they come out alike to the bit on any platform
RUNGS = FIXTURES / "rungs.db"
MISSING, CUT = (FIXTURES / "must_fail" / f"{name}.db" for name in ("missing", "cut"))
ALTERED = altered()


def call(*words: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | {"PYTHONPATH": str(FIXTURES.parents[1])}
    return subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, env=env, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("log", GOLDEN, ids=lambda p: p.stem)
def test_a_golden_log_is_ok_and_the_verdict_is_the_last_line(log: Path) -> None:
    result = invoke("replay", log)
    (found,) = strict(invoke("replay", log, "--json").stdout)["logs"]
    decisions, rounded = found["decisions"], len(found["rounded"])
    said = {
        "ok": f"{decisions} decisions, all as recorded",
        "rounded": f"{decisions} decisions, {decisions - rounded} as recorded, {rounded} equal up to rounding (",
        "diverged": f"at seq {found['divergences'][0]['seq']}" if found["divergences"] else "",
    }
    assert result.stdout.splitlines()[-1].startswith(f"verdict      {found['verdict']}: {said[found['verdict']]}")
    assert result.exit_code == (found["verdict"] == "diverged")
    rows = list(read(log).rows)
    assert found["verdict"] == "ok" or rounds_otherwise(rows)
    assert found["verdict"] != "diverged" or may_flip(log, rows)
    assert decisions > 20


@pytest.mark.parametrize("words", [(), ("--all", "--json")], ids=["text", "json"])
def test_stdout_is_the_same_to_the_byte_whatever_the_number_of_processes(words: tuple[str, ...]) -> None:
    logs = (RUNGS, MISSING, CUT)
    alone = call("replay", *logs, *words, "--processes", 1, cwd=FIXTURES)
    assert alone.returncode == 3
    assert alone.stdout
    for processes in (2, 3, 7):
        done = call("replay", *logs, *words, "--processes", processes, cwd=FIXTURES)
        assert (done.stdout, done.stderr, done.returncode) == (alone.stdout, alone.stderr, alone.returncode)


@pytest.mark.parametrize("processes", [1, 2])
def test_it_needs_nothing_but_the_log(tmp_path: Path, processes: int) -> None:
    shutil.copy(RUNGS, tmp_path / "search.db")
    done = call("replay", "search.db", "--processes", processes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["search.db"]


def test_all_shows_each_divergence_and_the_first_alone_without_it() -> None:
    first = invoke("replay", MISSING).stdout
    every = invoke("replay", MISSING, "--all").stdout
    assert first.count("\ndivergence ") == 1
    assert every.count("\ndivergence ") > 1
    assert every.splitlines()[-1].endswith("places, first at seq 143")


@pytest.mark.parametrize(
    ("logs", "verdict", "code"),
    [
        (PLAIN, f"verdict      ok: {len(PLAIN)} logs, {len(PLAIN)} ok", 0),
        ([RUNGS, RUNGS, ALTERED], "verdict      diverged: 3 logs, 2 ok, 1 diverged", 1),
        ([CUT, ALTERED, GOLDEN[0]], "verdict      damaged: 3 logs, 1 ok, 1 diverged, 1 damaged", 3),
    ],
    ids=["ok", "diverged", "damaged"],
)
def test_several_logs_are_a_report_each_and_a_verdict_over_all(logs: list[Path], verdict: str, code: int) -> None:
    result = invoke("replay", *logs)
    lines = result.stdout.splitlines()
    assert [Path(line.split()[1]) for line in lines if line.startswith("log ")] == logs
    assert sum(line.startswith("verdict ") for line in lines) == len(logs) + 1
    assert (lines[-1], result.exit_code) == (verdict, code)


def test_a_log_that_is_missing_is_a_usage_error_before_anything_is_decided(tmp_path: Path) -> None:
    result = invoke("replay", GOLDEN[0], tmp_path / "none.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no log" in result.stderr


def test_no_log_at_all_is_a_usage_error() -> None:
    assert invoke("replay").exit_code == 2


def test_what_is_no_log_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database, but longer than a header of one\n" * 100)
    for name in ("empty.db", "text.db"):
        result = invoke("replay", tmp_path / name)
        assert result.exit_code == 3
        assert result.stdout.splitlines()[-1].startswith("verdict      damaged: file: ")


def test_json_has_both_sides_the_inputs_and_the_fingerprints() -> None:
    found = strict(invoke("replay", ALTERED, "--json").stdout)["logs"][0]
    (one,) = found["divergences"]
    assert (one["seq"], one["due"]) == (64, "Suggest")
    assert one["recorded"]["type"] == one["decided"]["type"] == "TrialSuggested"
    assert one["recorded"]["body"]["params"] != one["decided"]["body"]["params"]
    assert one["first_field"]["path"] == "params.General/x"
    assert all(row["seq"] < 64 for row in one["inputs"])
    assert {"recorded", "here", "first"} <= set(found["fingerprint"])


def test_a_sampler_is_named_on_the_command_line_and_by_no_log(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import optuna\nSAMPLER = optuna.samplers.RandomSampler()\nprint('hello')\n")
    for processes in (1, 2):
        done = call("replay", RUNGS, "--sampler", "mine:SAMPLER", "--processes", processes, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"the log names its sampler, RandomSampler" in done.stderr


def test_a_log_is_not_touched(tmp_path: Path) -> None:
    log = tmp_path / "search.db"
    shutil.copy(RUNGS, log)
    before = log.stat()
    assert invoke("replay", log).exit_code == 0
    after = log.stat()
    assert (after.st_mtime_ns, after.st_ino, after.st_size) == (before.st_mtime_ns, before.st_ino, before.st_size)


def test_who_has_seen_enough_still_gets_the_verdict_as_exit_code() -> None:
    read_end, write_end = os.pipe()
    child = subprocess.Popen([*COMMAND, "replay", str(ALTERED)], stdout=write_end, stderr=subprocess.PIPE)
    os.close(read_end)
    os.close(write_end)
    _, err = child.communicate(timeout=60)
    assert (err, child.returncode) == (b"", 1)


def test_the_help_loads_no_optuna() -> None:
    code = """
import sys
from eventhpo.cli import main
try:
    main(["replay", "--help"])
except SystemExit as end:
    assert end.code == 0
assert "optuna" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
