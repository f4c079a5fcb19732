"""`eventhpo new`, a log named after its search, and starting over."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from eventhpo.core.fold.events import MetricObserved
from eventhpo.core.fold.evolve import fold
from eventhpo.log import reader
from tests.cli.harness import COMMAND, Place, invoke

FLAVOURS = pytest.mark.parametrize("file", ["search.toml", "search_job.toml"])


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=folder, text=True, capture_output=True, timeout=120, check=False)


@FLAVOURS
def test_what_it_writes_runs_as_it_is_and_its_log_has_the_name_of_the_search(tmp_path: Path, file: str):
    result = call(tmp_path, "new", "fits")
    assert result.returncode == 0, result.stderr
    assert "eventhpo run fits/search.toml" in result.stdout
    folder = tmp_path / "fits"
    assert call(folder, "check", file).returncode == 0
    run = call(folder, "run", file)
    assert run.returncode == 0, run.stderr
    log = folder / {"search.toml": "fits.db", "search_job.toml": "fits-job.db"}[file]
    assert f"the log of this search is {log.name}" in run.stderr
    rows = reader.read(log, verify=True).rows
    state = fold(rows)
    assert state.finished.reason == "budget"
    assert state.totals.trials["failed"] == state.totals.trials["aborted"] == 0
    assert state.totals.trials["completed"] > 3
    assert {row.event.title for row in rows if isinstance(row.event, MetricObserved)} == {"validation"}
    assert state.totals.best < state.totals.worst[0]


@pytest.mark.parametrize("script", ["train.py", "train_job.py"])
def test_its_scripts_run_without_a_search(tmp_path: Path, script: str):
    call(tmp_path, "new", "fits")
    alone = subprocess.run(
        [sys.executable, script], cwd=tmp_path / "fits", text=True, capture_output=True, check=False, timeout=60
    )
    assert alone.returncode == 0, alone.stderr


def test_the_script_with_flags_knows_nothing_of_eventhpo(tmp_path: Path):
    call(tmp_path, "new", "fits")
    imports = [
        line
        for line in (tmp_path / "fits" / "train.py").read_text().splitlines()
        if line.startswith(("import", "from"))
    ]
    assert not any("eventhpo" in line for line in imports)


def test_its_lines_that_are_commented_out_are_keys_of_a_search_file(tmp_path: Path):
    call(tmp_path, "new", "fits")
    path = tmp_path / "fits" / "search.toml"
    lines = []
    for line in path.read_text().splitlines():
        bare = line.removeprefix("# ")
        lines.append(bare if line.startswith("# ") and (" = " in bare or bare.startswith("[[")) else line)
    path.write_text("\n".join(lines))
    assert {"seed", "time_limit_per_job", "on_end", "trial"} <= tomllib.loads(path.read_text()).keys()
    result = call(tmp_path / "fits", "check", "search.toml")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["", 'a "quoted" name', "naïve 模型", "with\nnewline"])
def test_a_folder_of_any_name_gives_a_search_file_that_reads(tmp_path: Path, name: str):
    folder = tmp_path / "empty" if not name else tmp_path / name
    assert invoke("new", str(folder)).exit_code == 0
    assert invoke("check", str(folder / "search.toml")).exit_code == 0


def test_a_folder_in_use_is_refused_and_left_as_it_is(tmp_path: Path):
    (tmp_path / "train.py").write_text("mine")
    result = invoke("new", str(tmp_path))
    assert result.exit_code == 2
    assert "is in use" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
    assert invoke("new", str(tmp_path / "train.py")).exit_code == 2


@pytest.mark.parametrize(
    ("name", "log"), [("a/b c", "a-b-c.db"), ("..", "search.db"), ("-x", "x.db"), ("naïve 模型", "naïve-模型.db")]
)
def test_a_log_has_as_much_of_the_name_as_a_file_can_have(place: Place, name: str, log: str):
    place.file.write_text(place.file.read_text().replace('name = "small"', f'name = "{name}"'))
    assert place.call("run", "search.toml").returncode == 0
    assert (place.folder / log).is_file()


# ---------------------------------------------------------------- starting over


def test_starting_over_moves_the_old_search_aside_where_it_can_be_read_and_carried_on(place: Place):
    assert place.run().returncode == 0
    old = place.state()
    again = place.run()
    assert again.returncode == 2
    assert "--start-over" in again.stderr
    result = place.run("--start-over")
    assert result.returncode == 0, result.stderr
    assert "the earlier search at search.db was moved to search.old-1.db" in result.stderr
    assert place.state().search_id != old.search_id
    assert fold(reader.read(place.folder / "search.old-1.db").rows).search_id == old.search_id
    assert place.call("verify", "search.old-1.db").returncode == 0
    assert place.call("resume", "search.old-1.db", "--total-max-jobs", "5").returncode == 0
    assert place.call("verify", "search.old-1.db", "--decide").returncode == 0


def test_starting_over_where_nothing_lies_is_a_start(place: Place):
    assert place.run("--start-over").returncode == 0
    assert [path.name for path in place.folder.glob("*.db")] == ["search.db"]


def test_a_search_whose_controller_or_jobs_live_is_not_moved(place: Place):
    child = place.running()
    held = place.run("--start-over")
    assert held.returncode in (2, 4)
    child.send_signal(signal.SIGKILL)
    child.wait()
    result = place.run("--start-over")
    assert result.returncode == 2
    assert "2 jobs of the search at search.db still run; end them first: eventhpo stop search.db" in result.stderr
    assert place.log.exists()
    place.release()
    assert place.call("stop", "search.db").returncode == 0
    assert place.run("--start-over").returncode == 0


def test_a_search_file_with_mistakes_moves_nothing(place: Place):
    assert place.run().returncode == 0
    place.file.write_text("name = 3")
    assert place.run("--start-over").returncode == 2
    assert place.log.exists()
    assert [path.name for path in place.folder.glob("*.db")] == ["search.db"]
