"""Another package that is called `replay`, as replay-rec from PyPI is: told from ours with a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND
from tests.replay.failing import GOLDEN

ROOT = Path(__file__).parents[2]
COMMANDS = [("replay",), ("explain", "0"), ("whatif",), ("postmortem",), ("diff", "search.db"), ("verify", "--decide")]


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    return subprocess.run([*COMMAND, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(params=["its own", "over ours", "broken"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder that Python looks into first, with another package: alone, unpacked over ours, or not importable."""
    if request.param == "over ours":
        shutil.copytree(ROOT / "replay", tmp_path / "replay")
    else:
        (tmp_path / "replay").mkdir()
    text = "import pandas_that_is_not_there" if request.param == "broken" else "__version__ = '0.18'"
    (tmp_path / "replay" / "__init__.py").write_text(text)
    shutil.copy(GOLDEN / "rungs.db", tmp_path / "search.db")
    return tmp_path


def test_each_command_that_needs_ours_says_so_in_a_sentence(folder: Path) -> None:
    for name, *more in COMMANDS:
        done = call(folder, name, "search.db", *more)
        assert done.returncode == 2, name
        assert "the package `replay` " in done.stderr
        assert "install eventhpo in an environment of its own" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_other_commands_work(folder: Path) -> None:
    for name in ("status", "verify", "--help"):
        assert call(folder, name, *(["search.db"] if name != "--help" else [])).returncode == 0
