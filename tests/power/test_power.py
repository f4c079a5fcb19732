"""The power is lost at each step of real processes: nothing that was acknowledged is lost, and the log is whole.

The states of the disk are rebuilt from a trace of system calls; `tests/power/disk.py` has the model.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eventhpo.core.fold.evolve import fold
from eventhpo.log.reader import read
from tests.cli.harness import COMMAND
from tests.kills.loop import Killed
from tests.power.disk import Disk, File, Folder, at_random, everything, extremes, left, put, states
from tests.power.loss import cut_everywhere
from tests.power.trace import Call, trace, why_not
from tests.report import logs

LIFE = str(Path(__file__).with_name("life.py"))
WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--power"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "traced"
    folder.mkdir()
    return folder


@pytest.fixture
def life(root: Path, tmp_path: Path) -> list[Call]:
    """The calls of a process that makes, writes, copies and ends logs."""
    return trace([sys.executable, LIFE, str(root)], root, tmp_path / "trace")


@pytest.fixture
def controller(root: Path, tmp_path: Path) -> list[Call]:
    """The calls of `eventhpo run`, with real jobs."""
    Killed(root, jobs=3, workers=2, pace=0.01)
    return trace([*COMMAND, "run", "search.toml", "--log", "search.db", "--quiet"], root, tmp_path / "trace")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, check=False)


def test_the_model_comes_to_the_files_that_the_process_has_left(root: Path, life: list[Call], scratch: Path) -> None:
    """Else a call was overlooked, and the states are those of another process."""
    disk = Disk(root)
    for call in life:
        disk.do(call)
    put(left(disk.top, everything()), scratch)
    names = sorted(path.name for path in root.iterdir())
    assert names == sorted(path.name for path in scratch.iterdir())
    assert {"search.db", "search.db.head", "copy.db", "sealed.db"} <= set(names)
    for name in names:
        assert (scratch / name).read_bytes() == (root / name).read_bytes(), name


def test_a_log_keeps_what_was_committed_at_every_step_of_its_life(
    root: Path, life: list[Call], scratch: Path, count: int
) -> None:
    losses = cut_everywhere(life, Disk(root), scratch, count=count)
    assert losses.lost == []
    assert losses.states > 1000
    print(f"{losses.states} states after {losses.calls} calls")  # noqa: T201  shown by `-rP`


def test_a_controller_keeps_the_intent_of_each_job_that_it_made(
    root: Path, controller: list[Call], scratch: Path, count: int
) -> None:
    losses = cut_everywhere(controller, Disk(root), scratch, count=count)
    assert losses.lost == []
    assert losses.states > 300
    print(f"{losses.states} states after {losses.calls} calls")  # noqa: T201  shown by `-rP`


@pytest.mark.parametrize("part", [0.4, 0.6, 0.8, 1.0])
def test_a_search_whose_power_was_cut_is_resumed_and_ends_as_asked(
    root: Path, controller: list[Call], scratch: Path, part: float
) -> None:
    """Also its folder of jobs has lost what was not flushed: all of it, or what chance says."""
    disk = Disk(root)
    for call in controller[: int(part * len(controller))]:
        disk.do(call)
    for number, keep in enumerate((*extremes(), at_random(random.Random(str(part))))):
        folder = scratch / str(number)
        folder.mkdir()
        put(left(disk.top, keep), folder)
        for name in ("search.toml", "job.py"):  # were there before
            shutil.copy(root / name, folder / name)
        log = folder / "search.db"
        words = ["resume", "search.db"] if log.exists() else ["run", "search.toml", "--log", "search.db"]
        ended = run(folder, *words, "--quiet")
        assert ended.returncode == 0, (number, ended.stderr)
        decided = run(folder, "verify", "search.db", "--decide")
        assert decided.returncode == 0, (number, decided.stdout)
        assert fold(read(log).rows).finished is not None


def test_a_signature_is_there_once_it_was_made_and_never_in_part(root: Path, tmp_path: Path) -> None:
    logs.usual(root / "search.db", trials=2)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    calls = trace([*COMMAND, "sign", "search.db", "--key", str(tmp_path / "key")], root, tmp_path / "trace")
    disk, whole = Disk(root), (root / "search.db.sig").read_bytes()
    for call in calls:
        if disk.do(call):
            for keep in states(3, call.name):
                assert left(disk.top, keep).get("search.db.sig") in (None, whole)
    for keep in states(3, "end"):
        assert left(disk.top, keep)["search.db.sig"] == whole


def _nothing(call: str, target: File | Folder) -> bool:
    return False


def _no_folder(call: str, target: File | Folder) -> bool:
    return not isinstance(target, Folder)


def _not_sqlite(call: str, target: File | Folder) -> bool:
    return call != "fdatasync"


def _not_eventhpo(call: str, target: File | Folder) -> bool:
    return call != "fsync"


@pytest.mark.parametrize(
    ("flushes", "fault"),
    [
        (_nothing, "it is empty"),
        (_no_folder, "there is no log"),
        (_not_sqlite, "cannot be read|is damaged|is lost"),
        (_not_eventhpo, "there is no log"),
    ],
    ids=["nothing", "no folder", "nothing by SQLite (synchronous=OFF)", "nothing by eventhpo"],
)
def test_a_disk_that_flushes_less_loses(
    root: Path,
    life: Sequence[Call],
    scratch: Path,
    flushes: Callable[[str, File | Folder], bool],
    fault: str,
) -> None:
    """Negative controls."""
    losses = cut_everywhere(life, Disk(root, flushes), scratch, count=2, until_lost=True)
    assert losses.lost
    assert re.search(fault, losses.lost[0]), losses.lost


def test_a_controller_whose_commits_are_not_flushed_loses_an_intent(
    root: Path, controller: list[Call], scratch: Path
) -> None:
    """Negative control."""
    losses = cut_everywhere(controller, Disk(root, _not_sqlite), scratch, count=0)
    assert any("the log has no intent of it" in loss for loss in losses.lost), losses.lost
